// Real servers that leave and have connections.

#include <catch2/catch.hpp>

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
        std::vector<DrainingServer>{{kWeb, kLeaves, node.now + absl::Minutes(5)}});
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
          std::vector<DrainingServer>{{kWeb, kLeaves, node.now + absl::Minutes(5)}});
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

TEST_CASE("a Service that goes takes what drains along") {
  DrainingNode node;
  node.Remove("web");
  CHECK(node.Actual() == Lines{});
  CHECK(node.reconciler().Draining().empty());
  CHECK(node.reconciler().NextWake() == absl::InfiniteFuture());
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
