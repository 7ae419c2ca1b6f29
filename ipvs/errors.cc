#include "ipvs/errors.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace fairlead::ipvs {
namespace {

constexpr char kNoIpvs[] = "this kernel has no IPVS (module ip_vs): run `modprobe ip_vs`";

absl::StatusCode CodeFromErrno(int error) {
  switch (error) {
    case 0:
      return absl::StatusCode::kOk;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case ESRCH:
      return absl::StatusCode::kNotFound;
    // Where a missing scheduler or real server cannot be meant, generic netlink says that the
    // family is gone: somebody removed the module.
    case ENOENT:
    case ENOPROTOOPT:
      return absl::StatusCode::kFailedPrecondition;
    case EINVAL:
    case ERANGE:        // A weight or threshold.
    case EAFNOSUPPORT:  // IPv6 in a kernel whose IPVS is built without.
    case EOPNOTSUPP:
      return absl::StatusCode::kInvalidArgument;
    case EPERM:
    case EACCES:
      return absl::StatusCode::kPermissionDenied;
    case ENOMEM:
    case ENOBUFS:
    case EMSGSIZE:
    case EMFILE:
    case ENFILE:
      return absl::StatusCode::kResourceExhausted;
    case EBUSY:
    case EAGAIN:
    case EINTR:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

std::string DescribeMissingModule(const VirtualServerConfig& config) {
  std::string result = absl::StrCat("scheduler \"", config.scheduler, "\"");
  std::string modules = absl::StrCat("ip_vs_", config.scheduler);
  if (!config.persistence_engine.empty()) {
    absl::StrAppend(&result, " or persistence engine \"", config.persistence_engine, "\"");
    absl::StrAppend(&modules, " ip_vs_pe_", config.persistence_engine);
  }
  return absl::StrCat(result, " is not in this kernel: run `modprobe -a ", modules, "`");
}

}  // namespace

absl::string_view AdviceOnErrno(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return ": run as root, or with CAP_NET_ADMIN";
    case ENOMEM:
    case ENOBUFS:
      return ": the kernel has no memory for it, free some";
    case EMSGSIZE:
      return ": run with CAP_NET_ADMIN, or raise the sysctl net.core.wmem_max";
    case EMFILE:
      return ": raise the limit of open files (ulimit -n, LimitNOFILE=)";
    case ENFILE:
      return ": raise the sysctl fs.file-max";
    case EBUSY:
    case EAGAIN:
    case EINTR:
      return ": somebody else is at it, try again";
    default:
      return "";
  }
}

absl::Status StatusFromErrno(int error, absl::string_view action) {
  if (error == 0) return absl::OkStatus();
  if (error == ESRCH) return absl::NotFoundError(absl::StrCat(action, ": it does not exist"));
  const absl::StatusCode code = CodeFromErrno(error);
  if (code == absl::StatusCode::kFailedPrecondition) {
    return absl::Status(code, absl::StrCat(action, ": ", kNoIpvs));
  }
  const absl::string_view advice =
      error == EAFNOSUPPORT ? ": this kernel's IPVS is built without IPv6 (CONFIG_IP_VS_IPV6)"
                            : AdviceOnErrno(error);
  return absl::Status(code, absl::StrCat(action, ": ", std::strerror(error), advice));
}

absl::Status StatusFromErrno(int error, const Operation& operation) {
  if (error == 0) return absl::OkStatus();
  const Verb verb = operation.verb;
  const bool of_virtual_server = verb == Verb::kAddVirtualServer ||
                                 verb == Verb::kEditVirtualServer ||
                                 verb == Verb::kDeleteVirtualServer;
  const std::string action = operation.Format();
  if (error == ESRCH && !of_virtual_server) {
    return absl::NotFoundError(absl::StrCat(action, ": no such virtual server"));
  }
  if (error == ENOENT && of_virtual_server && verb != Verb::kDeleteVirtualServer) {
    return absl::NotFoundError(
        absl::StrCat(action, ": ", DescribeMissingModule(operation.virtual_config)));
  }
  if (error == ENOENT && (verb == Verb::kEditRealServer || verb == Verb::kDeleteRealServer)) {
    return absl::NotFoundError(absl::StrCat(action, ": it does not exist"));
  }
  if (error == EINVAL && (verb == Verb::kAddRealServer || verb == Verb::kEditRealServer)) {
    // net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_new_dest. Until lo is up in a new network namespace,
    // all addresses of IPv4 are broadcast ones there.
    return absl::InvalidArgumentError(absl::StrCat(
        action, ": Invalid argument: the kernel takes unicast addresses only, and needs lo up"));
  }
  if (error == EEXIST) return absl::AlreadyExistsError(absl::StrCat(action, ": it exists"));
  return StatusFromErrno(error, action);
}

}  // namespace fairlead::ipvs
