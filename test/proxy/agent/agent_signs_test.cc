// What the agent lets others know: its health, health checks of Services, metrics.

#include <catch2/catch.hpp>

#include "test_agent.h"

namespace fairlead::testing {
namespace {

const IpAddress kNode = Address("192.168.1.1");

std::vector<Object> Cart() {
  return {MakeService("shop/cart", "10.96.0.1"), MakeSlice("shop/cart", {"10.244.2.2@n2"})};
}

// --- Health --------------------------------------------------------------------------------------

TEST_CASE("a picture that cannot be carried out makes the agent unhealthy in time") {
  TestAgent test;
  CHECK(test.health.Check(test.now) ==
        NodeHealth::Verdict{.last_updated = test.now, .oldest_pending = std::nullopt});
  const absl::Time received = test.now;
  test.kernel.table.FailReads(absl::UnavailableError("busy"));
  test.FeedAndPass(1, Cart());
  CHECK(test.health.Check(test.now) ==
        NodeHealth::Verdict{.last_updated = absl::InfinitePast(), .oldest_pending = received});
  test.now += absl::Seconds(60);
  test.FeedAndPass(2, Cart());
  CHECK(test.health.Check(test.now).oldest_pending == received);
  CHECK(test.health.Check(test.now).healthy);
  CHECK_FALSE(test.health.Check(test.now + absl::Milliseconds(1)).healthy);

  test.kernel.table.ClearFailures();
  test.now += absl::Minutes(1);
  test.agent.Pass();
  CHECK(test.health.Check(test.now) ==
        NodeHealth::Verdict{.last_updated = test.now, .oldest_pending = std::nullopt});
  // Nothing has come since: it stays so.
  CHECK(test.health.Check(test.now + absl::Hours(1)).healthy);
}

TEST_CASE("a failure of one object is no late picture") {
  TestAgent test;
  test.kernel.table.FailWhen([](const ipvs::Operation&) { return true; },
                             {absl::ResourceExhaustedError("no memory"), false});
  test.FeedAndPass(1, Cart());
  CHECK(test.health.Check(test.now + absl::Hours(1)).healthy);
  CHECK(test.Measured("fairlead_sync_failures ") == Lines{"fairlead_sync_failures 1"});
}

TEST_CASE("a node that is being removed gets no new connections") {
  const auto picture = [](const std::string& name, bool being_removed) -> std::vector<Object> {
    auto node = MakeNode("a", "192.168.1.1");
    node->name = name;
    node->being_removed = being_removed;
    return {node};
  };
  TestAgent test;
  const auto eligible = [&test] { return test.health.Check(test.now).eligible; };
  test.FeedAndPass(1, {});
  CHECK(eligible());
  test.FeedAndPass(2, picture("n1", false));
  CHECK(eligible());
  test.FeedAndPass(3, picture("n1", true));
  CHECK_FALSE(eligible());
  test.FeedAndPass(4, picture("n1", true));
  CHECK_FALSE(eligible());
  test.FeedAndPass(5, picture("n1", false));
  CHECK(eligible());
  test.FeedAndPass(6, picture("n1", true));
  CHECK_FALSE(eligible());
  test.FeedAndPass(7, picture("n2", true));
  CHECK(eligible());
}

// --- Health checks of Services -------------------------------------------------------------------

std::vector<Object> Balanced(const Lines& endpoints, uint16_t port = 31000) {
  return {MakeLocalService("shop/cart", "10.96.0.1", 30080, "192.0.2.7", port),
          MakeSlice("shop/cart", endpoints), MakeNode("a", "192.168.1.1")};
}

TEST_CASE("health checks tell of the endpoints on this node, and follow the Service") {
  const ObjectName cart{"shop", "cart"};
  TestAgent test;
  const auto ask = [&](uint16_t port) { return test.listeners.Ask(kNode, port, "/"); };
  test.FeedAndPass(1, Balanced({"10.244.1.2@n1", "10.244.1.3@n1", "10.244.2.2@n2"}));
  CHECK(ask(31000).value() == AnswerHealthCheck(cart, 2, true));
  test.FeedAndPass(2, Balanced({"10.244.2.2@n2"}));
  CHECK(ask(31000).value() == AnswerHealthCheck(cart, 0, true));
  test.FeedAndPass(3, Balanced({"10.244.1.2@n1"}, 31001));
  CHECK_FALSE(ask(31000).ok());
  CHECK(ask(31001).value() == AnswerHealthCheck(cart, 1, true));

  // What is not this Service's changes nothing.
  test.listeners.TakeCalls();
  std::vector<Object> more = Balanced({"10.244.1.2@n1"}, 31001);
  more.push_back(MakeService("shop/more", "10.96.0.2"));
  test.FeedAndPass(4, more);
  CHECK(test.listeners.TakeCalls().empty());

  test.FeedAndPass(5, {MakeService("shop/cart", "10.96.0.1"), MakeNode("a", "192.168.1.1")});
  CHECK(test.listeners.Open().empty());
  test.FeedAndPass(6, Balanced({"10.244.1.2@n1"}));
  CHECK(ask(31000).value() == AnswerHealthCheck(cart, 1, true));
  test.FeedAndPass(7, {MakeNode("a", "192.168.1.1")});
  CHECK(test.listeners.Open().empty());
}

TEST_CASE("health checks say that the agent is late") {
  TestAgent test;
  test.FeedAndPass(1, Balanced({"10.244.1.2@n1"}));
  test.health.ChangePending(test.now);
  test.now += absl::Hours(1);
  CHECK(test.listeners.Ask(kNode, 31000, "/").value() ==
        AnswerHealthCheck({"shop", "cart"}, 1, false));
}

TEST_CASE("health checks are served where node ports are") {
  TestAgent test;
  const IpAddress other = Address("192.168.1.9");
  test.FeedAndPass(1, Balanced({"10.244.1.2@n1"}));
  CHECK(test.listeners.Open() == Lines{"192.168.1.1:31000"});
  test.listeners.SetAddresses({kNode, other});
  test.addresses = std::vector<NodeAddress>{{kNode, "eth0"}, {other, "eth0"}};
  test.agent.AddressesChanged();
  test.agent.Pass();
  CHECK(test.listeners.Open() == Lines{"192.168.1.1:31000", "192.168.1.9:31000"});
  test.addresses = std::vector<NodeAddress>{{other, "eth0"}};
  test.agent.AddressesChanged();
  test.agent.Pass();
  CHECK(test.listeners.Open() == Lines{"192.168.1.9:31000"});
}

TEST_CASE("a health check whose port is taken is said once, and tried again until it is served") {
  TestAgent test;
  test.listeners.Take(kNode, 31000);
  test.FeedAndPass(1, Balanced({"10.244.1.2@n1"}));
  const Lines problem = {
      "warning: Service shop/cart, healthCheckNodePort: cannot listen on 192.168.1.1:31000: "
      "Address already in use"};
  CHECK(test.Logged("healthCheckNodePort") == problem);
  const std::string count = "fairlead_health_check_port_problems ";
  CHECK(test.Measured(count) == Lines{count + "1"});
  // The rest of the Service is served.
  CHECK(test.reconciler.Owns(Tcp("192.0.2.7", 80)));
  for (int i = 0; i < 3; ++i) {
    REQUIRE(test.agent.NextPass() < absl::InfiniteFuture());
    REQUIRE(test.agent.NextPass() > test.now);
    test.now = test.agent.NextPass();
    test.agent.Pass();
  }
  CHECK(test.Logged("healthCheckNodePort") == problem);

  test.listeners.Free(kNode, 31000);
  test.now = test.agent.NextPass();
  test.agent.Pass();
  CHECK(test.listeners.Open() == Lines{"192.168.1.1:31000"});
  CHECK(test.agent.NextPass() == absl::InfiniteFuture());
  CHECK(test.Measured(count) == Lines{count + "0"});
}

// --- Metrics -------------------------------------------------------------------------------------

TEST_CASE("conflicts are measured for who loses, as long as they are") {
  const std::string name = "fairlead_service_conflicts{";
  TestAgent test;
  test.FeedAndPass(
      1, {MakeService("shop/a", "10.96.0.1", 30080), MakeService("shop/b", "10.96.0.1", 30080),
          MakeService("shop/c", "10.96.0.1"), MakeService("shop/d", "10.96.0.4")});
  CHECK(test.Measured(name) ==
        Lines{"fairlead_service_conflicts{service_name=\"b\",service_namespace=\"shop\"} 2",
              "fairlead_service_conflicts{service_name=\"c\",service_namespace=\"shop\"} 1"});
  test.FeedAndPass(2, {MakeService("shop/b", "10.96.0.1", 30080),
                       MakeService("shop/c", "10.96.0.1"), MakeService("shop/d", "10.96.0.4")});
  CHECK(test.Measured(name) ==
        Lines{"fairlead_service_conflicts{service_name=\"c\",service_namespace=\"shop\"} 1"});
  test.FeedAndPass(3, {MakeService("shop/d", "10.96.0.4")});
  CHECK(test.Measured(name) == Lines{});
}

TEST_CASE("what was written is measured, and when the last sync was") {
  TestAgent test;
  auto dns = MakeService("shop/dns", "10.96.0.10");
  dns->ports = {{.name = "dns", .protocol = ipvs::Protocol::kUdp, .port = 53}};
  auto slice = MakeSlice("shop/dns", {"10.244.2.2@n2"});
  slice->ports = {{.name = "dns", .protocol = ipvs::Protocol::kUdp, .port = 53}};
  test.FeedAndPass(1, {dns, slice});
  CHECK(test.Measured("fairlead_kernel_writes_total{") ==
        Lines{"fairlead_kernel_writes_total{kind=\"element\"} 3",
              "fairlead_kernel_writes_total{kind=\"ipvs\"} 2",
              "fairlead_kernel_writes_total{kind=\"route\"} 1"});
  CHECK(test.Measured("kubeproxy_sync_proxy_rules_last_timestamp_seconds") ==
        Lines{R"(kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 1700000000)"});
  CHECK(test.Measured("fairlead_conntrack_flows_deleted_total ") ==
        Lines{"fairlead_conntrack_flows_deleted_total 0"});

  test.kernel.conntrack.AddFlow({.protocol = ipvs::Protocol::kUdp,
                                 .client = {Address("10.244.1.9"), 40000},
                                 .destination = {Address("10.96.0.10"), 53},
                                 .endpoint = Address("10.244.2.2"),
                                 .endpoint_port = 53});
  test.now += absl::Seconds(5);
  test.FeedAndPass(2, {});
  CHECK(test.Measured("fairlead_conntrack_flows_deleted_total ") ==
        Lines{"fairlead_conntrack_flows_deleted_total 1"});
  CHECK(test.Measured("kubeproxy_sync_proxy_rules_last_timestamp_seconds") ==
        Lines{R"(kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 1700000005)"});
}

TEST_CASE("drains are counted, by why they end") {
  TestAgent test;
  test.FeedAndPass(1, Cart());
  REQUIRE(test.kernel.table.SetConnections(Tcp("10.96.0.1", 80), Pod("10.244.2.2"), 1, 0).ok());
  test.FeedAndPass(2, {MakeService("shop/cart", "10.96.0.1")});
  CHECK(test.Measured("fairlead_drains_started") == Lines{"fairlead_drains_started_total 1"});
  test.FeedAndPass(3, Cart());
  CHECK(test.Measured("fairlead_drains_") ==
        Lines{R"(fairlead_drains_ended_total{reason="at_once"} 0)",
              R"(fairlead_drains_ended_total{reason="command"} 0)",
              R"(fairlead_drains_ended_total{reason="gone"} 0)",
              R"(fairlead_drains_ended_total{reason="idle"} 0)",
              R"(fairlead_drains_ended_total{reason="returned"} 1)",
              R"(fairlead_drains_ended_total{reason="timeout"} 0)",
              "fairlead_drains_started_total 1"});
}

}  // namespace
}  // namespace fairlead::testing
