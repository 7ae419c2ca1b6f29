// Real servers that leave and have connections.

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "test_node.h"

namespace fairlead::testing {
namespace {

using ipvs::Operation;
using ipvs::RealServerKey;
using ipvs::VirtualServerKey;

const VirtualServerKey kWeb = Tcp("10.96.0.1", 80);
const RealServerKey kStays = Pod("10.244.1.2");
const RealServerKey kLeaves = Pod("10.244.2.2");

// With both real servers in the kernel, each with a connection; then the one leaves.
struct DrainingNode : TestNode {
  explicit DrainingNode(const VirtualServerKey& key = kWeb) : key(key) {
    PutReals({"10.244.1.2", "10.244.2.2"});
    Connect(kStays, 1, 0);
    Connect(kLeaves, 1, 0);
    kernel.table.ClearOperations();
    PutReals({"10.244.1.2"});
  }

  void PutReals(const Lines& pods) { Put(MakePlan("web", {Vip(key, pods)})); }
  void Connect(const RealServerKey& real, uint32_t active, uint32_t inactive) {
    REQUIRE(kernel.table.SetConnections(key, real, active, inactive).ok());
  }
  std::vector<Operation> TakeOperations() {
    std::vector<Operation> operations = kernel.table.operations();
    kernel.table.ClearOperations();
    return operations;
  }

