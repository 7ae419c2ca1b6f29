#include "ipvs/validate.h"

#include "absl/strings/str_cat.h"

namespace fairlead::ipvs {
namespace {

// What is wrong with a value, or nullptr.
const char* FindFault(const VirtualServerKey& key) {
  if (key.is_mark()) {
    return key == VirtualServerKey::ForMark(key.family, key.firewall_mark)
               ? nullptr
               : "a firewall mark excludes protocol, address and port";
  }
  return key.address.family() == key.family ? nullptr : "the address is of the other family";
}

bool IsName(const std::string& name) {
  return name.size() <= kMaxSchedulerName && name.find('\0') == std::string::npos;
}

const char* FindFault(const VirtualServerConfig& config, IpFamily family) {
  if (!IsName(config.scheduler)) return "the scheduler's name is not one";
  if (!IsName(config.persistence_engine)) return "the persistence engine's name is not one";
  if ((config.flags & ~kConfigurableFlags) != 0) return "there are flags that cannot be set";
  const absl::Duration timeout = config.persistence_timeout;
  if (timeout < absl::ZeroDuration() || timeout > absl::Seconds(kMaxPersistenceSeconds)) {
    return "the persistence timeout is out of range";
  }
  if (timeout != absl::Trunc(timeout, absl::Seconds(1))) {
    return "the persistence timeout is not in whole seconds";
  }
  if (config.persistence_prefix_length > (family == IpFamily::kIpv4 ? 32 : 128)) {
    return "the persistence prefix is longer than an address";
  }
  return nullptr;
}

}  // namespace

absl::Status ValidateOperation(const Operation& operation) {
  const char* fault = FindFault(operation.virtual_server);
  if (fault == nullptr &&
      (operation.verb == Verb::kAddVirtualServer || operation.verb == Verb::kEditVirtualServer)) {
    fault = FindFault(operation.virtual_config, operation.virtual_server.family);
  }
  if (fault == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(operation.Format(), ": ", fault));
}

}  // namespace fairlead::ipvs
