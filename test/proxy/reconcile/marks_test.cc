// Firewall marks: the second set of endpoints, for pods and the node.

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "test_node.h"

namespace fairlead::testing {
namespace {

using ipvs::Operation;
using ipvs::VirtualServerKey;

constexpr uint32_t kMark = 0x46000001;
constexpr uint32_t kOtherMark = 0x46000002;
const VirtualServerKey kAddress = Tcp("192.0.2.7", 80);
const VirtualServerKey kNodePort = Tcp("192.168.1.1", 30080);
const Lines kPods = {"10.244.1.2", "10.244.2.2"};  // The first on this node.
const Lines kElsewhere = {"10.244.2.2", "10.244.2.3"};

Element MarkElement(const VirtualServerKey& key, uint32_t mark) {
  return {.set = SetName::kMark,
          .address = key.address,
          .protocol = key.protocol,
          .port = key.port,
          .mark = mark,
          .sources = IpPrefix()};
}

std::shared_ptr<const ServicePlan> ClusterPlan(const Lines& pods) {
  return MakePlan("web", {LoadBalancer(kAddress, pods), NodePort(kNodePort, pods)});
}

std::shared_ptr<const ServicePlan> LocalPlan(const Lines& pods, uint32_t mark = kMark,
                                             const std::string& service = "web") {
  return MakePlan(service, {Local(LoadBalancer(kAddress, pods), mark),
                            Local(NodePort(kNodePort, pods), mark), Internal(Mark(mark), pods)});
}

// Services have one address, so that an order is short.
std::shared_ptr<const ServicePlan> ShortPlan(const Lines& pods) {
  return MakePlan("web", {Local(LoadBalancer(kAddress, pods), kMark), Internal(Mark(kMark), pods)});
}

std::shared_ptr<const ServicePlan> Aged(const std::shared_ptr<const ServicePlan>& plan,
                                        int64_t created) {
  auto aged = std::make_shared<ServicePlan>(*plan);
  aged->created = absl::FromUnixSeconds(created);
  return aged;
}

// --- Order ---------------------------------------------------------------------------------------

TEST_CASE("a mark is given when its virtual server is complete, and taken before that goes") {
  TestNode node;
  Lines trace;
  node.tap.after_write = [&](const std::string& what) { trace.push_back(what); };
  node.Put(ShortPlan(kPods));
  CHECK(trace == Lines{"add owned4 192.0.2.7 . tcp . 80; add owned_mark4 0x46000001; "
                       "add guarded4 192.0.2.7; add hairpin4 10.244.1.2 . 10.244.1.2; ",
                       "add virtual server FWM 1174405121 IPv4",
                       "add real server 10.244.1.2:8080 to FWM 1174405121 IPv4",
                       "add real server 10.244.2.2:8080 to FWM 1174405121 IPv4",
                       "add mark4 192.0.2.7 . tcp . 80 : 0x46000001; ",
                       "add virtual server TCP 192.0.2.7:80",
                       "add real server 10.244.1.2:8080 to TCP 192.0.2.7:80",
                       "add open4 192.0.2.7 . tcp . 80; ", "put route 192.0.2.7"});
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.reconciler().counters() == WriteCounters{.operations = 5, .elements = 6, .routes = 1});
  trace.clear();
  node.Remove("web");
  CHECK(trace == Lines{"delete route 192.0.2.7", "delete open4 192.0.2.7 . tcp . 80; ",
                       "delete virtual server TCP 192.0.2.7:80",
                       "delete mark4 192.0.2.7 . tcp . 80 : 0x46000001; ",
                       "edit real server 10.244.1.2:8080 of FWM 1174405121 IPv4",
                       "edit real server 10.244.2.2:8080 of FWM 1174405121 IPv4",
                       "delete real server 10.244.1.2:8080 from FWM 1174405121 IPv4",
                       "delete real server 10.244.2.2:8080 from FWM 1174405121 IPv4",
                       "delete owned4 192.0.2.7 . tcp . 80; delete guarded4 192.0.2.7; "
                       "delete hairpin4 10.244.1.2 . 10.244.1.2; "});
  trace.clear();
  node.Reconcile();
  CHECK(trace ==
        Lines{"delete virtual server FWM 1174405121 IPv4", "delete owned_mark4 0x46000001; "});
  CHECK(node.Actual() == Lines{});
}

TEST_CASE("silence comes with the mark that passes it, and goes with it") {
  TestNode node;
  Lines trace;
  node.Put(MakePlan("web", {LoadBalancer(kAddress, kElsewhere)}));
  node.tap.after_write = [&](const std::string& what) {
    if (absl::StrContains(what, "drop4")) trace.push_back(what);
  };
  node.Put(ShortPlan(kElsewhere));
  node.Put(MakePlan("web", {LoadBalancer(kAddress, kElsewhere)}));
  CHECK(trace == Lines{"add mark4 192.0.2.7 . tcp . 80 : 0x46000001; "
                       "add drop4 192.0.2.7 . tcp . 80; ",
                       "delete mark4 192.0.2.7 . tcp . 80 : 0x46000001; "
                       "delete drop4 192.0.2.7 . tcp . 80; "});
}

struct Change {
  std::string name;
  std::shared_ptr<const ServicePlan> from;
  std::shared_ptr<const ServicePlan> to;
};

std::vector<Change> Changes() {
  const Lines moved = {"10.244.1.9", "10.244.2.2"};
  return {
      {"Cluster to Local", ClusterPlan(kPods), LocalPlan(kPods)},
      {"Local to Cluster", LocalPlan(kPods), ClusterPlan(kPods)},
      {"Cluster to Local, endpoints elsewhere", ClusterPlan(kElsewhere), LocalPlan(kElsewhere)},
      {"Local to Cluster, endpoints elsewhere", LocalPlan(kElsewhere), ClusterPlan(kElsewhere)},
      {"Cluster to Local, endpoints move", ClusterPlan(kPods), LocalPlan(moved)},
      {"Local to Cluster, endpoints move", LocalPlan(moved), ClusterPlan(kPods)},
      {"the last local endpoint goes", LocalPlan(kPods), LocalPlan(kElsewhere)},
      {"the first local endpoint comes", LocalPlan(kElsewhere), LocalPlan(kPods)},
      {"another Service takes over", LocalPlan(kPods), LocalPlan(kPods, kOtherMark)},
  };
}

// Looks after each write whether everybody reaches the endpoints that are reached both before the
// change and after it.
class Watch {
 public:
  Watch(TestNode& node, const std::shared_ptr<const ServicePlan>& to) : node_(node) {
    TestNode then;
    then.Put(to);
    for (const VirtualServerKey& key : {kAddress, kNodePort}) {
      for (const Sender sender : {Sender::kInside, Sender::kOutside}) {
        const Lines after = Reach(then.kernel, key, sender);
        for (const std::string& endpoint : Reach(node.kernel, key, sender)) {
          if (std::find(after.begin(), after.end(), endpoint) == after.end()) continue;
          served_.push_back({key, sender, endpoint});
        }
      }
    }
    node.tap.after_write = [this](const std::string& what) { Look(what); };
  }

