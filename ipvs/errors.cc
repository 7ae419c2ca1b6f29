#include "ipvs/errors.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace fairlead::ipvs {
namespace {

constexpr char kNoIpvs[] = "this kernel has no IPVS (module ip_vs)";

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
      return absl::StatusCode::kResourceExhausted;
    default:
      return absl::StatusCode::kInternal;
  }
}

std::string DescribeMissingModule(const VirtualServerConfig& config) {
  std::string result = absl::StrCat("scheduler \"", config.scheduler, "\"");
  std::string modules = absl::StrCat("module ip_vs_", config.scheduler);
  if (!config.persistence_engine.empty()) {
    absl::StrAppend(&result, " or persistence engine \"", config.persistence_engine, "\"");
    absl::StrAppend(&modules, " or ip_vs_pe_", config.persistence_engine);
  }
  return absl::StrCat(result, " is not in this kernel (", modules, ")");
}

}  // namespace

absl::Status StatusFromErrno(int error, absl::string_view action) {
  if (error == 0) return absl::OkStatus();
  if (error == ESRCH) return absl::NotFoundError(absl::StrCat(action, ": it does not exist"));
  const absl::StatusCode code = CodeFromErrno(error);
  if (code == absl::StatusCode::kFailedPrecondition) {
    return absl::Status(code, absl::StrCat(action, ": ", kNoIpvs));
  }
  return absl::Status(code, absl::StrCat(action, ": ", std::strerror(error)));
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
  if (error == EEXIST) return absl::AlreadyExistsError(absl::StrCat(action, ": it exists"));
  return StatusFromErrno(error, action);
}

}  // namespace fairlead::ipvs
