// Virtual servers that nobody wants any more and that have connections.

#include <catch2/catch.hpp>

#include "test_node.h"

namespace fairlead::testing {
namespace {

using ipvs::RealServerKey;
using ipvs::VirtualServerKey;

const VirtualServerKey kWeb = Tcp("10.96.0.1", 80);
const RealServerKey kBusy = Pod("10.244.1.2");
const RealServerKey kIdle = Pod("10.244.2.2");

// With a Service whose one endpoint has a connection.
struct RetiringNode : TestNode {
  explicit RetiringNode(PlannedVirtualServer server = Vip(kWeb, {"10.244.1.2", "10.244.2.2"}),
                        ReconcilerOptions reconciler_options = {})
      : TestNode(std::move(reconciler_options)), key(server.key) {
    Put(MakePlan("web", {std::move(server)}));
    Connect(1);
  }
  void Connect(uint32_t active) {
    REQUIRE(kernel.table.SetConnections(key, kBusy, active, 0).ok());
  }

  const VirtualServerKey key;
};

TEST_CASE("a deleted Service with connections takes no new ones, and goes with the last") {
  RetiringNode node;
  CHECK(Reach(node.kernel, kWeb, Sender::kOutside) == Lines{"10.244.1.2:8080", "10.244.2.2:8080"});
  node.Remove("web");
  CHECK(Describe(node.kernel) ==
        Lines{"TCP 10.96.0.1:80 rr flags 0 timeout 0 /32", "  10.244.1.2:8080 Masq weight 0",
              "element owned4 10.96.0.1 . tcp . 80", "element open4 10.96.0.1 . tcp . 80",
              "element guarded4 10.96.0.1", "element reject4 10.96.0.1 . tcp . 80",
              "route 10.96.0.1 src 192.168.1.1"});
  CHECK(Reach(node.kernel, kWeb, Sender::kOutside) == Lines{"refused"});
  CHECK(Violations(node.kernel, {}) == Lines{});
  CHECK(node.reconciler().Retiring() == std::vector<VirtualServerKey>{kWeb});
  CHECK(node.reconciler().Failures().empty());

  node.Advance(absl::Minutes(1));
  CHECK(node.reconciler().Retiring() == std::vector<VirtualServerKey>{kWeb});
  node.Connect(0);
  REQUIRE(node.Settle());
  CHECK(Describe(node.kernel) == Lines{});
  CHECK(node.reconciler().Retiring().empty());
}

TEST_CASE("a deleted Service without connections goes at once") {
  RetiringNode node;
  node.Connect(0);
  node.Remove("web");
  CHECK(Describe(node.kernel) == Lines{});
  CHECK(node.reconciler().NextWake() == absl::InfiniteFuture());
}

TEST_CASE("a deleted Service goes at its deadline with the connections it has") {
  PlannedVirtualServer quick = Vip(kWeb, {"10.244.1.2"});
  quick.drain_timeout = absl::Seconds(20);
  PlannedVirtualServer at_once = quick;
  at_once.drain_timeout = absl::ZeroDuration();
  struct Case {
    std::string name;
    PlannedVirtualServer server;
    absl::Duration expected;
  };
  for (const Case& c : std::vector<Case>{
           {"the node's", Vip(kWeb, {"10.244.1.2"}), absl::Minutes(5)},
           {"its own", quick, absl::Seconds(20)},
           {"none", at_once, absl::ZeroDuration()},
           {"UDP", Vip(Udp("10.96.0.1", 53), {"10.244.1.2"}), absl::ZeroDuration()},
       }) {
    INFO(c.name);
    RetiringNode node(c.server);
    node.Remove("web");
    if (c.expected > absl::ZeroDuration()) {
      node.Advance(c.expected - absl::Milliseconds(1));
      CHECK(node.reconciler().Retiring() == std::vector<VirtualServerKey>{c.server.key});
      node.Advance(absl::Milliseconds(1));
    }
    REQUIRE(node.Settle());
    CHECK(Describe(node.kernel) == Lines{});
  }
}

TEST_CASE("a Service that returns has its connections, its endpoints and its weights") {
  RetiringNode node;
  node.Remove("web");
  node.kernel.table.ClearOperations();
  node.Put(MakePlan("web", {Vip(kWeb, {"10.244.1.2", "10.244.2.2"})}));
  CHECK(node.kernel.table.operations() ==
        std::vector<ipvs::Operation>{ipvs::Operation::EditRealServer(kWeb, kBusy, {.weight = 1}),
                                     ipvs::Operation::AddRealServer(kWeb, kIdle, {.weight = 1})});
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.reconciler().Draining().empty());
  CHECK(node.reconciler().Retiring().empty());
}

TEST_CASE("what retires goes on after a restart") {
  RetiringNode node;
  node.Remove("web");
  const Lines before = Describe(node.kernel);
  const std::vector<DrainingServer> drains = node.reconciler().Draining();
  node.Advance(absl::Minutes(1));
  REQUIRE(node.Restart().ok());
  node.reconciler().RestoreDrains(drains);
  node.Reconcile();
  CHECK(Describe(node.kernel) == before);
  CHECK(node.reconciler().counters() == WriteCounters{});
  CHECK(node.reconciler().Draining() == drains);
  node.Connect(0);
  REQUIRE(node.Settle());
  CHECK(Describe(node.kernel) == Lines{});
}

TEST_CASE("what retires keeps its own timeout over a restart") {
  PlannedVirtualServer slow = Vip(kWeb, {"10.244.1.2"});
  slow.drain_timeout = absl::Hours(1);
  PlannedVirtualServer datagrams = Vip(Udp("10.96.0.1", 53), {"10.244.1.2"});
  datagrams.drain_timeout = absl::Hours(1);
  for (const PlannedVirtualServer& server : {slow, datagrams}) {
    INFO(server.key.Format());
    RetiringNode node(server);
    node.Remove("web");
    const std::vector<DrainingServer> drains = node.reconciler().Draining();
    REQUIRE(drains.size() == 1);
    node.Advance(absl::Minutes(10));
    REQUIRE(node.Restart().ok());
    node.reconciler().RestoreDrains(drains);
    node.Reconcile();
    CHECK(node.reconciler().Draining() == drains);
    node.Advance(absl::Minutes(50));
    REQUIRE(node.Settle());
    CHECK(Describe(node.kernel) == Lines{});
  }
}

TEST_CASE("a node port retires on the node's own address") {
  RetiringNode node(NodePort(Tcp("192.168.1.1", 30080), {"10.244.1.2"}));
  node.Remove("web");
  CHECK(Describe(node.kernel) == Lines{"TCP 192.168.1.1:30080 rr flags 0 timeout 0 /32",
                                       "  10.244.1.2:8080 Masq weight 0",
                                       "element owned4 192.168.1.1 . tcp . 30080",
                                       "element reject4 192.168.1.1 . tcp . 30080"});
  node.Connect(0);
  REQUIRE(node.Settle());
  CHECK(Describe(node.kernel) == Lines{});
}

TEST_CASE("a port that retires does not keep the others of its address") {
  RetiringNode node;
  const VirtualServerKey other = Tcp("10.96.0.1", 443);
  node.Put(MakePlan("web", {Vip(kWeb, {"10.244.1.2"}), Vip(other, {"10.244.1.2"})}));
  node.Put(MakePlan("web", {Vip(other, {"10.244.1.2"})}));
  CHECK(node.reconciler().Retiring() == std::vector<VirtualServerKey>{kWeb});
  node.Remove("web");
  CHECK(Reach(node.kernel, other, Sender::kOutside) == Lines{"closed"});
  CHECK(Reach(node.kernel, kWeb, Sender::kOutside) == Lines{"refused"});
  node.Connect(0);
  REQUIRE(node.Settle());
  CHECK(Describe(node.kernel) == Lines{});
}

}  // namespace
}  // namespace fairlead::testing
