// Gives Services the cluster addresses and node ports that they do not ask for themselves, as the
// API server would, and settles who has what two of them ask for.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "watcher/manifest/objects.h"
#include "watcher/manifest/pools.h"
#include "watcher/manifest/problem.h"
#include "watcher/manifest/ranges.h"

namespace fairlead {

// What one Service was given, without what it asked for itself.
struct ServiceAllocation {
  std::vector<IpAddress> cluster_ips;  // At most one of each family.
  // By the Service's port.
  std::map<std::pair<uint16_t, ipvs::Protocol>, uint16_t> node_ports;
  uint16_t health_check_node_port = 0;  // 0: none.

  bool empty() const {
    return cluster_ips.empty() && node_ports.empty() && health_check_node_port == 0;
  }

  friend bool operator==(const ServiceAllocation&, const ServiceAllocation&) = default;
};

using Allocations = std::map<ObjectName, ServiceAllocation>;

// What there is to give.
struct AllocationRanges {
  std::vector<IpPrefix> cluster_ips;
  PortRange node_ports;
};

namespace manifest {

// Whose allocation is kept though it is not among the Services: those in `names`, or all.
struct AbsentServices {
  bool all = false;
  std::set<ObjectName> names;
};

struct AllocationResult {
  // The Services that have all they need, complete.
  std::map<ObjectName, Service> services;
  Allocations allocations;
  std::vector<Problem> problems;
};

// Pure; depends on the set of Services and on `kept`, not on an order. First comes what is asked
// for: of two Services that ask for the same, the older one has it, then the first by name, and the
// other one is left out. Then what was given before and is still free. Then the rest, from a place
// in the range that depends on the Service's name, in order of age and name. An exhausted range is
// an error of the Service that needed more. `services` are distinct Services.
AllocationResult AllocateServices(const std::vector<const ManifestObject*>& services,
                                  const Allocations& kept, const AbsentServices& absent,
                                  const AllocationRanges& ranges);

}  // namespace manifest
}  // namespace fairlead
