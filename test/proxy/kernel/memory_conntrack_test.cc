#include "proxy/kernel/memory_conntrack.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

const FlowAddress kVip = {*IpAddress::Parse("10.96.0.10"), 53};
const FlowAddress kEndpoint = {*IpAddress::Parse("10.244.0.2"), 5353};

Flow FlowFrom(const std::string& client, const FlowAddress& destination = kVip,
              const FlowAddress& endpoint = kEndpoint) {
  return {ipvs::Protocol::kUdp,
          {*IpAddress::Parse(client), 1001},
          destination,
          endpoint.address,
          endpoint.port};
}

FlowMatch Match(const std::optional<FlowAddress>& destination,
                const FlowAddress& endpoint = kEndpoint) {
  return {ipvs::Protocol::kUdp, destination, endpoint.address, endpoint.port};
}

// That the kernel deletes the same is in conntrack_native_test.cc.
TEST_CASE("a match fits the flows of one endpoint, by their destination if it has one") {
  const FlowAddress node_port = {*IpAddress::Parse("192.0.2.5"), 30053};
  const FlowAddress other_endpoint = {*IpAddress::Parse("10.244.0.3"), 5353};
  const FlowAddress other_port = {kEndpoint.address, 5354};
  Flow tcp = FlowFrom("192.0.2.9");
  tcp.protocol = ipvs::Protocol::kTcp;
  struct Row {
    std::string name;
    FlowMatch match;
    Flow flow;
    bool fits;
  };
  const std::vector<Row> rows = {
      {"its destination", Match(kVip), FlowFrom("192.0.2.9"), true},
      {"whoever the client is", Match(kVip), FlowFrom("192.0.2.10"), true},
      {"another destination", Match(kVip), FlowFrom("192.0.2.9", node_port), false},
      {"another endpoint", Match(kVip), FlowFrom("192.0.2.9", kVip, other_endpoint), false},
      {"another port of the endpoint", Match(kVip), FlowFrom("192.0.2.9", kVip, other_port), false},
      {"another protocol", Match(kVip), tcp, false},
      {"any destination", Match(std::nullopt), FlowFrom("192.0.2.9", node_port), true},
      {"any destination, which is another port of the endpoint's address", Match(std::nullopt),
       FlowFrom("192.0.2.9", other_port), true},
      {"any destination, straight to the endpoint", Match(std::nullopt),
       FlowFrom("192.0.2.9", kEndpoint), false},
      {"any destination, another endpoint", Match(std::nullopt),
       FlowFrom("192.0.2.9", kVip, other_endpoint), false},
      {"any destination, another protocol", Match(std::nullopt), tcp, false},
      {"a VIP that nobody balanced", Match(kVip, kVip), FlowFrom("192.0.2.9", kVip, kVip), true},
      {"a VIP that nobody balanced, though somebody did", Match(kVip, kVip), FlowFrom("192.0.2.9"),
       false},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(row.match.Fits(row.flow) == row.fits);
    MemoryConntrack conntrack;
    conntrack.AddFlow(row.flow);
    CHECK(conntrack.DeleteFlows({row.match}).value() == (row.fits ? 1 : 0));
    CHECK(conntrack.flows().empty() == row.fits);
  }
}

TEST_CASE("tracked flows in memory are deleted once, and by one reading") {
  MemoryConntrack conntrack;
  conntrack.AddFlow(FlowFrom("192.0.2.9"));
  conntrack.AddFlow(FlowFrom("192.0.2.9"));
  conntrack.AddFlow(FlowFrom("192.0.2.10"));
  const Flow untouched = FlowFrom("192.0.2.9", kVip, kVip);
  conntrack.AddFlow(untouched);
  CHECK(conntrack.DeleteFlows({}).value() == 0);
  CHECK(conntrack.reads() == 0);
  CHECK(conntrack.DeleteFlows({Match(kVip), Match(std::nullopt), Match(kVip)}).value() == 2);
  CHECK(conntrack.flows() == std::set<Flow>{untouched});
  CHECK(conntrack.DeleteFlows({Match(kVip)}).value() == 0);
  CHECK(conntrack.reads() == 2);
}

TEST_CASE("a conntrack in memory fails where it is told to, and deletes nothing then") {
  MemoryConntrack conntrack;
  conntrack.AddFlow(FlowFrom("192.0.2.9"));
  conntrack.FailNextCalls(2, absl::FailedPreconditionError("no ctnetlink"));
  CHECK(conntrack.DeleteFlows({}).ok());
  for (int i = 0; i < 2; ++i) {
    CHECK(conntrack.DeleteFlows({Match(kVip)}).status() ==
          absl::FailedPreconditionError("no ctnetlink"));
  }
  CHECK(conntrack.flows().size() == 1);
  CHECK(conntrack.DeleteFlows({Match(kVip)}).value() == 1);
  CHECK(conntrack.reads() == 3);
}

}  // namespace
}  // namespace fairlead
