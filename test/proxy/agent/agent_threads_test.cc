// Run in a thread, and what other threads may ask of it meanwhile.

#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <thread>

#include "test_agent.h"

namespace fairlead::testing {
namespace {

TEST_CASE("a running agent answers to other threads, and to nobody once it has stopped") {
  TestAgent test;
  test.real_clock = true;
  std::thread loop([&test] { test.agent.Run(); });

  const absl::StatusOr<AgentReport> before = test.agent.Report();
  REQUIRE(before.ok());
  CHECK(before->node_name == "n1");
  CHECK_FALSE(before->complete);
  CHECK(before->revision == 0);
  CHECK(before->programmed == absl::InfinitePast());
  CHECK(before->plans.empty());

  test.Feed(7, {MakeService("shop/cart", "10.96.0.1"), MakeService("shop/other", "10.96.0.1"),
                MakeSlice("shop/cart", {"10.244.2.2@n2"})});
  test.agent.Wake();
  // The pass that answers the first may have begun before the picture came.
  (void)test.agent.Report();
  std::vector<std::future<absl::StatusOr<AgentReport>>> reports;
  for (int i = 0; i < 4; ++i) {
    reports.push_back(std::async(std::launch::async, [&test] { return test.agent.Report(); }));
  }
  for (auto& future : reports) {
    const absl::StatusOr<AgentReport> report = future.get();
    REQUIRE(report.ok());
    CHECK(report->complete);
    CHECK(report->revision == 7);
    CHECK(report->programmed > absl::InfinitePast());
    CHECK(report->plans.size() == 2);
    CHECK(report->owned == std::vector<ipvs::VirtualServerKey>{Tcp("10.96.0.1", 80)});
    CHECK(report->warnings ==
          Lines{"Service shop/other: TCP 10.96.0.1:80 belongs to Service shop/cart, of the same "
                "age and first by name"});
    CHECK(report->failures.empty());
    CHECK(report->draining.empty());
    CHECK(report->counters == WriteCounters{.operations = 2, .elements = 3, .routes = 1});
  }
  // For what a picture took, and not for a change.
  test.Put({.position = {"epoch", 8}, .upserts = {MakeService("shop/more", "10.96.0.2")}});
  test.agent.Wake();
  (void)test.agent.Report();
  (void)test.agent.Report();

  test.agent.Stop();
  loop.join();
  CHECK(test.memory_releases == 1);
  CHECK(absl::IsUnavailable(test.agent.Report().status()));
  // The kernel is left as it is.
  CHECK(test.kernel.table.Get(Tcp("10.96.0.1", 80)).ok());
}

TEST_CASE("a running agent explains where packets go") {
  TestAgent test({.node_name = "n1",
                  .local_mode = LocalMode::kBridgeInterface,
                  .pod_bridge_interface = "cni0"});
  test.real_clock = true;
  std::thread loop([&test] { test.agent.Run(); });
  ExplainQuery query{.from = Address("10.244.1.9"),
                     .from_interface = "cni0",
                     .to = Address("10.96.0.1"),
                     .port = 80,
                     .protocol = ipvs::Protocol::kTcp};
  CHECK(absl::IsFailedPrecondition(test.agent.Explain(query).status()));

  test.Feed(7, {MakeService("shop/cart", "10.96.0.1"), MakeSlice("shop/cart", {"10.244.2.2@n2"})});
  test.agent.Wake();
  (void)test.agent.Report();  // As above.
  const absl::StatusOr<Explanation> explanation = test.agent.Explain(query);
  REQUIRE(explanation.ok());
  CHECK(FormatExplanationText(*explanation) ==
        "balance shop/cart:http -> 10.244.2.2:8080\n"
        "  source: 10.244.1.9 by cni0 is a pod: pods' packets come by \"cni0\"\n"
        "  destination: TCP 10.96.0.1:80 is a ClusterIP of Service shop/cart:http\n"
        "  policy: internalTrafficPolicy Cluster\n"
        "  balanced: scheduler rr\n"
        "  masquerade: no: pods keep their address\n"
        "  endpoint 10.244.2.2:8080 (on n2): used\n");
  CHECK(explanation->virtual_server == Tcp("10.96.0.1", 80));

  query.from_interface.clear();
  absl::Status status = test.agent.Explain(query).status();
  CHECK(absl::IsInvalidArgument(status));
  CHECK(std::string(status.message()) ==
        "--from-interface: pods are told by the device \"cni0\", so it has to be known by which "
        "one the packet comes");
  query.to = Address("fd00:96::1");
  status = test.agent.Explain(query).status();
  CHECK(absl::IsInvalidArgument(status));
  CHECK(std::string(status.message()) ==
        "--from 10.244.1.9 and --to fd00:96::1 are not of one family");

  test.agent.Stop();
  loop.join();
  CHECK(absl::IsUnavailable(test.agent.Explain(query).status()));
}

TEST_CASE("who waits for a report while the agent stops gets an answer") {
  TestAgent test;
  auto report = std::async(std::launch::async, [&test] { return test.agent.Report(); });
  test.agent.Stop();
  test.agent.Run();
  CHECK(absl::IsUnavailable(report.get().status()));
}

TEST_CASE("what is due is done without being woken") {
  TestAgent test;
  test.real_clock = true;
  // Both rounds of the first pass.
  test.kernel.table.FailNext({absl::ResourceExhaustedError("no memory"), false});
  test.kernel.table.FailNext({absl::ResourceExhaustedError("no memory"), false}, 1);
  test.Feed(1, {MakeService("shop/cart", "10.96.0.1")});
  std::promise<void> made_good;
  test.on_acknowledge = [&made_good, calls = 0]() mutable {
    if (++calls == 2) made_good.set_value();
  };
  std::thread loop([&test] { test.agent.Run(); });
  const auto result = made_good.get_future().wait_for(std::chrono::seconds(20));
  test.agent.Stop();
  loop.join();
  REQUIRE(result == std::future_status::ready);
  const std::vector<Acknowledgement> acknowledgements = test.TakeAcknowledgements();
  REQUIRE(acknowledgements.size() == 2);
  CHECK(acknowledgements[0].failures.size() == 1);
  CHECK(acknowledgements[1].failures.empty());
  CHECK(test.kernel.table.Get(Tcp("10.96.0.1", 80)).ok());
}

}  // namespace
}  // namespace fairlead::testing