  bool any() const { return !served_.empty(); }
  const Lines& wrong() const { return wrong_; }

 private:
  struct Served {
    VirtualServerKey key;
    Sender sender;
    std::string endpoint;
  };

  void Look(const std::string& what) {
    for (const Served& served : served_) {
      const Lines now = Reach(node_.kernel, served.key, served.sender);
      if (std::find(now.begin(), now.end(), served.endpoint) != now.end()) continue;
      wrong_.push_back(absl::StrCat("after ", what, " ",
                                    served.sender == Sender::kInside ? "pods" : "others", " to ",
                                    served.key.Format(), ": ", absl::StrJoin(now, " ")));
    }
  }

  TestNode& node_;
  std::vector<Served> served_;
  Lines wrong_;
};

TEST_CASE("who is served before a change and after it is served all the way") {
  for (const Change& change : Changes()) {
    DYNAMIC_SECTION(change.name) {
      TestNode node;
      node.Put(change.from);
      const Watch watch(node, change.to);
      REQUIRE(watch.any());
      node.Put(change.to);
      CHECK(node.Settle());
      CHECK(watch.wrong() == Lines{});
      CHECK(node.Actual() == node.Wanted());
    }
  }
}

TEST_CASE("who is served before a change and after it is served over a crash at any step") {
  for (const Change& change : Changes()) {
    DYNAMIC_SECTION(change.name) {
      for (int writes = 0;; ++writes) {
        INFO("crash after " << writes << " writes");
        TestNode node;
        node.Put(change.from);
        const Watch watch(node, change.to);
        node.tap.CrashAfter(writes);
        node.Put(change.to);
        node.Advance(absl::Minutes(1));
        node.tap.Recover();
        REQUIRE(node.Restart().ok());
        node.Reconcile(node.Everything());
        CHECK(node.Settle());
        CHECK(watch.wrong() == Lines{});
        CHECK(node.Actual() == node.Wanted());
        if (!node.tap.crashed) break;
        REQUIRE(writes < 200);
      }
    }
  }
}

TEST_CASE("pods and the node reach every endpoint, others those that are here") {
  TestNode node;
  node.Put(LocalPlan(kPods));
  for (const VirtualServerKey& key : {kAddress, kNodePort}) {
    CHECK(Reach(node.kernel, key, Sender::kInside) == Lines{"10.244.1.2:8080", "10.244.2.2:8080"});
    CHECK(Reach(node.kernel, key, Sender::kOutside) == Lines{"10.244.1.2:8080"});
  }
  node.Put(LocalPlan(kElsewhere));
  node.Settle();
  CHECK(Reach(node.kernel, kAddress, Sender::kInside) ==
        Lines{"10.244.2.2:8080", "10.244.2.3:8080"});
  CHECK(Reach(node.kernel, kAddress, Sender::kOutside) == Lines{"dropped"});
  node.Put(LocalPlan({}));
  node.Settle();
  CHECK(Reach(node.kernel, kAddress, Sender::kInside) == Lines{"refused"});
  CHECK(Reach(node.kernel, kAddress, Sender::kOutside) == Lines{"refused"});
}

// --- Conflicts -----------------------------------------------------------------------------------

TEST_CASE("an address that another Service gets has that one's mark, in one transaction") {
  TestNode node;
  const auto younger = Aged(LocalPlan(kPods, kMark, "younger"), 2);
  const auto older = Aged(LocalPlan({"10.244.1.7"}, kOtherMark, "older"), 1);
  node.Put(younger);
  Lines trace;
  node.tap.after_write = [&](const std::string& what) {
    if (absl::StrContains(what, "mark4 192")) trace.push_back(what);
    for (const std::string& violation : Violations(node.kernel, {})) trace.push_back(violation);
  };
  const Lines to_other = {
      "delete mark4 192.0.2.7 . tcp . 80 : 0x46000001; "
      "delete mark4 192.168.1.1 . tcp . 30080 : 0x46000001; "
      "add mark4 192.0.2.7 . tcp . 80 : 0x46000002; "
      "add mark4 192.168.1.1 . tcp . 30080 : 0x46000002; "};
  const Lines back = {
      "delete mark4 192.0.2.7 . tcp . 80 : 0x46000002; "
      "delete mark4 192.168.1.1 . tcp . 30080 : 0x46000002; "
      "add mark4 192.0.2.7 . tcp . 80 : 0x46000001; "
      "add mark4 192.168.1.1 . tcp . 30080 : 0x46000001; "};
  node.Put(older);
  CHECK(trace == to_other);
  CHECK(node.Actual() == node.Wanted());
  CHECK(Reach(node.kernel, kAddress, Sender::kInside) == Lines{"10.244.1.7:8080"});
  // The loser's virtual server is the Service's still, though nothing leads to it.
  CHECK(node.reconciler().Owns(Mark(kMark)));

  trace.clear();
  node.Remove("older");
  CHECK(trace == back);
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
  CHECK_FALSE(node.reconciler().Owns(Mark(kOtherMark)));
}

// --- Failures ------------------------------------------------------------------------------------

TEST_CASE("a mark whose virtual server fails is not given, and is tried again by itself") {
  TestNode node;
  node.kernel.table.FailWhen(
      [](const Operation& operation) { return operation.virtual_server == Mark(kMark); },
      {absl::ResourceExhaustedError("no memory"), false});
  node.Put(ShortPlan(kPods));
  CHECK(node.Failures() ==
        Lines{"FWM 1174405121 IPv4: no memory",
              "element mark4 192.0.2.7 . tcp . 80 : 0x46000001: the virtual server of its mark is "
              "not there"});
  CHECK(node.reconciler().Failures().back().virtual_server == kAddress);
  CHECK(Violations(node.kernel, {}) == Lines{});
  // Others are served meanwhile, and pods as they are.
  CHECK(Reach(node.kernel, kAddress, Sender::kOutside) == Lines{"10.244.1.2:8080"});
  CHECK(Reach(node.kernel, kAddress, Sender::kInside) == Lines{"10.244.1.2:8080"});

  node.kernel.table.ClearFailures();
  CHECK(node.Wait() == kFirstRetry);
  node.Advance(node.Wait());
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.Failures() == Lines{});
  CHECK(node.reconciler().NextWake() == absl::InfiniteFuture());
}

