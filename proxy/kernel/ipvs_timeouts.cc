#include "proxy/kernel/ipvs_timeouts.h"

#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

// The kernel counts in jiffies, of which there may be 1000 in a second, with the type int
// (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_set_timeout).
constexpr int64_t kLongestSeconds = 2'147'483;

absl::Status ErrnoStatus(int error) {
  const std::string message = absl::StrCat("timeouts of IPVS: ", std::strerror(error));
  switch (error) {
    case ENOPROTOOPT:
      return absl::NotFoundError(absl::StrCat(message, ": is the module ip_vs loaded?"));
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(absl::StrCat(message, ": needs CAP_NET_ADMIN"));
    case EINVAL:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace

absl::Status SetIpvsTimeouts(const IpvsTimeouts& timeouts) {
  if (timeouts == IpvsTimeouts()) return absl::OkStatus();
  for (const absl::Duration timeout : {timeouts.tcp, timeouts.tcp_fin, timeouts.udp}) {
    if (timeout < absl::ZeroDuration() || absl::ToInt64Seconds(timeout) > kLongestSeconds) {
      return absl::InvalidArgumentError(absl::StrCat(
          "timeouts of IPVS: ", absl::FormatDuration(timeout), " is not between 0 and 596h"));
    }
  }
  ip_vs_timeout_user request{};
  request.tcp_timeout = static_cast<int>(absl::ToInt64Seconds(timeouts.tcp));
  request.tcp_fin_timeout = static_cast<int>(absl::ToInt64Seconds(timeouts.tcp_fin));
  request.udp_timeout = static_cast<int>(absl::ToInt64Seconds(timeouts.udp));
  // Any socket of IPv4 will do, and a raw one would need CAP_NET_RAW.
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno);
  const int result = setsockopt(fd, IPPROTO_IP, IP_VS_SO_SET_TIMEOUT, &request, sizeof(request));
  const int error = errno;
  close(fd);
  return result == 0 ? absl::OkStatus() : ErrnoStatus(error);
}

}  // namespace fairlead
