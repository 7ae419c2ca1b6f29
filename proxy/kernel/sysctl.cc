#include "proxy/kernel/sysctl.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace fairlead {
namespace {

constexpr size_t kMaxValueBytes = 4096;

absl::Status ErrnoStatus(int error, absl::string_view context) {
  const std::string message = absl::StrCat(context, ": ", strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EINVAL:
    case ERANGE:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::StatusOr<std::string> Read(const std::string& path, absl::string_view context) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, context);
  std::string value(kMaxValueBytes, '\0');
  const ssize_t size = read(fd, value.data(), value.size());
  const int error = errno;
  close(fd);
  if (size < 0) return ErrnoStatus(error, context);
  value.resize(static_cast<size_t>(size));
  return std::string(absl::StripAsciiWhitespace(value));
}

absl::Status Write(const std::string& path, absl::string_view value, absl::string_view context) {
  const int fd = open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, context);
  // One write: the kernel takes each as a whole value.
  const ssize_t size = write(fd, value.data(), value.size());
  const int error = errno;
  close(fd);
  if (size < 0) return ErrnoStatus(error, context);
  return absl::OkStatus();
}

bool IsLarger(absl::string_view value, absl::string_view than) {
  int64_t number = 0;
  int64_t limit = 0;
  return absl::SimpleAtoi(value, &number) && absl::SimpleAtoi(than, &limit) && number > limit;
}

}  // namespace

std::vector<Sysctl> RequiredSysctls(absl::Span<const IpFamily> families) {
  std::vector<Sysctl> sysctls;
  const auto serves = [&](IpFamily family) {
    return std::find(families.begin(), families.end(), family) != families.end();
  };
  if (serves(IpFamily::kIpv4)) {
    sysctls.push_back({"net.ipv4.ip_forward", "1", "Packets go on to pods."});
    sysctls.push_back({"net.ipv4.conf.all.arp_ignore", "1",
                       "The node does not answer ARP for VIPs, which would draw other machines' "
                       "packets to it.",
                       /*minimum=*/true});
  }
  if (serves(IpFamily::kIpv6)) {
    sysctls.push_back({"net.ipv6.conf.all.forwarding", "1", "Packets go on to pods."});
  }
  // Despite their names these are of both families.
  sysctls.push_back({"net.ipv4.vs.conntrack", "1",
                     "Balanced connections are tracked, without which none is masqueraded."});
  sysctls.push_back({"net.ipv4.vs.expire_nodest_conn", "1",
                     "A connection ends with its endpoint, instead of its packets being lost."});
  sysctls.push_back({"net.ipv4.vs.expire_quiescent_template", "1",
                     "A client with affinity leaves an endpoint that drains."});
  return sysctls;
}

absl::Status EnsureSysctl(const Sysctl& sysctl, absl::string_view proc_root) {
  const std::string path =
      absl::StrCat(proc_root, "/sys/", absl::StrReplaceAll(sysctl.name, {{".", "/"}}));
  const std::string wanted = absl::StrCat(sysctl.name, " has to be ", sysctl.value);
  absl::StatusOr<std::string> before = Read(path, absl::StrCat(wanted, " and cannot be read"));
  if (!before.ok()) return before.status();
  if (*before == sysctl.value || (sysctl.minimum && IsLarger(*before, sysctl.value))) {
    return absl::OkStatus();
  }
  return Write(path, sysctl.value,
               absl::StrCat(wanted, " and is ", *before, "; it cannot be written"));
}

}  // namespace fairlead
