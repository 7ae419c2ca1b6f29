// Which endpoints of a Service's port a traffic policy uses.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "watcher/snapshot.h"

namespace fairlead {

// An endpoint's address with the port that a slice gives it.
struct PortEndpoint {
  const Endpoint* endpoint = nullptr;  // Owned by the slice.
  uint16_t port = 0;
  bool local = false;

  bool usable_as_fallback() const { return endpoint->serving && endpoint->terminating; }
};

// Which hints decide about the cluster's set.
enum class Topology : uint8_t { kNone, kNode, kZone };

// The two sets that policies choose from. Each falls back to endpoints that still serve while they
// terminate, independently of the other.
struct EndpointSets {
  std::vector<PortEndpoint> cluster;
  std::vector<PortEndpoint> local;
  Topology topology = Topology::kNone;
  // There is an endpoint in one set or the other: a policy whose own set is empty drops; where
  // both are empty, clients are refused.
  bool any() const { return !cluster.empty() || !local.empty(); }
};

// The endpoints of one family that serve the port, merged from all slices, sorted by address and
// port. Of duplicates one is kept, a local one if there is one.
std::vector<PortEndpoint> MergeEndpoints(const Snapshot::Slices& slices, IpFamily family,
                                         const ServicePort& port, const std::string& node_name);

// Applies topology hints to the ready endpoints, then the fallbacks.
EndpointSets SelectEndpoints(const std::vector<PortEndpoint>& endpoints,
                             const std::string& node_name, const std::string& zone);

}  // namespace fairlead
