#include "proxy/kernel/sysctl.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace fairlead {
namespace {

constexpr size_t kMaxValueBytes = 4096;

std::string PathOf(const Sysctl& sysctl, absl::string_view proc_root) {
  return absl::StrCat(proc_root, "/sys/", absl::StrReplaceAll(sysctl.name, {{".", "/"}}));
}

// What an operator does about it.
std::string Advice(const Sysctl& sysctl, int error) {
  const std::string command = absl::StrCat("`sysctl -w ", sysctl.name, "=", sysctl.value, "`");
  switch (error) {
    case ENOENT:
      if (absl::StartsWith(sysctl.name, "net.ipv4.vs.")) {
        return "IPVS is not there: run `modprobe ip_vs`";
      }
      if (absl::StartsWith(sysctl.name, "net.ipv6.")) {
        return "this kernel runs without IPv6, whose Services are not served";
      }
      return "this kernel does not have it";
    case EROFS:
      return absl::StrCat(
          "/proc/sys is read-only here: mount it writable (in a container: "
          "privileged, or with the host's /proc/sys), or run ",
          command, " on the node");
    case EACCES:
    case EPERM:
      return absl::StrCat("run as root with CAP_NET_ADMIN, or run ", command, " on the node");
    default:
      return absl::StrCat("try ", command, " on the node");
  }
}

absl::Status ErrnoStatus(int error, absl::string_view context, const Sysctl& sysctl) {
  const std::string message =
      absl::StrCat(context, ": ", strerror(error), "; ", Advice(sysctl, error));
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

absl::StatusOr<std::string> Read(const std::string& path, absl::string_view context,
                                 const Sysctl& sysctl) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, context, sysctl);
  std::string value(kMaxValueBytes, '\0');
  const ssize_t size = read(fd, value.data(), value.size());
  const int error = errno;
  close(fd);
  if (size < 0) return ErrnoStatus(error, context, sysctl);
  value.resize(static_cast<size_t>(size));
  return std::string(absl::StripAsciiWhitespace(value));
}

absl::Status Write(const std::string& path, absl::string_view context, const Sysctl& sysctl) {
  const int fd = open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, context, sysctl);
  // One write: the kernel takes each as a whole value.
  const ssize_t size = write(fd, sysctl.value.data(), sysctl.value.size());
  const int error = errno;
  close(fd);
  if (size < 0) return ErrnoStatus(error, context, sysctl);
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

bool IsMet(const Sysctl& sysctl, absl::string_view value) {
  return value == sysctl.value || (sysctl.minimum && IsLarger(value, sysctl.value));
}

absl::StatusOr<std::string> ReadSysctl(const Sysctl& sysctl, absl::string_view proc_root) {
  return Read(PathOf(sysctl, proc_root),
              absl::StrCat(sysctl.name, " has to be ", sysctl.value, " and cannot be read"),
              sysctl);
}

absl::StatusOr<std::optional<std::string>> RepairSysctl(const Sysctl& sysctl,
                                                        absl::string_view proc_root) {
  absl::StatusOr<std::string> before = ReadSysctl(sysctl, proc_root);
  if (!before.ok()) return before.status();
  if (IsMet(sysctl, *before)) return std::nullopt;
  const absl::Status written = Write(PathOf(sysctl, proc_root),
                                     absl::StrCat(sysctl.name, " has to be ", sysctl.value,
                                                  " and is ", *before, "; it cannot be written"),
                                     sysctl);
  if (!written.ok()) return written;
  return *std::move(before);
}

absl::Status EnsureSysctl(const Sysctl& sysctl, absl::string_view proc_root) {
  return RepairSysctl(sysctl, proc_root).status();
}

}  // namespace fairlead
