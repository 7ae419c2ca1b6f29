#include "world.h"

#include <memory>
#include <utility>

#include "absl/strings/str_split.h"

namespace fairlead::testing {

World::World() : node(MakeNode()), service(MakeService()) {
  node.own_addresses = {Address("10.0.0.1"), Address("192.168.1.1"), Address("fd00:1::1")};
  service.type = ServiceType::kLoadBalancer;
  service.load_balancer_ips = {Address("192.0.2.7")};
  service.external_ips = {Address("203.0.113.5")};
  slices = {MakeSlice("cart-1", {"10.244.1.2@n1", "10.244.2.2@n2"})};
}

absl::StatusOr<Explanation> World::Ask(const std::string& from, const std::string& to) const {
  Snapshot snapshot;
  snapshot.Upsert(std::make_shared<const Service>(service));
  for (const Service& other : others) snapshot.Upsert(std::make_shared<const Service>(other));
  for (const EndpointSlice& slice : slices) {
    snapshot.Upsert(std::make_shared<const EndpointSlice>(slice));
  }
  Planner planner(node);
  planner.Replan(snapshot, snapshot.TakeDirtyServices());

  const std::pair<std::string, std::string> source = absl::StrSplit(from, ' ');
  const Destination destination = ParseDestination(to).value();
  return Explain({.from = Address(source.first),
                  .from_interface = source.second,
                  .to = destination.address,
                  .port = destination.port,
                  .protocol = destination.protocol},
                 planner, snapshot);
}

std::string Answer(const absl::StatusOr<Explanation>& explanation) {
  if (!explanation.ok()) return std::string(explanation.status().message());
  const std::string text = FormatExplanationText(*explanation);
  return text.substr(0, text.find('\n'));
}

}  // namespace fairlead::testing
