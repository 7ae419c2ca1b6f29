// The operations that bring one virtual server from what it is to what it should be.
#pragma once

#include <optional>
#include <vector>

#include "absl/container/btree_map.h"
#include "ipvs/table.h"
#include "proxy/plan/plan.h"

namespace fairlead {

// A virtual server as it is in the kernel, as far as it can be written.
struct ActualVirtualServer {
  ipvs::VirtualServerConfig config;
  // A third of the memory of a std::map. No reference lives through a change.
  absl::btree_map<ipvs::RealServerKey, ipvs::RealServerConfig> real_servers;

  friend bool operator==(const ActualVirtualServer&, const ActualVirtualServer&) = default;
};

ActualVirtualServer ToActual(const ipvs::VirtualServer& server);

// What to do about one virtual server.
struct VirtualServerDiff {
  // In an order that never leaves it with fewer real servers than it needs: edits and additions of
  // the virtual server, then of real servers, then weight 0 for those that leave.
  std::vector<ipvs::Operation> operations;
  // Real servers that are in the kernel and not wanted; to be deleted once they are drained.
  std::vector<ipvs::RealServerKey> leaving;
};

// `want` null: it is to be removed, at once. `have` null: there is none.
VirtualServerDiff DiffVirtualServer(const ipvs::VirtualServerKey& key,
                                    const PlannedVirtualServer* want,
                                    const ActualVirtualServer* have);

}  // namespace fairlead
