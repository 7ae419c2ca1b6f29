#include "proxy/inspect/describe_drain.h"

#include <algorithm>

namespace fairlead {
namespace {

bool HasPort(const EndpointSlice& slice, const PlannedVirtualServer& planned, uint16_t port) {
  return std::any_of(slice.ports.begin(), slice.ports.end(), [&](const EndpointPort& other) {
    return other.name == planned.port_name && other.protocol == planned.protocol &&
           other.port == port;
  });
}

std::string ReasonOf(const Endpoint& endpoint) {
  if (endpoint.terminating) return "terminating";
  return endpoint.ready ? "not used" : "not ready";
}

}  // namespace

DrainDescription DescribeDrain(const DrainingServer& drain, const PlannedVirtualServer* planned,
                               const Snapshot::Slices& slices) {
  if (planned == nullptr) return {.reason = "no Service"};
  DrainDescription description{
      .service = planned->service, .port_name = planned->port_name, .reason = "removed"};
  for (const auto& [name, slice] : slices) {
    if (!HasPort(*slice, *planned, drain.real_server.port)) continue;
    for (const Endpoint& endpoint : slice->endpoints) {
      if (endpoint.address != drain.real_server.address) continue;
      description.target_name = endpoint.target_name.str();
      description.node_name = endpoint.node_name.str();
      description.reason = ReasonOf(endpoint);
      // One that terminates in any slice is terminating.
      if (endpoint.terminating) return description;
    }
  }
  return description;
}

}  // namespace fairlead
