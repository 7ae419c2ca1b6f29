#include "proxy/reconcile/reconciler.h"

#include <catch2/catch.hpp>
#include <functional>

#include "proxy/kernel/ruleset.h"
#include "test_node.h"

namespace fairlead::testing {
namespace {

using ipvs::Operation;
using ipvs::VirtualServerKey;

const VirtualServerKey kWeb = Tcp("10.96.0.1", 80);

std::vector<std::shared_ptr<const ServicePlan>> Everything() {
  PlannedVirtualServer silent = Vip(Tcp("10.96.0.3", 80), {});
  silent.verdict = Verdict::kDrop;
  silent.policy = TrafficPolicy::kLocal;
  return {
      MakePlan("web", {Vip(kWeb, {"10.244.1.2", "10.244.2.2"}),
                       Vip(Tcp("fd00:96::1", 80), {"fd00:244::2"}),
                       NodePort(Tcp("192.168.1.1", 30080), {"10.244.1.2", "10.244.2.2"})}),
      MakePlan("dns", {Vip(Udp("10.96.0.10", 53), {"10.244.1.3"}),
                       Vip(Tcp("10.96.0.10", 53), {"10.244.1.3"})}),
      MakePlan("empty", {Vip(Tcp("10.96.0.2", 80), {})}),
      MakePlan("silent", {silent}),
  };
}

Touched PutAll(TestNode& node) {
  Touched touched;
  for (const auto& plan : Everything()) touched.Merge(node.Want(plan));
  return touched;
}

TEST_CASE("the first sync brings an empty kernel to the plan") {
  TestNode node;
  CHECK(node.Actual() == Lines{});
  node.Reconcile(PutAll(node));
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.Failures() == Lines{});
  CHECK(node.reconciler().NextWake() == absl::InfiniteFuture());
  CHECK(node.kernel.firewall.ruleset() == RulesetText({}));
  CHECK(node.reconciler().OwnedVirtualServers() ==
        std::vector<VirtualServerKey>{kWeb, Tcp("10.96.0.2", 80), Tcp("10.96.0.3", 80),
                                      Tcp("10.96.0.10", 53), Tcp("192.168.1.1", 30080),
                                      Udp("10.96.0.10", 53), Tcp("fd00:96::1", 80)});
}

TEST_CASE("the picture of a plan is whole: what a kernel has to hold is spelt out once") {
  TestNode node;
  node.Put(MakePlan("web", {Vip(kWeb, {"10.244.1.2", "10.244.2.2"})}));
  CHECK(node.Actual() ==
        Lines{"TCP 10.96.0.1:80 rr flags 0 timeout 0 /32", "  10.244.1.2:8080 Masq weight 1",
              "  10.244.2.2:8080 Masq weight 1", "element owned4 10.96.0.1 . tcp . 80",
              "element served4 10.96.0.1 . tcp . 80", "element guarded4 10.96.0.1",
              "element masquerade_outsiders4 10.96.0.1 . tcp . 80",
              "element hairpin4 10.244.1.2 . 10.244.1.2", "route 10.96.0.1 src 192.168.1.1"});
  // One transaction before the virtual servers and one after them.
  CHECK(node.tap.transactions == std::vector<size_t>{4, 1});
  CHECK(node.reconciler().counters() == WriteCounters{.operations = 3, .elements = 5, .routes = 1});
}

TEST_CASE("what is as it should be is not written again, also not after a restart") {
  TestNode node;
  node.Reconcile(PutAll(node));
  const int elements = node.kernel.firewall.changes();
  const int routes = node.kernel.routes.writes();
  node.kernel.table.ClearOperations();
  REQUIRE(node.Restart().ok());
  // An agent that starts touches everything.
  const Touched everything = node.Everything();
  node.reconciler().ReconcileUrgent(node.desired, everything, node.now);
  node.Reconcile(everything);
  node.Advance(absl::Hours(1));
  CHECK(node.reconciler().counters() == WriteCounters{});
  CHECK(node.kernel.table.operations() == std::vector<Operation>{});
  CHECK(node.kernel.firewall.changes() == elements);
  CHECK(node.kernel.firewall.rulesets_loaded() == 1);
  CHECK(node.kernel.routes.writes() == routes);
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("what went away while nobody looked is removed after a restart, though not touched") {
  TestNode node;
  node.Reconcile(PutAll(node));
  for (const char* service : {"web", "dns", "silent"}) node.Want(MakePlan(service, {}));
  REQUIRE(node.Restart().ok());
  node.Reconcile();
  CHECK(node.Actual() == node.Wanted());
  for (const auto& plan : Everything()) node.Want(MakePlan(plan->service.name.str(), {}));
  REQUIRE(node.Restart().ok());
  node.Reconcile();
  CHECK(node.Actual() == Lines{});
}

TEST_CASE("urgent virtual servers get all that belongs to them and nothing else") {
  TestNode node;
  PutAll(node);
  Touched urgent;
  urgent.virtual_servers = {Udp("10.96.0.10", 53), Tcp("10.96.0.10", 53)};
  node.reconciler().ReconcileUrgent(node.desired, urgent, node.now);
  CHECK(node.Actual() == Describe(MakeDesired({Everything()[1]}), node.sources));
}

TEST_CASE("after another address of the node every route has it as its source") {
  TestNode node;
  node.Reconcile(PutAll(node));
  node.sources = {Address("192.168.1.7")};
  node.reconciler().SetRouteSources(node.sources);
  node.Reconcile();
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.reconciler().counters().routes == 2 * node.desired.Vips().size());
}

TEST_CASE("what two Services share goes with the last of them") {
  TestNode node;
  const auto a = MakePlan("a", {Vip(Tcp("10.96.0.9", 80), {"10.244.1.2"})});
  const auto b = MakePlan("b", {Vip(Tcp("10.96.0.9", 443), {"10.244.1.2"})});
  node.Put(a);
  node.Put(b);
  CHECK(node.Actual() == Describe(MakeDesired({a, b}), node.sources));
  node.Remove("a");
  CHECK(node.Actual() == Describe(MakeDesired({b}), node.sources));
  node.Remove("b");
  CHECK(node.Actual() == Lines{});
}

// --- What belongs to others ----------------------------------------------------------------------

const VirtualServerKey kForeign = Tcp("203.0.113.1", 443);
const VirtualServerKey kMark = VirtualServerKey::ForMark(IpFamily::kIpv4, 7);

void AddForeign(MemoryKernel& kernel, const VirtualServerKey& key) {
  const auto config = ipvs::VirtualServerConfig::ForFamily(key.family, "wlc");
  for (const absl::Status& status :
       kernel.table.Apply({Operation::AddVirtualServer(key, config),
                           Operation::AddRealServer(key, Pod("10.1.1.1"), {.weight = 5})})) {
    REQUIRE(status.ok());
  }
  kernel.table.ClearOperations();
}

TEST_CASE("virtual servers and routes of others are never touched") {
  TestNode node;
  AddForeign(node.kernel, kForeign);
  AddForeign(node.kernel, kMark);
  node.kernel.routes.AddForeign(Address("203.0.113.1"));
  const Lines before = node.Actual();
  REQUIRE(node.Restart().ok());
  // Not wanted, and touched all the same.
  Touched touched;
  touched.virtual_servers = {kForeign, kMark};
  touched.vips = {Address("203.0.113.1")};
  node.Reconcile(touched);
  node.Reconcile(PutAll(node));
  for (const auto& plan : Everything()) node.Remove(plan->service.name.str());
  CHECK(node.Settle());
  CHECK(node.Actual() == before);
  CHECK(node.kernel.routes.foreign() == std::set<IpAddress>{Address("203.0.113.1")});
  CHECK(node.reconciler().taken_over().empty());
  CHECK(node.reconciler().OwnedVirtualServers().empty());
  for (const Operation& operation : node.kernel.table.operations()) {
    CHECK(operation.virtual_server != kForeign);
    CHECK(operation.virtual_server != kMark);
  }
}

TEST_CASE("one that a Service wants is taken over in place") {
  TestNode node;
  AddForeign(node.kernel, kWeb);
  REQUIRE(node.Restart().ok());
  CHECK_FALSE(node.reconciler().Owns(kWeb));
  const auto plan = MakePlan("web", {Vip(kWeb, {"10.244.1.2"})});
  node.Put(plan);
  CHECK(node.kernel.table.operations() ==
        std::vector<Operation>{Operation::EditVirtualServer(kWeb, plan->virtual_servers[0].config),
                               Operation::AddRealServer(kWeb, Pod("10.244.1.2"), {}),
                               Operation::EditRealServer(kWeb, Pod("10.1.1.1"), {.weight = 0}),
                               Operation::DeleteRealServer(kWeb, Pod("10.1.1.1"))});
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.reconciler().Owns(kWeb));
  CHECK(node.reconciler().taken_over() == std::set<VirtualServerKey>{kWeb});
  node.Remove("web");
  CHECK(node.Actual() == Lines{});
}

