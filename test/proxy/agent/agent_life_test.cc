// An agent's bad days: what others change, restarts, what leaves.

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "test_agent.h"

namespace fairlead::testing {
namespace {

using ipvs::VirtualServerKey;

const VirtualServerKey kCart = Tcp("10.96.0.1", 80);
const auto kFull = TestAgent::Life::kFull;

std::vector<Object> Cart(const Lines& endpoints = {"10.244.2.2@n2"}) {
  return {MakeService("shop/cart", "10.96.0.1"), MakeSlice("shop/cart", endpoints)};
}

// --- Drift ---------------------------------------------------------------------------------------

TEST_CASE("what others do to the firewall and the routes is put right, told and counted") {
  TestAgent test;
  test.FeedAndPass(1, Cart());
  const Lines before = Describe(test.kernel);
  REQUIRE(test.kernel.firewall.Apply({{{ElementChange::Verb::kDelete, OwnedElement(kCart)}}}).ok());
  REQUIRE(test.kernel.routes
              .Apply({{{RouteChange::Verb::kDelete,
                        {Address("10.96.0.1"), Address("192.168.1.1")}}}})[0]
              .ok());
  test.agent.Pass();
  CHECK(Describe(test.kernel) != before);  // Nobody has said anything.
  test.agent.FirewallChanged();
  test.agent.RoutesChanged();
  test.agent.Pass();
  CHECK(Describe(test.kernel) == before);
  CHECK(test.Logged("put right") ==
        Lines{"warning: element owned4 10.96.0.1 . tcp . 80 was gone: put right",
              "warning: route 10.96.0.1 was gone: put right"});
  CHECK(test.Measured("fairlead_repairs_total") ==
        Lines{"fairlead_repairs_total{kind=\"element\"} 1",
              "fairlead_repairs_total{kind=\"real_server\"} 0",
              "fairlead_repairs_total{kind=\"route\"} 1",
              "fairlead_repairs_total{kind=\"ruleset\"} 0",
              "fairlead_repairs_total{kind=\"sysctl\"} 0",
              "fairlead_repairs_total{kind=\"virtual_server\"} 0"});
}

TEST_CASE("routes that went with an address of the node are put back without being told") {
  TestAgent test;
  test.FeedAndPass(1, Cart());
  const Lines before = Describe(test.kernel);
  REQUIRE(test.kernel.routes
              .Apply({{{RouteChange::Verb::kDelete,
                        {Address("10.96.0.1"), Address("192.168.1.1")}}}})[0]
              .ok());
  test.agent.AddressesChanged();
  test.agent.Pass();
  CHECK(Describe(test.kernel) == before);
}

TEST_CASE("a setting that somebody changes is set again in its turn") {
  TestAgent test({.node_name = "n1"}, MemoryKernel(), kFull);
  test.FeedAndPass(1, Cart());
  test.setting = "0";
  CHECK(test.agent.NextPass() == test.now + kSettingsCheck);
  test.now += kSettingsCheck;
  test.agent.Pass();
  CHECK(test.setting == "1");
  CHECK(test.Logged("a.setting") == Lines{"warning: a.setting was 0: put right"});
  CHECK(test.Measured("fairlead_repairs_total{kind=\"sysctl\"}") ==
        Lines{"fairlead_repairs_total{kind=\"sysctl\"} 1"});
}

TEST_CASE("of very many changes the log has a few, and how many more") {
  TestAgent test;
  std::vector<Object> objects;
  for (int i = 1; i <= 15; ++i) {
    objects.push_back(MakeService(absl::StrCat("shop/s", i), absl::StrCat("10.96.0.", i)));
  }
  test.FeedAndPass(1, objects);
  const std::vector<VipRoute> routes = *test.kernel.routes.Dump();
  for (const VipRoute& route : routes) {
    REQUIRE(test.kernel.routes.Apply({{{RouteChange::Verb::kDelete, route}}})[0].ok());
  }
  test.agent.RoutesChanged();
  test.agent.Pass();
  CHECK(test.Logged("was gone: put right").size() == DriftReport::kExamples);
  CHECK(test.Logged("more of this kind") ==
        Lines{"warning: 5 more of this kind (route): put right"});
}

TEST_CASE("of what somebody changes all the time the log has a line now and then") {
  TestAgent test;
  test.FeedAndPass(1, Cart());
  const VipRoute route{Address("10.96.0.1"), Address("192.168.1.1")};
  const auto delete_route = [&] {
    REQUIRE(test.kernel.routes.Apply({{{RouteChange::Verb::kDelete, route}}})[0].ok());
    test.agent.RoutesChanged();
    test.now += kDriftLog / 4;
    test.agent.Pass();
  };
  const std::string line = "warning: route 10.96.0.1 was gone: put right";
  delete_route();
  CHECK(test.Logged("put right") == Lines{line});
  for (int i = 0; i < 3; ++i) delete_route();
  CHECK(test.Logged("put right") == Lines{line});
  delete_route();
  CHECK(test.Logged("put right") ==
        Lines{line, line, "warning: 3 more of this kind (route): put right"});
  CHECK(test.Measured("fairlead_repairs_total{kind=\"route\"}") ==
        Lines{"fairlead_repairs_total{kind=\"route\"} 5"});
}

// --- Start ---------------------------------------------------------------------------------------

TEST_CASE("what works for the first time is told in its order, and measured") {
  TestAgent test;
  const std::vector<Object> objects = {MakeService("default/kubernetes", "10.96.0.1"),
                                       MakeService("kube-system/kube-dns", "10.96.0.10"),
                                       MakeService("shop/cart", "10.96.0.20")};
  test.now += absl::Seconds(3);
  test.FeedAndPass(1, objects);
  CHECK(test.Logged("works") == Lines{"info: the API server's Service works, 3s after the start",
                                      "info: DNS works, 3s after the start",
                                      "info: every Service works, 3s after the start"});
  CHECK(test.Measured("fairlead_first_sync_seconds") ==
        Lines{"fairlead_first_sync_seconds{part=\"apiserver\"} 3",
              "fairlead_first_sync_seconds{part=\"dns\"} 3",
              "fairlead_first_sync_seconds{part=\"everything\"} 3"});
}

TEST_CASE("what fails at the start works when it does") {
  TestAgent test;
  test.kernel.table.FailWhen(
      [](const ipvs::Operation& operation) {
        return operation.virtual_server == Tcp("10.96.0.10", 80);
      },
      {absl::ResourceExhaustedError("no memory"), false});
  test.FeedAndPass(1, {MakeService("default/kubernetes", "10.96.0.1"),
                       MakeService("kube-system/coredns", "10.96.0.10")});
  CHECK(test.Measured("fairlead_first_sync_seconds") ==
        Lines{"fairlead_first_sync_seconds{part=\"apiserver\"} 0"});
  test.kernel.table.ClearFailures();
  test.now += absl::Seconds(5);
  test.agent.Pass();
  CHECK(test.Measured("fairlead_first_sync_seconds") ==
        Lines{"fairlead_first_sync_seconds{part=\"apiserver\"} 0",
              "fairlead_first_sync_seconds{part=\"dns\"} 5",
              "fairlead_first_sync_seconds{part=\"everything\"} 5"});
}

TEST_CASE(
    "another proxy's things go when everything is in the kernel, and are tried until they do") {
  TestAgent test({.node_name = "n1"}, MemoryKernel(), kFull);
  test.take_over_failures = 1;
  test.kernel.table.FailWhen([](const ipvs::Operation&) { return true; },
                             {absl::ResourceExhaustedError("no memory"), false});
  test.FeedAndPass(1, Cart());
  CHECK(test.take_overs == 0);
  test.kernel.table.ClearFailures();
  test.now += absl::Seconds(1);
  test.agent.Pass();
  CHECK(test.take_overs == 1);
  test.agent.Pass();
  CHECK(test.take_overs == 1);
  CHECK(test.agent.NextPass() == test.now + kSettingsCheck - absl::Seconds(1));
  test.now += kTakeOverRetry;
  test.agent.Pass();
  CHECK(test.take_overs == 2);
  test.now += absl::Hours(1);
  test.agent.Pass();
  CHECK(test.take_overs == 2);
}

// --- Drains --------------------------------------------------------------------------------------

TEST_CASE("drains are kept for the next agent, and it goes on with them") {
  TestAgent test({.node_name = "n1"}, MemoryKernel(), kFull);
  test.FeedAndPass(1, Cart({"10.244.2.2@n2", "10.244.3.2@n3"}));
  REQUIRE(test.kernel.table.SetConnections(kCart, Pod("10.244.3.2"), 1, 0).ok());
  CHECK(test.drain_saves == 1);  // What a former agent left is replaced.
  test.now += kDrainSave;
  test.FeedAndPass(2, Cart());
  const std::vector<DrainingServer> drains = {
      {kCart, Pod("10.244.3.2"), test.now, test.now + absl::Minutes(5)}};
  CHECK(test.saved_drains == drains);
  CHECK(test.drain_saves == 2);

  TestAgent next({.node_name = "n1"}, std::move(test.kernel), kFull);
  next.saved_drains = test.saved_drains;
  next.now += absl::Minutes(2);
  next.FeedAndPass(1, Cart());
  CHECK(next.reconciler.Draining() == drains);
}

TEST_CASE("drains are saved once in a while, not at every change") {
  TestAgent test({.node_name = "n1"}, MemoryKernel(), kFull);
  const Lines all = {"10.244.2.2@n2", "10.244.3.2@n3", "10.244.4.2@n4"};
  test.FeedAndPass(1, Cart(all));
  for (const char* pod : {"10.244.3.2", "10.244.4.2"}) {
    REQUIRE(test.kernel.table.SetConnections(kCart, Pod(pod), 1, 0).ok());
  }
  test.now += kDrainSave;
  test.FeedAndPass(2, Cart({"10.244.2.2@n2", "10.244.3.2@n3"}));
  CHECK(test.drain_saves == 2);
  test.now += kDrainSave / 2;
  test.FeedAndPass(3, Cart());
  CHECK(test.drain_saves == 2);
  CHECK(test.agent.NextPass() <= test.now + kDrainSave / 2);
  test.now += kDrainSave / 2;
  test.drain_saves_fail = true;
  test.agent.Pass();
  CHECK(test.drain_saves == 3);
  test.drain_saves_fail = false;
  test.now += kDrainSave;
  test.agent.Pass();
  CHECK(test.drain_saves == 4);
  CHECK(test.saved_drains.size() == 2);
}

TEST_CASE("a clock that is set delays nothing and ends nothing before its time") {
  for (const absl::Duration step : {-absl::Hours(1), absl::Hours(1)}) {
    INFO(step);
    TestAgent test({.node_name = "n1"}, MemoryKernel(), kFull);
    test.FeedAndPass(1, Cart({"10.244.2.2@n2", "10.244.3.2@n3"}));
    REQUIRE(test.kernel.table.SetConnections(kCart, Pod("10.244.3.2"), 1, 0).ok());
    test.FeedAndPass(2, Cart());
    test.setting = "0";
    test.now += step;
    test.clock_step += step;
    test.agent.Pass();
    CHECK(test.reconciler.Draining() ==
          std::vector<DrainingServer>{
              {kCart, Pod("10.244.3.2"), test.now, test.now + absl::Minutes(5)}});
    CHECK(test.agent.NextPass() <= test.now + kDrainPoll);
    test.now += kSettingsCheck;
    test.agent.Pass();
    CHECK(test.setting == "1");
    REQUIRE(test.kernel.table.SetConnections(kCart, Pod("10.244.3.2"), 0, 0).ok());
    test.now += kDrainPoll;
    test.agent.Pass();
    CHECK(test.reconciler.Draining().empty());
  }
}

TEST_CASE("another proxy's things stay while the picture lacks something") {
  TestAgent test({.node_name = "n1"}, MemoryKernel(), kFull);
  test.Put({.position = {"e", 1}, .partial = true, .snapshot = true, .upserts = Cart()});
  test.agent.Pass();
  CHECK(test.take_overs == 0);
  test.Put({.position = {"e", 2}});
  test.agent.Pass();
  CHECK(test.take_overs == 1);
}

TEST_CASE("a Service's own drain timeout reaches its real servers") {
  TestAgent test;
  const auto picture = [](const Lines& endpoints) -> std::vector<Object> {
    auto service = MakeService("shop/cart", "10.96.0.1");
    service->drain_timeout = absl::Seconds(20);
    return {service, MakeSlice("shop/cart", endpoints)};
  };
  test.FeedAndPass(1, picture({"10.244.2.2@n2", "10.244.3.2@n3"}));
  REQUIRE(test.kernel.table.SetConnections(kCart, Pod("10.244.3.2"), 1, 0).ok());
  test.FeedAndPass(2, picture({"10.244.2.2@n2"}));
  CHECK(test.reconciler.Draining() ==
        std::vector<DrainingServer>{
            {kCart, Pod("10.244.3.2"), test.now, test.now + absl::Seconds(20)}});
}

}  // namespace
}  // namespace fairlead::testing
