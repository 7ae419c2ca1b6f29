#include "proxy/explain/endpoint_reasons.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proxy/plan/endpoint_sets.h"

namespace fairlead {
namespace {

std::string Describe(const PortEndpoint& port_endpoint) {
  const Endpoint& endpoint = *port_endpoint.endpoint;
  std::string where = endpoint.target_name.str();
  if (!endpoint.node_name.empty()) {
    absl::StrAppend(&where, where.empty() ? "on " : " on ", endpoint.node_name.view());
  }
  return absl::StrCat("endpoint ", FormatAddressPort(endpoint.address, port_endpoint.port),
                      where.empty() ? "" : absl::StrCat(" (", where, ")"), ": ");
}

bool Contains(const std::vector<PortEndpoint>& endpoints, const PortEndpoint& wanted) {
  return std::any_of(endpoints.begin(), endpoints.end(), [&](const PortEndpoint& endpoint) {
    return endpoint.endpoint == wanted.endpoint && endpoint.port == wanted.port;
  });
}

std::string Reason(const PortEndpoint& port_endpoint, const EndpointSets& sets,
                   TrafficPolicy policy, const NodeConfig& node) {
  const Endpoint& endpoint = *port_endpoint.endpoint;
  const bool local_policy = policy == TrafficPolicy::kLocal;
  if (Contains(local_policy ? sets.local : sets.cluster, port_endpoint)) {
    return endpoint.ready ? "used"
                          : "used: it is terminating and still serves, and no endpoint is ready";
  }
  if (local_policy && !port_endpoint.local) {
    return endpoint.node_name.empty()
               ? "not used: on no known node, and the policy is Local"
               : absl::StrCat("not used: on node ", endpoint.node_name.view(),
                              ", and the policy is Local");
  }
  if (!endpoint.ready) {
    if (port_endpoint.usable_as_fallback()) return "not used: draining, others are ready";
    return endpoint.serving ? "not used: not ready" : "not used: not ready, and not serving";
  }
  if (sets.topology == Topology::kNode) {
    return absl::StrCat("not used: by its hints for nodes ",
                        absl::StrJoin(endpoint.hints->nodes, ", "), ", and this is ",
                        node.node_name);
  }
  return absl::StrCat("not used: by its hints for zones ",
                      absl::StrJoin(endpoint.hints->zones, ", "), ", and this node is in zone ",
                      node.zone);
}

bool HasPort(const EndpointSlice& slice, const ServicePort& port) {
  return std::any_of(slice.ports.begin(), slice.ports.end(), [&](const EndpointPort& other) {
    return other.name == port.name && other.protocol == port.protocol;
  });
}

}  // namespace

std::vector<std::string> EndpointReasons(const Snapshot::Slices& slices, IpFamily family,
                                         const ServicePort& port, TrafficPolicy policy,
                                         const NodeConfig& node) {
  std::vector<std::string> reasons;
  const Snapshot::Slices visible = VisibleSlices(slices, node);
  for (const auto& [name, slice] : slices) {
    const std::string start = absl::StrCat("EndpointSlice ", name.Format(), ": not used: ");
    if (!visible.contains(name)) {
      reasons.push_back(absl::StrCat(start, "its labels hide it from this proxy"));
    } else if (!HasPort(*slice, port)) {
      reasons.push_back(absl::StrCat(start, "it has no port \"", port.name, "\" ",
                                     ipvs::FormatProtocol(port.protocol)));
    }
  }
  const std::vector<PortEndpoint> endpoints = MergeEndpoints(visible, family, port, node.node_name);
  const EndpointSets sets = SelectEndpoints(endpoints, node.node_name, node.zone);
  for (const PortEndpoint& endpoint : endpoints) {
    reasons.push_back(absl::StrCat(Describe(endpoint), Reason(endpoint, sets, policy, node)));
  }
  const IpFamily other = family == IpFamily::kIpv4 ? IpFamily::kIpv6 : IpFamily::kIpv4;
  for (const PortEndpoint& endpoint : MergeEndpoints(visible, other, port, node.node_name)) {
    reasons.push_back(absl::StrCat(Describe(endpoint), "not used: ", FormatFamily(other),
                                   ", and the address is ", FormatFamily(family)));
  }
  return reasons;
}

}  // namespace fairlead