  const VirtualServerKey key;
};

const Operation kQuiet = Operation::EditRealServer(kWeb, kLeaves, {.weight = 0});
const Operation kDelete = Operation::DeleteRealServer(kWeb, kLeaves);
using Operations = std::vector<Operation>;

TEST_CASE("a real server that leaves gets weight 0 and stays as long as it has connections") {
  DrainingNode node;
  CHECK(node.TakeOperations() == Operations{kQuiet});
  CHECK(node.reconciler().Draining() ==
        std::vector<DrainingServer>{{kWeb, kLeaves, node.now, node.now + absl::Minutes(5)}});
  for (int i = 0; i < 10; ++i) {
    CHECK(node.Wait() == kDrainPoll);
    node.Advance(kDrainPoll);
  }
  CHECK(node.TakeOperations() == Operations{});

  node.Connect(kLeaves, 0, 1);  // Closing.
  node.Advance(kDrainPoll);
  CHECK(node.TakeOperations() == Operations{});

  node.Connect(kLeaves, 0, 0);
  node.Advance(kDrainPoll);
  CHECK(node.TakeOperations() == Operations{kDelete});
  CHECK(node.reconciler().Draining().empty());
  CHECK(node.reconciler().NextWake() == absl::InfiniteFuture());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("connections are not counted more often than the poll") {
  DrainingNode node;
  node.Connect(kLeaves, 0, 0);
  node.TakeOperations();
  node.Advance(kDrainPoll - absl::Milliseconds(1));
  CHECK(node.TakeOperations() == Operations{});
  node.Advance(absl::Milliseconds(1));
  CHECK(node.TakeOperations() == Operations{kDelete});
}

TEST_CASE("at the deadline a real server goes with its connections") {
  DrainingNode node;
  node.TakeOperations();
  node.Advance(absl::Minutes(5) - absl::Milliseconds(1));
  CHECK(node.TakeOperations() == Operations{});
  node.Advance(kDrainPoll);
  CHECK(node.TakeOperations() == Operations{kDelete});
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("one that comes back gets its weight again and keeps its connections") {
  DrainingNode node;
  node.TakeOperations();
  node.Advance(absl::Minutes(1));
  node.PutReals({"10.244.1.2", "10.244.2.2"});
  CHECK(node.TakeOperations() == Operations{Operation::EditRealServer(kWeb, kLeaves, {})});
  CHECK(node.reconciler().Draining().empty());
  CHECK(node.kernel.table.Get(kWeb)->real_servers.back().active_connections == 1);
  node.Advance(absl::Hours(1));
  CHECK(node.TakeOperations() == Operations{});
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("where there is no time to look at all that drain, they are looked at in turn") {
  const std::vector<std::string> names = {"a", "b", "c"};
  const auto key = [&](size_t i) { return Tcp(absl::StrCat("10.96.0.", i + 1), 80); };
  TestNode node({.tick_budget = absl::ZeroDuration()});
  const auto put = [&](size_t i, const Lines& pods) {
    node.Put(MakePlan(names[i], {Vip(key(i), pods)}));
  };
  for (size_t i = 0; i < names.size(); ++i) {
    put(i, {"10.244.1.2", "10.244.2.2"});
    REQUIRE(node.kernel.table.SetConnections(key(i), kLeaves, 1, 0).ok());
    put(i, {"10.244.1.2"});
  }
  REQUIRE(node.reconciler().Draining().size() == 3);
  for (size_t i = 0; i < names.size(); ++i) {
    REQUIRE(node.kernel.table.SetConnections(key(i), kLeaves, 0, 0).ok());
  }
  std::vector<size_t> left;
  std::vector<absl::Duration> waited;
  while (!node.reconciler().Draining().empty() && left.size() < 10) {
    waited.push_back(node.Wait());
    node.Advance(waited.back());
    left.push_back(node.reconciler().Draining().size());
  }
  CHECK(left == std::vector<size_t>{2, 1, 0});
  CHECK(waited == std::vector<absl::Duration>{kDrainPoll, kAuditTick, kAuditTick});
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("what is due does not wait for its turn") {
  TestNode node({.tick_budget = absl::ZeroDuration()});
  const VirtualServerKey other = Tcp("10.96.0.2", 80);
  for (const VirtualServerKey& key : {kWeb, other}) {
    const std::string name = key == kWeb ? "web" : "other";
    node.Put(MakePlan(name, {Vip(key, {"10.244.1.2", "10.244.2.2"})}));
    REQUIRE(node.kernel.table.SetConnections(key, kLeaves, 1, 0).ok());
    node.Put(MakePlan(name, {Vip(key, {"10.244.1.2"})}));
  }
  node.reconciler().EndDrains([](const DrainingServer&) { return true; }, node.now);
  node.Reconcile();
  CHECK(node.reconciler().Draining().empty());
}

TEST_CASE("a change of the Service does not put the deadline off") {
  DrainingNode node;
  const std::vector<DrainingServer> draining = node.reconciler().Draining();
  node.Advance(absl::Minutes(2));
  node.PutReals({"10.244.1.2", "10.244.3.2"});
  CHECK(node.reconciler().Draining() == draining);
}

TEST_CASE("datagrams have no connections to wait for") {
  const VirtualServerKey dns = Udp("10.96.0.10", 53);
  DrainingNode node(dns);
  CHECK(node.TakeOperations() == Operations{Operation::EditRealServer(dns, kLeaves, {.weight = 0}),
                                            Operation::DeleteRealServer(dns, kLeaves)});
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("a restart that is told of the drains goes on with them") {
  DrainingNode node;
  const std::vector<DrainingServer> before = node.reconciler().Draining();
  node.TakeOperations();
  node.Advance(absl::Minutes(4));
  REQUIRE(node.Restart().ok());
  node.reconciler().RestoreDrains(before);
  node.Reconcile();
  CHECK(node.reconciler().Draining() == before);
  node.Advance(absl::Minutes(1) - kDrainPoll);
  CHECK(node.TakeOperations() == Operations{});
  node.Advance(kDrainPoll);
  CHECK(node.TakeOperations() == Operations{kDelete});
}

TEST_CASE("drains of a former run concern nobody who leaves later") {
  TestNode node;
  const auto put = [&](const Lines& pods) { node.Put(MakePlan("web", {Vip(kWeb, pods)})); };
  put({"10.244.1.2", "10.244.2.2"});
  REQUIRE(node.kernel.table.SetConnections(kWeb, kLeaves, 1, 0).ok());
  REQUIRE(node.Restart().ok());
  node.reconciler().RestoreDrains(
      {{kWeb, kLeaves, node.now - absl::Hours(1), node.now - absl::Minutes(55)}});
  node.Reconcile();
  put({"10.244.1.2"});
  CHECK(node.reconciler().Draining() ==
        std::vector<DrainingServer>{{kWeb, kLeaves, node.now, node.now + absl::Minutes(5)}});
}

TEST_CASE("a drain of a former run is none any more once its endpoint is wanted, though held") {
  TestNode node;
  const auto put = [&](const Lines& pods) { node.Put(MakePlan("web", {Vip(kWeb, pods)})); };
  put({"10.244.1.2", "10.244.2.2"});
  REQUIRE(node.kernel.table.SetConnections(kWeb, kLeaves, 1, 0).ok());
  REQUIRE(node.Restart().ok());
  node.reconciler().RestoreDrains(
      {{kWeb, kLeaves, node.now - absl::Hours(1), node.now - absl::Minutes(55)}});
  node.reconciler().HoldRemovals(true);
  node.Reconcile(node.Everything());
  put({"10.244.1.2"});
  CHECK(node.reconciler().Draining() ==
        std::vector<DrainingServer>{{kWeb, kLeaves, node.now, node.now + absl::Minutes(5)}});
}

TEST_CASE("a Service's own timeout counts, a shorter one for drains that are under way too") {
  TestNode node({.udp_drain_timeout = absl::Seconds(7)});
  struct Case {
    std::string name;
    VirtualServerKey key;
    std::optional<absl::Duration> own;
    absl::Duration expected;
  };
  for (const Case& c : std::vector<Case>{
           {"TCP", kWeb, std::nullopt, absl::Minutes(5)},
           {"UDP", Udp("10.96.0.10", 53), std::nullopt, absl::Seconds(7)},
           {"TCP of its own", Tcp("10.96.0.2", 80), absl::Seconds(20), absl::Seconds(20)},
           {"UDP of its own", Udp("10.96.0.11", 53), absl::Seconds(1), absl::Seconds(1)},
       }) {
    INFO(c.name);
    const auto put = [&](const Lines& pods, std::optional<absl::Duration> own) {
      PlannedVirtualServer server = Vip(c.key, pods);
      server.drain_timeout = own;
      node.Put(MakePlan("web", {server}));
    };
    put({"10.244.1.2", "10.244.2.2"}, c.own);
    REQUIRE(node.kernel.table.SetConnections(c.key, kLeaves, 1, 0).ok());
    put({"10.244.1.2"}, c.own);
    const auto expect = [&](absl::Duration patience) {
      CHECK(node.reconciler().Draining() ==
            std::vector<DrainingServer>{{c.key, kLeaves, node.now, node.now + patience}});
    };
    expect(c.expected);
    put({"10.244.1.2"}, absl::Milliseconds(900));
    expect(absl::Milliseconds(900));
    put({"10.244.1.2"}, absl::Hours(1));
    expect(absl::Milliseconds(900));
    node.Remove("web");
    REQUIRE(node.Settle());
  }
}

TEST_CASE("a drain that is ended takes its connections along") {
  DrainingNode node;
  node.TakeOperations();
  const auto is_other = [](const DrainingServer& drain) { return drain.real_server == kStays; };
  CHECK(node.reconciler().EndDrains(is_other, node.now) == 0);
  CHECK(node.reconciler().EndDrains([](const DrainingServer&) { return true; }, node.now) == 1);
  CHECK(node.Wait() <= absl::ZeroDuration());
  node.Reconcile();
  CHECK(node.TakeOperations() == Operations{kDelete});
  CHECK(node.reconciler().Draining().empty());
}

TEST_CASE("a restart goes on with the drain, to its end or to a deadline of its own") {
  for (const bool ends : {true, false}) {
    INFO(ends);
    DrainingNode node;
    node.TakeOperations();
    node.Advance(absl::Minutes(1));
    REQUIRE(node.Restart().ok());
    node.Reconcile();
    CHECK(node.TakeOperations() == Operations{});
    CHECK(node.reconciler().counters() == WriteCounters{});
    // Nobody knows since when it drains.
    CHECK(node.reconciler().Draining() ==
          std::vector<DrainingServer>{{kWeb, kLeaves, node.now, node.now + absl::Minutes(5)}});
    if (ends) {
      node.Connect(kLeaves, 0, 0);
    } else {
      node.Advance(absl::Minutes(5) - kDrainPoll);
    }
    CHECK(node.TakeOperations() == Operations{});
    node.Advance(kDrainPoll);
    CHECK(node.TakeOperations() == Operations{kDelete});
    CHECK(node.Actual() == node.Wanted());
  }
}

TEST_CASE("the last endpoint drains as well") {
  DrainingNode node;
  node.TakeOperations();
  node.PutReals({});
  CHECK(node.TakeOperations() ==
        Operations{Operation::EditRealServer(kWeb, kStays, {.weight = 0})});
  CHECK(node.reconciler().Draining().size() == 2);
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("one that could not be silenced is not deleted before it is") {
  TestNode node;
  node.Put(MakePlan("web", {Vip(kWeb, {"10.244.1.2", "10.244.2.2"})}));
  node.kernel.table.FailWhen([](const Operation& operation) { return operation == kQuiet; },
                             {absl::ResourceExhaustedError("no memory"), false});
  node.Put(MakePlan("web", {Vip(kWeb, {"10.244.1.2"})}));
  CHECK(node.kernel.table.Get(kWeb)->real_servers.size() == 2);
  node.kernel.table.ClearFailures();
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("a delete that fails, or of which the reply is lost, is tried again by the next poll") {
  for (const bool happens : {true, false}) {
    DrainingNode node;
    node.Connect(kLeaves, 0, 0);
    node.kernel.table.FailNext({absl::UnknownError("lost"), happens});
    node.Advance(kDrainPoll);
    CHECK(node.reconciler().Draining().size() == 1);
    node.Advance(kDrainPoll);
    CHECK(node.reconciler().Draining().empty());
    CHECK(node.Actual() == node.Wanted());
    // And what came of it is not taken for something that is there.
    node.PutReals({"10.244.1.2", "10.244.2.2"});
    CHECK(node.Actual() == node.Wanted());
  }
}

TEST_CASE("a poll that cannot read the kernel is repeated") {
  DrainingNode node;
  node.Connect(kLeaves, 0, 0);
  node.kernel.table.FailReads(absl::UnavailableError("busy"));
  node.Advance(kDrainPoll);
  CHECK(node.reconciler().Draining().size() == 1);
  node.kernel.table.ClearFailures();
  node.Advance(kDrainPoll);
  CHECK(node.Actual() == node.Wanted());
}

}  // namespace
}  // namespace fairlead::testing
