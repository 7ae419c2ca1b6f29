#include "proxy/plan/endpoint_sets.h"

#include <algorithm>
#include <tuple>

namespace fairlead {
namespace {

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Whether hints of one kind decide: every ready endpoint has one, and one of them names this place.
class HintRule {
 public:
  HintRule(const std::vector<std::string> EndpointHints::*hints, const std::string& place)
      : hints_(hints), place_(place) {}

  bool Decides(const std::vector<PortEndpoint>& endpoints) const {
    // A node in no known zone is in none that a hint can name.
    if (place_.empty()) return false;
    bool names_this_place = false;
    for (const PortEndpoint& endpoint : endpoints) {
      if (!endpoint.endpoint->ready) continue;
      if (HintsOf(endpoint).empty()) return false;
      names_this_place |= Allows(endpoint);
    }
    return names_this_place;
  }

  bool Allows(const PortEndpoint& endpoint) const { return Contains(HintsOf(endpoint), place_); }

 private:
  const std::vector<std::string>& HintsOf(const PortEndpoint& endpoint) const {
    return *endpoint.endpoint->hints.*hints_;
  }

  const std::vector<std::string> EndpointHints::*hints_;
  const std::string& place_;
};

template <typename Predicate>
std::vector<PortEndpoint> Filter(const std::vector<PortEndpoint>& endpoints,
                                 const Predicate& predicate) {
  std::vector<PortEndpoint> result;
  std::copy_if(endpoints.begin(), endpoints.end(), std::back_inserter(result), predicate);
  return result;
}

std::vector<PortEndpoint> ReadyInTopology(const std::vector<PortEndpoint>& endpoints,
                                          const std::string& node_name, const std::string& zone,
                                          Topology& topology) {
  const auto ready_and_allowed = [&](const HintRule& rule) {
    return Filter(endpoints, [&](const PortEndpoint& endpoint) {
      return endpoint.endpoint->ready && rule.Allows(endpoint);
    });
  };
  const HintRule by_node(&EndpointHints::nodes, node_name);
  if (by_node.Decides(endpoints)) {
    topology = Topology::kNode;
    return ready_and_allowed(by_node);
  }
  const HintRule by_zone(&EndpointHints::zones, zone);
  if (by_zone.Decides(endpoints)) {
    topology = Topology::kZone;
    return ready_and_allowed(by_zone);
  }
  return Filter(endpoints, [](const PortEndpoint& endpoint) { return endpoint.endpoint->ready; });
}

}  // namespace

std::vector<PortEndpoint> MergeEndpoints(const Snapshot::Slices& slices, IpFamily family,
                                         const ServicePort& port, const std::string& node_name) {
  std::vector<PortEndpoint> merged;
  for (const auto& [name, slice] : slices) {
    if (slice->family != family) continue;
    for (const EndpointPort& slice_port : slice->ports) {
      if (slice_port.name != port.name || slice_port.protocol != port.protocol) continue;
      for (const Endpoint& endpoint : slice->endpoints) {
        const bool local = !node_name.empty() && endpoint.node_name == node_name;
        merged.push_back({&endpoint, slice_port.port, local});
      }
    }
  }
  const auto key = [](const PortEndpoint& e) { return std::tie(e.endpoint->address, e.port); };
  // Stable: of duplicates that are equally local, the one from the slice that sorts first stays.
  std::stable_sort(merged.begin(), merged.end(), [&](const PortEndpoint& a, const PortEndpoint& b) {
    return key(a) != key(b) ? key(a) < key(b) : a.local > b.local;
  });
  merged.erase(
      std::unique(merged.begin(), merged.end(),
                  [&](const PortEndpoint& a, const PortEndpoint& b) { return key(a) == key(b); }),
      merged.end());
  return merged;
}

EndpointSets SelectEndpoints(const std::vector<PortEndpoint>& endpoints,
                             const std::string& node_name, const std::string& zone) {
  EndpointSets sets;
  sets.cluster = ReadyInTopology(endpoints, node_name, zone, sets.topology);
  if (sets.cluster.empty()) {
    sets.cluster = Filter(endpoints, [](const PortEndpoint& e) { return e.usable_as_fallback(); });
  }
  sets.local =
      Filter(endpoints, [](const PortEndpoint& e) { return e.local && e.endpoint->ready; });
  if (sets.local.empty()) {
    sets.local =
        Filter(endpoints, [](const PortEndpoint& e) { return e.local && e.usable_as_fallback(); });
  }
  return sets;
}

}  // namespace fairlead
