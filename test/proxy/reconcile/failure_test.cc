// What becomes of writes that fail, and of replies that are lost.

#include <catch2/catch.hpp>

#include "proxy/kernel/ruleset.h"
#include "test_node.h"

namespace fairlead::testing {
namespace {

using ipvs::MemoryTable;
using ipvs::Operation;
using ipvs::VirtualServerKey;

const VirtualServerKey kWeb = Tcp("10.96.0.1", 80);
const VirtualServerKey kCart = Tcp("10.96.0.2", 80);

std::shared_ptr<const ServicePlan> Web() {
  return MakePlan("web", {Vip(kWeb, {"10.244.1.2", "10.244.2.2"})});
}

std::shared_ptr<const ServicePlan> Cart() { return MakePlan("cart", {Vip(kCart, {"10.244.1.3"})}); }

Touched PutBoth(TestNode& node) {
  Touched touched = node.Want(Web());
  touched.Merge(node.Want(Cart()));
  return touched;
}

// --- Virtual servers -----------------------------------------------------------------------------

TEST_CASE("a scheduler that fails delays no other Service, and is tried again until it is there") {
  TestNode node;
  PlannedVirtualServer server = Vip(kCart, {"10.244.1.3"});
  server.config.scheduler = "lc";
  node.kernel.table.FailWhen(
      [](const Operation& operation) {
        return operation.verb == ipvs::Verb::kAddVirtualServer &&
               operation.virtual_config.scheduler == "lc";
      },
      {absl::NotFoundError("no scheduler lc"), false});
  Touched touched = node.Want(MakePlan("cart", {server}));
  touched.Merge(node.Want(Web()));
  node.Reconcile(touched);

  CHECK(node.reconciler().Failures() ==
        std::vector<ReconcileFailure>{{"TCP 10.96.0.2:80", "no scheduler lc", kCart}});
  CHECK(node.reconciler().OwnedVirtualServers() == std::vector<VirtualServerKey>{kWeb});
  CHECK(node.kernel.routes.routes().contains(kWeb.address));
  CHECK(Violations(node.kernel, {}) == Lines{});

  std::vector<absl::Duration> waits;
  for (int i = 0; i < 11; ++i) {
    waits.push_back(node.Wait());
    node.kernel.table.ClearOperations();
    node.Advance(node.Wait() - absl::Milliseconds(1));
    CHECK(node.kernel.table.operations().empty());
    node.Advance(absl::Milliseconds(1));
    CHECK_FALSE(node.kernel.table.operations().empty());
  }
  CHECK(waits == std::vector<absl::Duration>{
                     absl::Milliseconds(100), absl::Milliseconds(200), absl::Milliseconds(400),
                     absl::Milliseconds(800), absl::Milliseconds(1600), absl::Milliseconds(3200),
                     absl::Milliseconds(6400), absl::Milliseconds(12800), absl::Milliseconds(25600),
                     absl::Seconds(30), absl::Seconds(30)});

  node.kernel.table.ClearFailures();
  node.Advance(node.Wait());
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.Failures() == Lines{});
  CHECK(node.reconciler().NextWake() == absl::InfiniteFuture());
}

TEST_CASE(
    "an endpoint that the kernel refuses keeps neither the others nor the port from service") {
  TestNode node;
  node.kernel.table.FailWhen(
      [](const Operation& operation) {
        return operation.verb == ipvs::Verb::kAddRealServer &&
               operation.real_server == Pod("10.244.2.2");
      },
      {absl::InvalidArgumentError("refused"), false});
  node.Put(Web());
  CHECK(node.Failures() == Lines{"TCP 10.96.0.1:80: refused"});
  CHECK(node.Actual() ==
        Describe(MakeDesired({MakePlan("web", {Vip(kWeb, {"10.244.1.2"})})}), node.sources));
  node.kernel.table.ClearFailures();
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE(
    "an operation that fails once is made good in the same pass, whether it happened or not") {
  PlannedVirtualServer changed = Vip(kWeb, {"10.244.2.2", "10.244.1.9"});
  changed.config.scheduler = "lc";
  const auto after = MakePlan("web", {changed});
  for (const bool happens : {true, false}) {
    for (int skipped = 0; skipped < 4; ++skipped) {
      INFO("operation " << skipped << (happens ? " happens" : " does not happen"));
      TestNode adds;
      adds.kernel.table.FailNext({absl::UnknownError("lost"), happens}, skipped);
      adds.Put(Web());
      CHECK(adds.Actual() == adds.Wanted());
      CHECK(adds.Failures() == Lines{});

      TestNode changes;
      changes.Put(Web());
      changes.kernel.table.FailNext({absl::UnknownError("lost"), happens}, skipped);
      changes.Put(after);
      CHECK(changes.Settle());  // The delete of one that has drained is left to the next poll.
      CHECK(changes.Actual() == changes.Wanted());
      CHECK(changes.Failures() == Lines{});
    }
    TestNode removes;
    removes.Put(Web());
    removes.kernel.table.FailNext({absl::UnknownError("lost"), happens});
    removes.Remove("web");
    CHECK(removes.Actual() == Lines{});
    CHECK(removes.Failures() == Lines{});
  }
}

TEST_CASE("somebody's changes to ours are found when they are in the way") {
  struct Row {
    std::string name;
    Operation theirs;
    Lines ours;
  };
  const std::vector<Row> rows = {
      {"a real server is gone that leaves",
       Operation::DeleteRealServer(kWeb, Pod("10.244.1.2")),
       {"10.244.2.2"}},
      {"the virtual server is gone",
       Operation::DeleteVirtualServer(kWeb),
       {"10.244.1.2", "10.244.2.2", "10.244.3.2"}},
      {"a real server is there that comes",
       Operation::AddRealServer(kWeb, Pod("10.244.3.2"), {.weight = 9}),
       {"10.244.1.2", "10.244.2.2", "10.244.3.2"}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    TestNode node;
    node.Put(Web());
    REQUIRE(node.kernel.table.Apply({row.theirs}).front().ok());
    node.Put(MakePlan("web", {Vip(kWeb, row.ours)}));
    CHECK(node.Actual() == node.Wanted());
    CHECK(node.Failures() == Lines{});
  }
}

TEST_CASE("what cannot be read back is not believed: it is read before the next write") {
  PlannedVirtualServer changed = Vip(kWeb, {"10.244.1.2", "10.244.2.2"});
  changed.config.scheduler = "lc";
  for (const auto& other : {MakePlan("web", {}), MakePlan("web", {changed})}) {
    INFO((other->empty() ? "removed, and wanted again" : "changed, and changed back"));
    TestNode node;
    node.Put(Web());
    node.kernel.table.FailWhen([](const Operation&) { return true; },
                               {absl::UnknownError("lost"), true});
    node.kernel.table.FailReads(absl::UnavailableError("busy"));
    node.kernel.table.ClearOperations();
    node.Put(other);
    // What is removed retires, as its connections cannot be seen: a weight for each real server.
    const size_t attempts = other->empty() ? 2 : 1;
    CHECK(node.kernel.table.operations().size() == attempts);
    node.Put(Web());
    CHECK(node.kernel.table.operations().size() == attempts);
    CHECK(node.Failures() == Lines{"TCP 10.96.0.1:80: busy"});
    node.kernel.table.ClearFailures();
    CHECK(Violations(node.kernel, {}) == Lines{});
    CHECK(node.Settle());
    CHECK(node.Actual() == node.Wanted());
  }
}

// --- Firewall ------------------------------------------------------------------------------------

TEST_CASE("of a transaction with one bad element all others are carried out") {
  TestNode node;
  const Element bad{.set = SetName::kHairpin, .address = Address("10.244.1.3")};
  node.kernel.firewall.FailElement(bad, 1000, absl::InvalidArgumentError("bad"));
  node.Reconcile(PutBoth(node));
  CHECK(node.reconciler().Failures() ==
        std::vector<ReconcileFailure>{
            {"element hairpin4 10.244.1.3 . 10.244.1.3", "bad", std::nullopt}});
  // Eight elements, in halves down to the bad one, which is the last but none; then served ports.
  CHECK(node.tap.transactions == std::vector<size_t>{8, 4, 4, 2, 2, 1, 1, 2});
  Lines wanted = node.Wanted();
  std::erase(wanted, "element hairpin4 10.244.1.3 . 10.244.1.3");
  CHECK(node.Actual() == wanted);

  node.kernel.firewall.FailElement(bad, 0, absl::OkStatus());
  CHECK(node.Wait() == kFirstRetry);
  node.Advance(node.Wait());
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.Failures() == Lines{});
}

TEST_CASE("without permission a transaction is not tried in halves, and nothing is opened") {
  for (const absl::Status& error :
       {absl::PermissionDeniedError("no CAP_NET_ADMIN"), absl::FailedPreconditionError("no nft"),
        absl::UnavailableError("busy")}) {
    INFO(error.ToString());
    TestNode node;
    node.kernel.firewall.FailNextCalls(1, error);
    node.Reconcile(PutBoth(node));
    CHECK(node.tap.transactions == std::vector<size_t>{8});
    CHECK(node.Actual() == Lines{});
    CHECK(node.kernel.table.operations().empty());
    CHECK(node.reconciler().Failures().size() == 12);  // Elements, virtual servers, routes.
    CHECK(node.Wait() == kFirstRetry);
    node.Advance(node.Wait());
    CHECK(node.Actual() == node.Wanted());
    CHECK(node.Failures() == Lines{});
  }
}

TEST_CASE("there is no virtual server whose record could not be written") {
  TestNode node;
  node.kernel.firewall.FailElement({SetName::kOwned, kWeb.address, kWeb.protocol, kWeb.port}, 1000,
                                   absl::ResourceExhaustedError("no memory"));
  node.Reconcile(PutBoth(node));
  CHECK(node.Failures() == Lines{"TCP 10.96.0.1:80: its record of ownership could not be written",
                                 "element owned4 10.96.0.1 . tcp . 80: no memory"});
  CHECK(node.reconciler().OwnedVirtualServers() == std::vector<VirtualServerKey>{kCart});
  CHECK(Violations(node.kernel, {}) == Lines{});
  node.kernel.firewall.FailElement({}, 0, absl::OkStatus());
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("there is no route to a VIP whose guard could not be set up") {
  TestNode node;
  node.kernel.firewall.FailElement({.set = SetName::kGuarded, .address = kWeb.address}, 1000,
                                   absl::ResourceExhaustedError("no memory"));
  node.Reconcile(PutBoth(node));
  CHECK(node.Failures() == Lines{"element guarded4 10.96.0.1: no memory",
                                 "route 10.96.0.1: its guard is not in place"});
  CHECK(node.kernel.routes.routes().size() == 1);
  node.kernel.firewall.FailElement({}, 0, absl::OkStatus());
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("a virtual server stays as long as its port cannot be closed") {
  TestNode node;
  node.Reconcile(PutBoth(node));
  node.kernel.firewall.FailElement({SetName::kServed, kWeb.address, kWeb.protocol, kWeb.port}, 1000,
                                   absl::ResourceExhaustedError("no memory"));
  Touched touched = node.Want(MakePlan("web", {}));
  touched.Merge(node.Want(MakePlan("cart", {})));
  node.Reconcile(touched);
  CHECK(node.Failures() == Lines{"TCP 10.96.0.1:80: its port could not be closed",
                                 "element served4 10.96.0.1 . tcp . 80: no memory"});
  CHECK(node.reconciler().OwnedVirtualServers() == std::vector<VirtualServerKey>{kWeb});
  CHECK(Violations(node.kernel, {}) == Lines{});
  node.kernel.firewall.FailElement({}, 0, absl::OkStatus());
  CHECK(node.Settle());
  CHECK(node.Actual() == Lines{});
}

TEST_CASE("a virtual server that cannot be deleted keeps its record") {
  TestNode node;
  node.Put(Web());
  node.kernel.table.FailWhen([](const Operation&) { return true; },
                             {absl::ResourceExhaustedError("no memory"), false});
  node.Remove("web");
  CHECK(node.Failures() == Lines{"TCP 10.96.0.1:80: no memory"});
  CHECK(node.kernel.firewall.elements() ==
        std::set<Element>{{SetName::kOwned, kWeb.address, kWeb.protocol, kWeb.port}});
  // A restart finds it and goes on.
  node.kernel.table.ClearFailures();
  REQUIRE(node.Restart().ok());
  node.Reconcile();
  CHECK(node.Actual() == Lines{});
}

TEST_CASE("a table that somebody has deleted comes back with the next transaction") {
  TestNode node;
  node.Reconcile(PutBoth(node));
  node.kernel.firewall.DeleteTable();
  const auto more = MakePlan("more", {Vip(Tcp("10.96.0.3", 80), {"10.244.1.4"})});
  node.Put(more);
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.kernel.firewall.rulesets_loaded() == 2);
}

TEST_CASE("an element that somebody has deleted already is deleted") {
  TestNode node;
  node.Put(Web());
  const Element hairpin{.set = SetName::kHairpin, .address = Address("10.244.1.2")};
  REQUIRE(node.kernel.firewall.Apply({{{ElementChange::Verb::kDelete, hairpin}}}).ok());
  node.Put(MakePlan("web", {Vip(kWeb, {"10.244.2.2"})}));
  CHECK(node.Failures() == Lines{});
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("an element whose removal was not answered is written again when it is wanted again") {
  TestNode node;
  node.Put(Web());
  // Only the transactions are lost, and happen; the sets cannot be read.
  node.tap.on_write = [] { return Fate{absl::UnknownError("lost"), true}; };
  node.tap.on_read = [] { return Fate{absl::UnavailableError("busy"), false}; };
  node.Remove("web");
  node.Put(Web());
  CHECK(Violations(node.kernel, {}) == Lines{});
  node.tap.on_write = [] { return Fate(); };
  node.Advance(absl::Minutes(1));
  CHECK(Violations(node.kernel, {}) == Lines{});
  node.tap.on_read = [] { return Fate(); };
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

// --- Ruleset -------------------------------------------------------------------------------------

TEST_CASE("another ruleset is loaded by the next pass, and the elements stay") {
  TestNode node;
  node.Reconcile(PutBoth(node));
  const Lines before = node.Actual();
  const std::string other = RulesetText({.pods = {.device = "cni0"}, .marks = {}});
  node.reconciler().SetRuleset(other);
  CHECK(node.kernel.firewall.ruleset() == node.ruleset);
  node.Reconcile();
  CHECK(node.kernel.firewall.ruleset() == other);
  CHECK(node.kernel.firewall.rulesets_loaded() == 2);
  CHECK(node.Actual() == before);
  // Nothing was written but the ruleset, and once.
  CHECK(node.kernel.firewall.changes() == 10);
  node.reconciler().SetRuleset(other);
  node.Reconcile();
  CHECK(node.kernel.firewall.rulesets_loaded() == 2);
  CHECK(node.Failures() == Lines{});
  CHECK(node.reconciler().NextWake() == absl::InfiniteFuture());
}

TEST_CASE("the first ruleset is loaded when the kernel is adopted, and once") {
  TestNode node;
  node.reconciler().SetRuleset(node.ruleset);
  node.Reconcile(PutBoth(node));
  CHECK(node.kernel.firewall.rulesets_loaded() == 1);
}

TEST_CASE("a ruleset that cannot be loaded is tried again, and delays nothing else") {
  TestNode node;
  node.Put(Web());
  const std::string other = RulesetText({.pods = {.device = "cni0"}, .marks = {}});
  node.reconciler().SetRuleset(other);
  node.kernel.firewall.FailNextCalls(1, absl::FailedPreconditionError("no nft"));
  node.Put(Cart());
  CHECK(node.reconciler().Failures() ==
        std::vector<ReconcileFailure>{{"ruleset", "no nft", std::nullopt}});
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.kernel.firewall.ruleset() == node.ruleset);
  CHECK(node.Wait() == kFirstRetry);
  node.kernel.firewall.FailNextCalls(1, absl::FailedPreconditionError("still no nft"));
  node.Advance(node.Wait());
  CHECK(node.Failures() == Lines{"ruleset: still no nft"});
  CHECK(node.Wait() == 2 * kFirstRetry);
  node.Advance(node.Wait());
  CHECK(node.kernel.firewall.ruleset() == other);
  CHECK(node.Failures() == Lines{});
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.reconciler().NextWake() == absl::InfiniteFuture());
}

TEST_CASE("elements that went with the table come back when another ruleset is loaded") {
  TestNode node;
  node.Reconcile(PutBoth(node));
  node.kernel.firewall.DeleteTable();
  node.reconciler().SetRuleset(RulesetText({.pods = {.device = "cni0"}, .marks = {}}));
  node.Reconcile();
  CHECK(node.Actual() == node.Wanted());
}

// --- Routes --------------------------------------------------------------------------------------

TEST_CASE("a route that fails is tried again by itself") {
  TestNode node;
  node.kernel.routes.FailChanges(kWeb.address, 2, absl::UnavailableError("lo is down"));
  node.Reconcile(PutBoth(node));
  CHECK(node.reconciler().Failures() ==
        std::vector<ReconcileFailure>{{"route 10.96.0.1", "lo is down", std::nullopt}});
  CHECK(node.Wait() == absl::Milliseconds(100));
  node.Advance(node.Wait());
  CHECK(node.Wait() == absl::Milliseconds(200));
  node.Advance(node.Wait());
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.reconciler().counters().routes == 4);
}

TEST_CASE("a route that cannot be deleted keeps its guard") {
  TestNode node;
  node.Put(Web());
  node.kernel.routes.FailChanges(kWeb.address, 1, absl::UnavailableError("busy"));
  node.Remove("web");
  CHECK(node.Actual() == Lines{"element guarded4 10.96.0.1", "route 10.96.0.1 src 192.168.1.1"});
  node.Advance(kFirstRetry);
  CHECK(node.Actual() == Lines{});
}

TEST_CASE("a route whose put was not answered is deleted when it is no longer wanted") {
  TestNode node;
  int writes = 0;
  // The last write is that of the route.
  node.tap.on_write = [&] {
    return ++writes == 6 ? Fate{absl::UnknownError("lost"), true} : Fate();
  };
  node.Put(Web());
  REQUIRE(node.Failures() == Lines{"route 10.96.0.1: lost"});
  node.Remove("web");
  CHECK(node.Actual() == Lines{});
  CHECK(node.Failures() == Lines{});
}

TEST_CASE("a source that is no address of the node is tried again until it is one") {
  TestNode node;
  node.kernel.routes.SetNodeAddresses({Address("192.168.1.2")});
  node.Put(Web());
  CHECK(node.Failures() ==
        Lines{"route 10.96.0.1: source 192.168.1.1 is not an address of this node"});
  node.kernel.routes.SetNodeAddresses({Address("192.168.1.1")});
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

}  // namespace
}  // namespace fairlead::testing
