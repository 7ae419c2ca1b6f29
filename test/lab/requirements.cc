#include "test/lab/requirements.h"

#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "test/lab/net_namespace.h"

namespace fairlead::lab {

absl::Status CheckIpvs() {
  if (::geteuid() != 0) return absl::UnavailableError("kernel tests need root");
  absl::StatusOr<std::unique_ptr<NetNamespace>> net =
      NetNamespace::Create(absl::StrCat("ipvs-check-", ::getpid()));
  if (!net.ok()) {
    return absl::UnavailableError(
        absl::StrCat("network namespaces cannot be made: ", net.status().message()));
  }
  const int error = (*net)->Run([] {
    const int socket = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (socket < 0) return errno;
    ip_vs_getinfo info = {};
    socklen_t size = sizeof(info);
    const int failed = ::getsockopt(socket, IPPROTO_IP, IP_VS_SO_GET_INFO, &info, &size);
    const int reason = errno;
    ::close(socket);
    return failed != 0 ? reason : 0;
  });
  if (error == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("the kernel has no IPVS: ", std::strerror(error)));
}

bool MustNotSkip() {
  const char* ci = std::getenv("CI");
  return ci != nullptr && *ci != '\0' && absl::string_view(ci) != "false";
}

}  // namespace fairlead::lab
