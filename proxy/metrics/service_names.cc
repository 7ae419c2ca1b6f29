#include "proxy/metrics/service_names.h"

namespace fairlead {

void ServiceNames::Put(std::vector<std::pair<ipvs::VirtualServerKey, Server>> changes) {
  const std::lock_guard lock(mutex_);
  for (auto& [key, server] : changes) changes_[key].swap(server);
}

ServiceNames::Changes ServiceNames::Take() {
  Changes changes;
  const std::lock_guard lock(mutex_);
  changes.swap(changes_);
  return changes;
}

}  // namespace fairlead
