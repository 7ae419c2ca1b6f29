#include "proxy/reconcile/diff.h"

#include <algorithm>

namespace fairlead {

using ipvs::Operation;
using ipvs::RealServerConfig;
using ipvs::RealServerKey;

ActualVirtualServer ToActual(const ipvs::VirtualServer& server) {
  ActualVirtualServer actual{.config = server.config, .real_servers = {}};
  for (const ipvs::RealServer& real : server.real_servers) {
    actual.real_servers[real.key] = real.config;
  }
  return actual;
}

VirtualServerDiff DiffVirtualServer(const ipvs::VirtualServerKey& key,
                                    const PlannedVirtualServer* want,
                                    const ActualVirtualServer* have) {
  VirtualServerDiff diff;
  if (want == nullptr) {
    if (have != nullptr) diff.operations.push_back(Operation::DeleteVirtualServer(key));
    return diff;
  }
  if (have == nullptr) {
    diff.operations.push_back(Operation::AddVirtualServer(key, want->config));
  } else if (have->config != want->config) {
    diff.operations.push_back(Operation::EditVirtualServer(key, want->config));
  }

  static const auto& kNone = *new decltype(ActualVirtualServer::real_servers)();
  const auto& present = have == nullptr ? kNone : have->real_servers;
  for (const PlannedRealServer& real : want->real_servers) {
    auto it = present.find(real.key);
    if (it == present.end()) {
      diff.operations.push_back(Operation::AddRealServer(key, real.key, real.config));
    } else if (it->second != real.config) {
      diff.operations.push_back(Operation::EditRealServer(key, real.key, real.config));
    }
  }

  // Both sides are sorted by key.
  auto wanted = want->real_servers.begin();
  for (const auto& [real_key, config] : present) {
    while (wanted != want->real_servers.end() && wanted->key < real_key) ++wanted;
    if (wanted != want->real_servers.end() && wanted->key == real_key) continue;
    diff.leaving.push_back(real_key);
    if (config.weight != 0) {
      RealServerConfig quiet = config;
      quiet.weight = 0;
      diff.operations.push_back(Operation::EditRealServer(key, real_key, quiet));
    }
  }
  return diff;
}

}  // namespace fairlead
