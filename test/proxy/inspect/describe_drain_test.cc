#include "proxy/inspect/describe_drain.h"

#include <catch2/catch.hpp>

#include "memory_kernel.h"

namespace fairlead {

static std::ostream& operator<<(std::ostream& out, const DrainDescription& description) {
  return out << description.service.Format() << ":" << description.port_name << " "
             << description.target_name << " on " << description.node_name << ": "
             << description.reason;
}

namespace testing {
namespace {

const ipvs::VirtualServerKey kCart = Tcp("10.96.0.1", 80);

std::shared_ptr<const EndpointSlice> Slice(const std::string& port_name, const Endpoint& endpoint,
                                           uint16_t port = 8080) {
  auto slice = std::make_shared<EndpointSlice>();
  slice->ports = {{.name = port_name, .protocol = ipvs::Protocol::kTcp, .port = port}};
  slice->endpoints = {endpoint};
  return slice;
}

TEST_CASE("why an endpoint drains is read from the Service's slices") {
  const Endpoint ready{
      .address = Address("10.244.1.9"), .node_name = "n1", .target_name = "cart-5d9c"};
  Endpoint terminating = ready;
  terminating.ready = false;
  terminating.terminating = true;
  Endpoint not_ready = ready;
  not_ready.ready = false;
  const auto known = [](const std::string& reason) {
    return DrainDescription{{"shop", "cart"}, "p80", "cart-5d9c", "n1", reason};
  };
  const DrainDescription removed{{"shop", "cart"}, "p80", "", "", "removed"};
  struct Row {
    std::string name;
    std::vector<std::shared_ptr<const EndpointSlice>> slices;
    DrainDescription description;
  };
  const std::vector<Row> rows = {
      {"no slice", {}, removed},
      {"in no slice", {Slice("p80", {.address = Address("10.244.1.8")})}, removed},
      {"with another port", {Slice("p80", ready, 9090)}, removed},
      {"of another port", {Slice("admin", ready)}, removed},
      {"terminating", {Slice("p80", terminating)}, known("terminating")},
      {"not ready", {Slice("p80", not_ready)}, known("not ready")},
      {"ready", {Slice("p80", ready)}, known("not used")},
      {"terminating in one of two",
       {Slice("p80", terminating), Slice("p80", ready)},
       known("terminating")},
  };
  const PlannedVirtualServer planned = *MakePlan("cart", {Vip(kCart, {})})->virtual_servers.begin();
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Snapshot::Slices slices;
      for (const auto& slice : row.slices) {
        slices[{"shop", "cart-" + std::to_string(slices.size())}] = slice;
      }
      CHECK(DescribeDrain({kCart, Pod("10.244.1.9"), {}, {}}, &planned, slices) == row.description);
    }
  }
}

TEST_CASE("of a virtual server that nobody wants there is no Service") {
  CHECK(DescribeDrain({kCart, Pod("10.244.1.9"), {}, {}}, nullptr, {}) ==
        DrainDescription{{}, "", "", "", "no Service"});
}

}  // namespace
}  // namespace testing
}  // namespace fairlead