TEST_CASE("an element of a mark that fails keeps nothing else, and comes with its retry") {
  TestNode node;
  node.kernel.firewall.FailElement(MarkElement(kAddress, kMark), 1,
                                   absl::ResourceExhaustedError("no memory"));
  node.Put(ShortPlan(kPods));
  CHECK(node.Failures() == Lines{"element mark4 192.0.2.7 . tcp . 80 : 0x46000001: no memory"});
  CHECK(node.kernel.routes.routes().contains(kAddress.address));
  node.Advance(kFirstRetry);
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("a virtual server stays as long as its mark cannot be taken off") {
  TestNode node;
  node.Put(ShortPlan(kPods));
  node.kernel.firewall.FailElement(MarkElement(kAddress, kMark), 1000,
                                   absl::ResourceExhaustedError("no memory"));
  node.Remove("web");
  CHECK(node.Failures() == Lines{"FWM 1174405121 IPv4: its mark could not be taken off",
                                 "element mark4 192.0.2.7 . tcp . 80 : 0x46000001: no memory"});
  CHECK(node.reconciler().OwnedVirtualServers() == std::vector<VirtualServerKey>{Mark(kMark)});
  CHECK(Violations(node.kernel, {}) == Lines{});
  node.kernel.firewall.FailElement({}, 0, absl::OkStatus());
  CHECK(node.Settle());
  CHECK(node.Actual() == Lines{});
}

TEST_CASE("a mark that may have been given keeps its virtual server until that is known") {
  TestNode node;
  // The transaction with the mark is the last of which nothing is heard; it happens.
  node.tap.after_write = [&](const std::string& what) {
    if (!absl::StrContains(what, "to FWM")) return;
    node.tap.on_write = [] { return Fate{absl::UnknownError("lost"), true}; };
    node.tap.on_read = [] { return Fate{absl::UnavailableError("busy"), false}; };
  };
  node.Put(ShortPlan({"10.244.1.2"}));
  REQUIRE(node.kernel.firewall.elements().contains(MarkElement(kAddress, kMark)));
  node.tap.on_write = [] { return Fate{absl::UnavailableError("busy"), false}; };
  node.Remove("web");
  // Now operations of IPVS happen, and still no transaction.
  node.kernel.firewall.FailNextCalls(1000, absl::UnavailableError("busy"));
  node.tap.on_write = [] { return Fate(); };
  node.Advance(absl::Minutes(1));
  CHECK(Violations(node.kernel, {}) == Lines{});
  node.kernel.firewall.FailNextCalls(0, absl::OkStatus());
  node.tap.on_read = [] { return Fate(); };
  CHECK(node.Settle());
  CHECK(node.Actual() == Lines{});
}

// --- What is there -------------------------------------------------------------------------------

TEST_CASE("what the kernel has of marks is told, ours by address and others'") {
  const VirtualServerKey theirs = Mark(7);
  const VirtualServerKey theirs_six = VirtualServerKey::ForMark(IpFamily::kIpv6, 8);
  TestNode node;
  node.Put(LocalPlan(kPods));
  for (const VirtualServerKey& key : {theirs, theirs_six}) {
    node.kernel.table.Apply({Operation::AddVirtualServer(
        key, ipvs::VirtualServerConfig::ForFamily(key.family, "wlc"))});
  }
  node.kernel.table.Apply({Operation::AddVirtualServer(Tcp("203.0.113.1", 443), {})});
  REQUIRE(node.Restart().ok());
  const FoundMarks found = node.reconciler().Marks();
  CHECK(found.ports == std::map<VirtualServerKey, uint32_t>{{kAddress, kMark}, {kNodePort, kMark}});
  CHECK(found.foreign == std::set<uint32_t>{7, 8});
  CHECK(node.reconciler().Owns(Mark(kMark)));
  CHECK_FALSE(node.reconciler().Owns(theirs));
  CHECK_FALSE(node.reconciler().Owns(VirtualServerKey::ForMark(IpFamily::kIpv6, kMark)));
  CHECK(node.reconciler().OwnedVirtualServers() ==
        std::vector<VirtualServerKey>{kAddress, kNodePort, Mark(kMark)});
}

TEST_CASE("virtual servers that others have for marks stay as they are") {
  const VirtualServerKey theirs = Mark(7);
  TestNode node;
  node.kernel.table.Apply({Operation::AddVirtualServer(theirs, ipvs::VirtualServerConfig::ForFamily(
                                                                   IpFamily::kIpv4, "wlc")),
                           Operation::AddRealServer(theirs, Pod("10.1.1.1"), {.weight = 5})});
  const Lines before = node.Actual();
  node.kernel.table.ClearOperations();
  REQUIRE(node.Restart().ok());
  Touched touched;
  touched.virtual_servers = {theirs};
  touched.elements = {OwnedElement(theirs), MarkElement(kAddress, 7)};
  node.Reconcile(touched);
  node.Put(LocalPlan(kPods));
  node.Remove("web");
  CHECK(node.Settle());
  CHECK(node.Actual() == before);
  for (const Operation& operation : node.kernel.table.operations()) {
    CHECK(operation.virtual_server != theirs);
  }
}

TEST_CASE("after a restart marks are as they were, and what is left of others goes") {
  TestNode node;
  node.Put(LocalPlan(kPods));
  const int elements = node.kernel.firewall.changes();
  node.kernel.table.ClearOperations();
  REQUIRE(node.Restart().ok());
  node.Reconcile(node.Everything());
  CHECK(node.reconciler().counters() == WriteCounters{});
  CHECK(node.kernel.firewall.changes() == elements);

  node.Want(ClusterPlan(kPods));
  REQUIRE(node.Restart().ok());
  node.Reconcile();
  CHECK(Violations(node.kernel, {}) == Lines{});
  node.Reconcile(node.Everything());
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("urgent virtual servers of two sets get their marks") {
  TestNode node;
  const auto plan = LocalPlan(kPods);
  Touched urgent;
  for (const PlannedVirtualServer& server : plan->virtual_servers) {
    urgent.virtual_servers.insert(server.key);
  }
  node.Want(plan);
  node.reconciler().ReconcileUrgent(node.desired, urgent, node.now);
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("a mark's virtual server that is wanted no more keeps its connections until they end") {
  TestNode node;
  node.Put(LocalPlan(kPods));
  REQUIRE(node.kernel.table.SetConnections(Mark(kMark), Pod("10.244.2.2"), 1, 0).ok());
  node.Put(ClusterPlan(kPods));
  node.Reconcile();
  CHECK_FALSE(node.kernel.firewall.elements().contains(MarkElement(kAddress, kMark)));
  auto server = node.kernel.table.Get(Mark(kMark));
  REQUIRE(server.ok());
  REQUIRE(server->real_servers.size() == 1);
  CHECK(server->real_servers[0].key == Pod("10.244.2.2"));
  CHECK(server->real_servers[0].config.weight == 0);

  SECTION("it goes with them") {
    REQUIRE(node.kernel.table.SetConnections(Mark(kMark), Pod("10.244.2.2"), 0, 0).ok());
    node.now += kDrainPoll;
  }
  SECTION("a restart keeps it until then") {
    REQUIRE(node.Restart().ok());
    node.Reconcile();
    CHECK(node.kernel.table.Get(Mark(kMark)).ok());
    REQUIRE(node.kernel.table.SetConnections(Mark(kMark), Pod("10.244.2.2"), 0, 0).ok());
    node.now += kDrainPoll;
  }
  SECTION("it goes at the deadline") {
    REQUIRE(node.reconciler().Draining().size() == 1);
    node.now = node.reconciler().Draining()[0].until;
  }
  SECTION("or is wanted again, and edited back") {
    node.Put(LocalPlan(kPods));
    CHECK(node.Actual() == node.Wanted());
    return;
  }
  node.Reconcile();
  node.Reconcile();
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("endpoints of marks drain as others do, those of datagrams at once") {
  for (const ipvs::Protocol protocol : {ipvs::Protocol::kTcp, ipvs::Protocol::kUdp}) {
    INFO(ipvs::FormatProtocol(protocol));
    TestNode node;
    const auto plan = [&](const Lines& pods) {
      const auto key = VirtualServerKey::ForAddress(protocol, Address("192.0.2.7"), 53);
      return MakePlan(
          "dns", {Local(LoadBalancer(key, pods), kMark), Internal(Mark(kMark), pods, protocol)});
    };
    node.Put(plan(kPods));
    REQUIRE(node.kernel.table.SetConnections(Mark(kMark), Pod("10.244.2.2"), 1, 0).ok());
    node.Put(plan({"10.244.1.2"}));
    if (protocol == ipvs::Protocol::kTcp) {
      CHECK(node.reconciler().Draining() ==
            std::vector<DrainingServer>{
                {Mark(kMark), Pod("10.244.2.2"), node.now, node.now + absl::Minutes(5)}});
    } else {
      CHECK(node.reconciler().Draining().empty());
      CHECK(node.Actual() == node.Wanted());
    }
  }
}

TEST_CASE("a virtual server that is retired goes though answers are lost, and is looked at once") {
  struct Row {
    std::string name;
    std::function<void(TestNode&)> interfere;
  };
  const std::vector<Row> rows = {
      {"nothing is amiss", [](TestNode&) {}},
      {"a deletion is not answered",
       [](TestNode& node) {
         node.kernel.table.FailWhen(
             [](const Operation& operation) {
               return operation == Operation::DeleteRealServer(Mark(kMark), Pod("10.244.2.2"));
             },
             {absl::UnknownError("lost"), true});
       }},
      {"somebody has deleted a real server",
       [](TestNode& node) {
         node.kernel.table.Apply({Operation::DeleteRealServer(Mark(kMark), Pod("10.244.2.2"))});
       }},
      {"somebody has deleted it",
       [](TestNode& node) {
         node.kernel.table.Apply({Operation::DeleteVirtualServer(Mark(kMark))});
       }},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      TestNode node;
      node.Put(ShortPlan(kPods));
      for (const std::string& pod : kPods) {
        REQUIRE(node.kernel.table.SetConnections(Mark(kMark), Pod(pod), 1, 0).ok());
      }
      node.Remove("web");
      REQUIRE(node.reconciler().Draining().size() == 2);
      row.interfere(node);
      node.Advance(absl::Minutes(5));
      node.kernel.table.ClearFailures();
      int passes = 0;
      while (node.reconciler().NextWake() != absl::InfiniteFuture() && passes < 10) {
        node.Advance(std::max(node.Wait(), absl::ZeroDuration()));
        ++passes;
      }
      CHECK(passes <= 3);
      CHECK(node.Actual() == Lines{});
      CHECK(node.reconciler().Draining().empty());
    }
  }
}

}  // namespace
}  // namespace fairlead::testing