TEST_CASE("one that came after the start is taken over too") {
  TestNode node;
  AddForeign(node.kernel, kWeb);
  node.Put(MakePlan("web", {Vip(kWeb, {"10.244.1.2"})}));
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.reconciler().taken_over() == std::set<VirtualServerKey>{kWeb});
}

TEST_CASE("our own is not taken over, not even when its add is found to have happened") {
  TestNode node;
  node.kernel.table.FailNext({absl::UnknownError("lost"), true});
  node.Put(MakePlan("web", {Vip(kWeb, {"10.244.1.2"})}));
  REQUIRE(node.Restart().ok());
  node.Reconcile();
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.reconciler().taken_over().empty());
}

TEST_CASE("beside somebody else's route there is none of ours, and it is said") {
  TestNode node;
  node.kernel.routes.AddForeign(Address("10.96.0.1"));
  node.Put(MakePlan("web", {Vip(kWeb, {"10.244.1.2"})}));
  CHECK(node.Failures() == Lines{"route 10.96.0.1: route to 10.96.0.1"});
  node.kernel.routes.RemoveForeign(Address("10.96.0.1"));
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.Failures() == Lines{});
}

TEST_CASE("nothing is adopted from a kernel that cannot be read") {
  struct Row {
    std::string name;
    std::function<void(MemoryKernel&)> fail;
  };
  const absl::Status busy = absl::UnavailableError("busy");
  const std::vector<Row> rows = {
      {"table", [&](MemoryKernel& kernel) { kernel.table.FailReads(busy); }},
      {"firewall", [&](MemoryKernel& kernel) { kernel.firewall.FailNextCalls(1, busy); }},
      {"routes", [&](MemoryKernel& kernel) { kernel.routes.FailNextDumps(1, busy); }},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    TestNode node;
    node.Reconcile(PutAll(node));
    row.fail(node.kernel);
    CHECK(node.Restart() == busy);
    node.kernel.table.ClearFailures();
    CHECK(node.reconciler().Adopt().ok());
    node.Reconcile();
    CHECK(node.reconciler().counters() == WriteCounters{});
    CHECK(node.Actual() == node.Wanted());
  }
}

}  // namespace
}  // namespace fairlead::testing
