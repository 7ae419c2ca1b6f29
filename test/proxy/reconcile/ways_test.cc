// How a port is reached: served to anyone, or open to what nothing stops; and from one to the
// other.

#include <algorithm>
#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proxy/reconcile/dependents.h"
#include "test_node.h"

namespace fairlead::testing {
namespace {

using ipvs::Operation;
using ipvs::VirtualServerKey;
using Plan = std::shared_ptr<const ServicePlan>;

constexpr uint32_t kMark = 0x46000001;
const VirtualServerKey kAddress = Tcp("192.0.2.7", 80);
const VirtualServerKey kNodePort = Tcp("192.168.1.1", 30080);
const IpAddress kLetIn = Address("198.51.100.9");
const IpAddress kKeptOut = Address("203.0.113.9");
const Lines kPods = {"10.244.1.2", "10.244.2.2"};  // The first on this node.
const Lines kElsewhere = {"10.244.2.2", "10.244.2.3"};

Plan Web(const Lines& pods, const Lines& sources = {}) {
  return MakePlan("web", {From(LoadBalancer(kAddress, pods), sources), NodePort(kNodePort, pods)});
}

Plan LocalWeb(const Lines& pods, const Lines& sources = {}) {
  return MakePlan("web", {Local(From(LoadBalancer(kAddress, pods), sources), kMark),
                          Local(NodePort(kNodePort, pods), kMark), Internal(Mark(kMark), pods)});
}

Plan Nothing() { return MakePlan("web", {}); }

struct State {
  std::string name;
  Plan plan;
  // Whether the load balancer's address is served, and the node port.
  bool address_served;
  bool node_port_served;
};

const std::vector<State>& States() {
  static const auto& states = *new std::vector<State>{
      {"plain", Web(kPods), true, true},
      {"plain, others", Web(kElsewhere), true, true},
      {"limited", Web(kPods, {"198.51.100.0/24"}), false, true},
      {"no endpoint", Web({}), false, false},
      {"Local", LocalWeb(kPods), false, false},
      {"Local and limited", LocalWeb(kPods, {"198.51.100.0/24"}), false, false},
      {"Local, none here", LocalWeb(kElsewhere), false, false},
  };
  return states;
}

bool IsIn(TestNode& node, SetName set, const VirtualServerKey& key) {
  const std::set<Element>& elements = node.kernel.firewall.elements();
  return std::any_of(elements.begin(), elements.end(), [&](const Element& element) {
    return element.set == set && element.address == key.address &&
           element.protocol == key.protocol && element.port == key.port;
  });
}

// What must not be at a moment in which the port's virtual server stays: that it is shut, or that
// who is not let in gets past what stops him.
Lines Faults(TestNode& node) {
  Lines faults = Violations(node.kernel, {});
  for (const VirtualServerKey& key : {kAddress, kNodePort}) {
    for (const Sender sender : {Sender::kInside, Sender::kOutside}) {
      if (Reach(node.kernel, key, sender, kLetIn) != Lines{"closed"}) continue;
      faults.push_back(absl::StrCat(key.Format(), " is shut"));
    }
  }
  return faults;
}

Lines PassedBy(TestNode& node) {
  Lines faults;
  for (const VirtualServerKey& key : {kAddress, kNodePort}) {
    if (!IsIn(node, SetName::kServed, key)) continue;
    for (const SetName set :
         {SetName::kLimited, SetName::kMark, SetName::kDrop, SetName::kReject}) {
      if (!IsIn(node, set, key)) continue;
      faults.push_back(absl::StrCat(key.Format(), " is served past ", FormatSetName(set)));
    }
  }
  return faults;
}

// Collects what is wrong after each write.
void Watch(TestNode& node, Lines& wrong, bool whole_transactions) {
  node.tap.after_write = [&node, &wrong, whole_transactions](const std::string& what) {
    Lines faults = Faults(node);
    if (whole_transactions) {
      const Lines more = PassedBy(node);
      faults.insert(faults.end(), more.begin(), more.end());
    }
    if (!faults.empty()) wrong.push_back(absl::StrCat("after ", what, absl::StrJoin(faults, ", ")));
  };
}

template <typename Check>
void ForEachChange(Check check) {
  for (const State& from : States()) {
    for (const State& to : States()) {
      if (from.name == to.name) continue;
      INFO(from.name << " to " << to.name);
      check(from, to);
    }
  }
}

void CheckSets(TestNode& node, const State& state) {
  CHECK(node.Actual() == node.Wanted());
  CHECK(IsIn(node, SetName::kServed, kAddress) == state.address_served);
  CHECK(IsIn(node, SetName::kOpen, kAddress) == !state.address_served);
  CHECK(IsIn(node, SetName::kServed, kNodePort) == state.node_port_served);
  CHECK_FALSE(IsIn(node, SetName::kOpen, kNodePort));
}

// --- Order ---------------------------------------------------------------------------------------

TEST_CASE("a port that is no longer served opens, and the other way round, in one transaction") {
  TestNode node;
  node.Put(Web(kPods));
  Lines trace;
  node.tap.after_write = [&](const std::string& what) {
    if (absl::StrContains(what, "served4") || absl::StrContains(what, "open4")) {
      trace.push_back(what);
    }
  };
  node.Put(Web(kPods, {"198.51.100.0/24"}));
  CHECK(trace == Lines{"add open4 192.0.2.7 . tcp . 80; delete served4 192.0.2.7 . tcp . 80; "
                       "add limited4 192.0.2.7 . tcp . 80; "
                       "add allowed4 192.0.2.7 . tcp . 80 . 198.51.100.0/24; "});
  trace.clear();
  node.Put(Web(kPods));
  CHECK(trace == Lines{"add served4 192.0.2.7 . tcp . 80; delete open4 192.0.2.7 . tcp . 80; "
                       "delete limited4 192.0.2.7 . tcp . 80; "
                       "delete allowed4 192.0.2.7 . tcp . 80 . 198.51.100.0/24; "});
}

TEST_CASE("a served port is refused and silent first of all, and served again last of all") {
  TestNode node;
  node.Put(Web(kPods));
  Lines trace;
  node.tap.after_write = [&](const std::string& what) { trace.push_back(what); };
  node.Put(Web({}));
  REQUIRE(trace.size() >= 2);
  CHECK(trace[0] ==
        "add open4 192.0.2.7 . tcp . 80; delete served4 192.0.2.7 . tcp . 80; "
        "delete served4 192.168.1.1 . tcp . 30080; ");
  CHECK(trace[1] == "add reject4 192.0.2.7 . tcp . 80; add reject4 192.168.1.1 . tcp . 30080; ");
  trace.clear();
  node.Put(Web(kPods));
  REQUIRE(trace.size() >= 2);
  CHECK(trace[trace.size() - 2] ==
        "delete reject4 192.0.2.7 . tcp . 80; delete reject4 192.168.1.1 . tcp . 30080; ");
  CHECK(trace.back() ==
        "add served4 192.0.2.7 . tcp . 80; add served4 192.168.1.1 . tcp . 30080; "
        "delete open4 192.0.2.7 . tcp . 80; ");
}

TEST_CASE("whatever a Service becomes, its VIP's port is never shut, and nothing stops in vain") {
  ForEachChange([](const State& from, const State& to) {
    TestNode node;
    node.Put(from.plan);
    CheckSets(node, from);
    Lines wrong;
    Watch(node, wrong, true);
    node.Put(to.plan);
    CHECK(node.Settle());
    CHECK(wrong == Lines{});
    CheckSets(node, to);
  });
}

TEST_CASE("a crash at any step of a change leaves the port open, and a new start finishes") {
  ForEachChange([](const State& from, const State& to) {
    for (int writes = 0;; ++writes) {
      INFO("crash after " << writes << " writes");
      TestNode node;
      node.Put(from.plan);
      Lines wrong;
      Watch(node, wrong, true);
      node.tap.CrashAfter(writes);
      node.Put(to.plan);
      node.tap.Recover();
      REQUIRE(node.Restart().ok());
      node.Reconcile(node.Everything());
      CHECK(node.Settle());
      CHECK(wrong == Lines{});
      CheckSets(node, to);
      if (!node.tap.crashed) break;
      REQUIRE(writes < 200);
    }
  });
}

// --- Leaving -------------------------------------------------------------------------------------

TEST_CASE("what retires is open and refused, and what returns is as it was") {
  for (const State& state : States()) {
    INFO(state.name);
    TestNode node;
    node.Put(state.plan);
    std::set<VirtualServerKey> busy;
    const std::vector<ipvs::VirtualServer> servers = node.kernel.table.Dump().value();
    for (const ipvs::VirtualServer& server : servers) {
      for (const ipvs::RealServer& real : server.real_servers) {
        REQUIRE(node.kernel.table.SetConnections(server.key, real.key, 1, 0).ok());
        busy.insert(server.key);
      }
    }
    Lines wrong;
    // One without connections is shut, and goes.
    if (busy.contains(kAddress) && busy.contains(kNodePort)) Watch(node, wrong, true);
    node.Put(Nothing());
    for (const VirtualServerKey& key : {kAddress, kNodePort}) {
      if (!busy.contains(key)) continue;
      INFO(key.Format());
      CHECK_FALSE(IsIn(node, SetName::kServed, key));
      CHECK(IsIn(node, SetName::kReject, key));
      CHECK(Reach(node.kernel, key, Sender::kOutside, kLetIn) == Lines{"refused"});
    }
    SECTION("returns " + state.name) {
      node.Put(state.plan);
      CHECK(node.Settle());
      CHECK(wrong == Lines{});
      CheckSets(node, state);
    }
    SECTION("goes " + state.name) {
      CHECK(wrong == Lines{});
      node.tap.after_write = [](const std::string&) {};
      node.Advance(absl::Minutes(5));
      CHECK(node.Settle());
      CHECK(node.Actual() == Lines{});
    }
  }
}

TEST_CASE("a virtual server stays as long as its port is served") {
  TestNode node;
  node.Put(Web(kPods));
  node.kernel.firewall.FailElement(ServedElement(kAddress), 1000,
                                   absl::ResourceExhaustedError("no memory"));
  node.Put(Nothing());
  CHECK(node.Failures() == Lines{"TCP 192.0.2.7:80: its port could not be closed",
                                 "element served4 192.0.2.7 . tcp . 80: no memory"});
  CHECK(Violations(node.kernel, {}) == Lines{});
  node.kernel.firewall.FailElement({}, 0, absl::OkStatus());
  CHECK(node.Settle());
  CHECK(node.Actual() == Lines{});
}

// --- Failures ------------------------------------------------------------------------------------

TEST_CASE("a write of a change that fails shuts no port, whichever it is") {
  struct Row {
    std::string name;
    Fate fate;
  };
  for (const Row& row : {Row{"it does not happen", {absl::ResourceExhaustedError("full"), false}},
                         Row{"it happens all the same", {absl::UnknownError("lost"), true}},
                         Row{"nothing can be written", {absl::UnavailableError("busy"), false}}}) {
    ForEachChange([&](const State& from, const State& to) {
      for (int writes = 0;; ++writes) {
        INFO(row.name << ", write " << writes);
        TestNode node;
        node.Put(from.plan);
        Lines wrong;
        Watch(node, wrong, false);
        int left = writes;
        node.tap.on_write = [&] { return left-- == 0 ? row.fate : Fate(); };
        node.Put(to.plan);
        const bool failed = left < 0;
        CHECK(node.Settle());
        CHECK(wrong == Lines{});
        CheckSets(node, to);
        if (!failed) break;
        REQUIRE(writes < 200);
      }
    });
  }
}

TEST_CASE("where one way to a port cannot come the other one stays") {
  struct Row {
    std::string name;
    Plan from;
    Plan to;
    Element fails;
    Element stays;
  };
  const Plan limited = Web(kPods, {"198.51.100.0/24"});
  for (const Row& row :
       {Row{"to open", Web(kPods), limited, OpenElement(kAddress), ServedElement(kAddress)},
        Row{"to served", limited, Web(kPods), ServedElement(kAddress), OpenElement(kAddress)}}) {
    INFO(row.name);
    TestNode node;
    node.Put(row.from);
    Lines wrong;
    Watch(node, wrong, false);
    node.kernel.firewall.FailElement(row.fails, 1000, absl::ResourceExhaustedError("full"));
    node.Put(row.to);
    CHECK(node.Failures() ==
          Lines{absl::StrCat(
                    "element ", std::min(row.fails, row.stays).Format(), ": ",
                    row.fails < row.stays ? "full" : "what takes its place could not be written"),
                absl::StrCat(
                    "element ", std::max(row.fails, row.stays).Format(), ": ",
                    row.fails < row.stays ? "what takes its place could not be written" : "full")});
    CHECK(node.kernel.firewall.elements().contains(row.stays));
    node.Advance(absl::Minutes(1));
    CHECK(node.kernel.firewall.elements().contains(row.stays));
    node.kernel.firewall.FailElement({}, 0, absl::OkStatus());
    CHECK(node.Settle());
    CHECK(wrong == Lines{});
    CHECK(node.Actual() == node.Wanted());
  }
}

TEST_CASE("who looks at one way to a port looks at the other one") {
  ForEachChange([](const State& from, const State& to) {
    for (const Element& element : {ServedElement(kAddress), OpenElement(kAddress)}) {
      TestNode node;
      node.Put(from.plan);
      Lines wrong;
      Watch(node, wrong, false);
      node.Want(to.plan);
      Touched touched;
      touched.elements.insert(element);
      node.Reconcile(touched);
      CHECK(wrong == Lines{});
      CHECK(IsIn(node, SetName::kServed, kAddress) == to.address_served);
      CHECK(IsIn(node, SetName::kOpen, kAddress) == !to.address_served);
    }
  });
}

TEST_CASE("a port is not shut while its virtual server cannot be read") {
  ForEachChange([](const State& from, const State& to) {
    TestNode node;
    node.Put(from.plan);
    // A change of which nothing is heard.
    node.kernel.table.FailWhen([](const Operation&) { return true; },
                               {absl::UnknownError("lost"), true});
    node.tap.on_read = [] { return Fate{absl::UnavailableError("busy"), false}; };
    node.Put(Web({"10.244.1.7"}));
    Lines wrong;
    Watch(node, wrong, false);
    node.Put(to.plan);
    node.Advance(absl::Minutes(1));
    node.kernel.table.ClearFailures();
    node.tap.Recover();
    CHECK(node.Settle());
    CHECK(wrong == Lines{});
    CheckSets(node, to);
  });
}

// --- What is found -------------------------------------------------------------------------------

TEST_CASE("a port that was served is limited before its virtual server comes back") {
  TestNode node;
  node.Put(Web(kPods));
  REQUIRE(node.kernel.table.Apply({Operation::DeleteVirtualServer(kAddress)}) ==
          std::vector<absl::Status>{absl::OkStatus()});
  node.Want(Web(kPods, {"198.51.100.0/24"}));
  REQUIRE(node.Restart().ok());
  Lines reached;
  node.tap.after_write = [&](const std::string&) {
    for (const std::string& at : Reach(node.kernel, kAddress, Sender::kOutside, kKeptOut)) {
      if (at != "dropped" && at != "not ours") reached.push_back(at);
    }
  };
  node.Reconcile(node.Everything());
  CHECK(reached == Lines{});
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("no address that is to be limited comes while it is served past its limits") {
  TestNode node;
  node.Put(Web(kPods));
  REQUIRE(node.kernel.table.Apply({Operation::DeleteVirtualServer(kAddress)}) ==
          std::vector<absl::Status>{absl::OkStatus()});
  node.Want(Web(kPods, {"198.51.100.0/24"}));
  REQUIRE(node.Restart().ok());
  node.kernel.firewall.FailElement(ServedElement(kAddress), 1000,
                                   absl::ResourceExhaustedError("full"));
  node.Reconcile(node.Everything());
  CHECK(node.Failures() == Lines{"TCP 192.0.2.7:80: its sources could not be limited",
                                 "element served4 192.0.2.7 . tcp . 80: full"});
  CHECK(Reach(node.kernel, kAddress, Sender::kOutside, kKeptOut) == Lines{"not ours"});
  node.kernel.firewall.FailElement({}, 0, absl::OkStatus());
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

// As a version without the set of what is served left it: VIPs' ports are open.
void MakeOld(TestNode& node) {
  std::vector<ElementChange> changes;
  for (const Element& element : node.kernel.firewall.elements()) {
    if (element.set != SetName::kServed) continue;
    changes.push_back({ElementChange::Verb::kDelete, element});
    if (!node.desired.WantsVip(element.address)) continue;
    changes.push_back({ElementChange::Verb::kAdd, OtherWay(element)});
  }
  REQUIRE(node.kernel.firewall.Apply(changes).ok());
}

TEST_CASE("a table of a version without served ports works until it is brought up to date") {
  const bool hold = GENERATE(false, true);
  for (const State& before : States()) {
    for (const State& after : States()) {
      INFO(before.name << ", then " << after.name << (hold ? ", removals held" : ""));
      TestNode node;
      node.Put(before.plan);
      MakeOld(node);
      CHECK(Faults(node) == Lines{});
      node.Want(after.plan);
      REQUIRE(node.Restart().ok());
      Lines wrong;
      Watch(node, wrong, true);
      node.reconciler().HoldRemovals(hold);
      node.Reconcile();
      node.Reconcile(node.Everything());
      CHECK(node.Settle());
      node.reconciler().HoldRemovals(false);
      node.Reconcile();
      CHECK(node.Settle());
      CHECK(wrong == Lines{});
      CheckSets(node, after);
    }
  }
}

TEST_CASE("what was served stays while removals are held, and goes when they are not") {
  TestNode node;
  node.Put(Web(kPods));
  const Lines before = node.Actual();
  node.Want(Nothing());
  REQUIRE(node.Restart().ok());
  node.reconciler().HoldRemovals(true);
  node.Reconcile();
  CHECK(node.Actual() == before);
  node.reconciler().HoldRemovals(false);
  node.Reconcile();
  CHECK(node.Settle());
  CHECK(node.Actual() == Lines{});
}

TEST_CASE("somebody who takes ports out of the sets, or puts them in, is put right") {
  for (const State& state : States()) {
    INFO(state.name);
    TestNode node;
    node.Put(state.plan);
    for (const VirtualServerKey& key : {kAddress, kNodePort}) {
      for (const Element& element : {ServedElement(key), OpenElement(key)}) {
        INFO(element.Format());
        const bool had = node.kernel.firewall.elements().contains(element);
        REQUIRE(node.kernel.firewall
                    .Apply({{{had ? ElementChange::Verb::kDelete : ElementChange::Verb::kAdd,
                              element}}})
                    .ok());
        const size_t transactions = node.tap.transactions.size();
        node.reconciler().SuspectFirewall();
        node.Advance(kMinRecheck);
        CHECK(node.tap.transactions.size() == transactions + 1);
        CheckSets(node, state);
      }
    }
  }
}

}  // namespace
}  // namespace fairlead::testing
