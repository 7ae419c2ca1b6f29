// What others change in the kernel.

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "test_node.h"

namespace fairlead::testing {
namespace {

using ipvs::Operation;
using ipvs::VirtualServerKey;

constexpr absl::Duration kCycle = absl::Seconds(10);

const VirtualServerKey kWeb = Tcp("10.96.0.1", 80);
const VirtualServerKey kForeign = Tcp("192.0.2.1", 80);

// "element: element owned4 … was gone" of each that was told.
Lines Told(const DriftReport& report) {
  Lines lines;
  for (const auto& [kind, examples] : report.examples()) {
    for (const std::string& example : examples) {
      lines.push_back(absl::StrCat(FormatDriftKind(kind), ": ", example));
    }
  }
  return lines;
}

// Twenty Services of both families and a foreign virtual server.
struct AuditedNode : TestNode {
  explicit AuditedNode(bool counted = true)
      : TestNode({.audit_cycle = kCycle,
                  .count_ipv4_servers = counted ? std::function<absl::StatusOr<uint32_t>()>(
                                                      [this] { return Count(); })
                                                : nullptr}) {
    for (int i = 1; i <= 10; ++i) {
      Put(MakePlan(absl::StrCat("web-", i),
                   {Vip(Tcp(absl::StrCat("10.96.0.", i), 80), {"10.244.1.2", "10.244.2.2"}),
                    Vip(Tcp(absl::StrCat("fd00:96::", i), 80), {"fd00:244::2"})}));
    }
    Change(Operation::AddVirtualServer(kForeign, {}));
    REQUIRE(Restart().ok());
    Reconcile();
    REQUIRE(Told(reconciler().TakeDrift()) == Lines{});
    kernel.table.ClearOperations();
  }

  uint32_t Count() {
    uint32_t count = 0;
    for (const ipvs::VirtualServer& server : Servers()) {
      if (server.key.family == IpFamily::kIpv4) ++count;
    }
    return count;
  }
  std::vector<ipvs::VirtualServer> Servers() { return *kernel.table.Dump(); }
  // By somebody else.
  void Change(const Operation& operation) {
    REQUIRE(kernel.table.Apply({{operation}}) == std::vector<absl::Status>{absl::OkStatus()});
  }
  // What is told in a full cycle of the audit.
  Lines Cycle() {
    DriftReport all;
    Lines lines;
    for (absl::Time end = now + kCycle + kAuditTick; now < end;) {
      Advance(kAuditTick);
      for (std::string& line : Told(reconciler().TakeDrift())) lines.push_back(std::move(line));
    }
    return lines;
  }
};

TEST_CASE("an audit of what is right tells and writes nothing") {
  AuditedNode node;
  CHECK(node.Wait() <= kAuditTick);
  CHECK(node.Cycle() == Lines{});
  CHECK(node.reconciler().counters() == WriteCounters{});
}

TEST_CASE("an edit by hand is told and made good within a cycle") {
  struct Case {
    std::string name;
    Operation edit;
    Lines told;
  };
  const ipvs::VirtualServerConfig lc{.scheduler = "lc"};
  for (const Case& c : std::vector<Case>{
           {"scheduler",
            Operation::EditVirtualServer(kWeb, lc),
            {"virtual_server: TCP 10.96.0.1:80 was lc in place of rr"}},
           {"weight",
            Operation::EditRealServer(kWeb, Pod("10.244.1.2"), {.weight = 7}),
            {"real_server: TCP 10.96.0.1:80 -> 10.244.1.2:8080 was Masq weight 7 in place of Masq "
             "weight 1"}},
           {"real server less",
            Operation::DeleteRealServer(kWeb, Pod("10.244.1.2")),
            {"real_server: TCP 10.96.0.1:80 -> 10.244.1.2:8080 was gone"}},
           {"real server more",
            Operation::AddRealServer(kWeb, Pod("10.244.9.9"), {}),
            {"real_server: TCP 10.96.0.1:80 -> 10.244.9.9:8080 was there, put by somebody else"}},
           {"virtual server of IPv6 less",
            Operation::DeleteVirtualServer(Tcp("fd00:96::5", 80)),
            {"virtual_server: TCP [fd00:96::5]:80 was gone"}},
       }) {
    INFO(c.name);
    AuditedNode node;
    const Lines before = Describe(node.kernel);
    node.Change(c.edit);
    REQUIRE(Describe(node.kernel) != before);
    CHECK(node.Cycle() == c.told);
    CHECK(Describe(node.kernel) == before);
    CHECK(node.Cycle() == Lines{});
  }
}

TEST_CASE("a virtual server of IPv4 that goes is seen at the next tick, by its number") {
  for (const bool counted : {true, false}) {
    INFO(counted);
    AuditedNode node(counted);
    const Lines before = Describe(node.kernel);
    // The last one of its family that an audit comes to.
    for (int i = 0; i < 2; ++i) node.Advance(kAuditTick);
    node.Change(Operation::DeleteVirtualServer(kWeb));
    node.Advance(kAuditTick);
    CHECK((Describe(node.kernel) == before) == counted);
  }
}

TEST_CASE("after a flush, virtual servers come back in the opposite of the kernel's order") {
  std::vector<VirtualServerKey> listed;
  AuditedNode node;
  for (const ipvs::VirtualServer& server : node.Servers()) listed.push_back(server.key);
  // As a hash table has them.
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp)
  std::shuffle(listed.begin(), listed.end(), random);
  int listings = 0;
  node.options.list_in_order = [&] {
    ++listings;
    return listed;
  };
  REQUIRE(node.Restart().ok());
  node.Reconcile();
  CHECK(node.Cycle() == Lines{});
  CHECK(listings == 1);
  for (const VirtualServerKey& key : listed) node.Change(Operation::DeleteVirtualServer(key));
  node.kernel.table.ClearOperations();
  node.Advance(kMinFullCheck + kAuditTick);
  std::vector<VirtualServerKey> added;
  for (const Operation& operation : node.kernel.table.operations()) {
    if (operation.verb == ipvs::Verb::kAddVirtualServer) added.push_back(operation.virtual_server);
  }
  std::erase(listed, kForeign);
  std::reverse(listed.begin(), listed.end());
  CHECK(added == listed);
  CHECK(node.reconciler().Failures().empty());
}

TEST_CASE("an order that lacks virtual servers is not remembered") {
  AuditedNode node;
  int listings = 0;
  node.options.list_in_order = [&] {
    ++listings;
    return std::vector<VirtualServerKey>{Tcp("10.96.0.9", 80), Tcp("10.96.0.8", 80)};
  };
  REQUIRE(node.Restart().ok());
  node.Reconcile();
  CHECK(node.Cycle() == Lines{});
  CHECK(node.Cycle() == Lines{});
  CHECK(listings >= 2);
  for (const int i : {8, 9}) {
    node.Change(Operation::DeleteVirtualServer(Tcp(absl::StrCat("10.96.0.", i), 80)));
  }
  node.kernel.table.ClearOperations();
  node.Advance(kMinFullCheck + kAuditTick);
  REQUIRE(node.kernel.table.operations().size() > 1);
  CHECK(node.kernel.table.operations().front().virtual_server == Tcp("10.96.0.8", 80));
}

TEST_CASE("a flush of each family is made good at the next tick, and others' are not ours") {
  for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    INFO(FormatFamily(family));
    AuditedNode node;
    for (const ipvs::VirtualServer& server : node.Servers()) {
      if (server.key.family == family) node.Change(Operation::DeleteVirtualServer(server.key));
    }
    node.Advance(kAuditTick);
    const DriftReport report = node.reconciler().TakeDrift();
    CHECK(Told(report).size() == 10);
    CHECK(report.counts() == std::map<DriftKind, uint64_t>{{DriftKind::kVirtualServer, 10}});
    CHECK(node.kernel.table.Get(kForeign).ok() == (family == IpFamily::kIpv6));
    // Once more, when the next look at all of them may be.
    node.Change(Operation::DeleteVirtualServer(kWeb));
    for (absl::Duration passed; passed < kMinFullCheck; passed += kAuditTick) {
      node.Advance(kAuditTick);
    }
    CHECK(Told(node.reconciler().TakeDrift()) ==
          Lines{"virtual_server: TCP 10.96.0.1:80 was gone"});
    CHECK(node.Failures() == Lines{});
    CHECK(node.reconciler().taken_over().empty());
  }
}

TEST_CASE("foreign virtual servers come and go without a word") {
  AuditedNode node;
  const VirtualServerKey other = Tcp("192.0.2.2", 80);
  node.Change(Operation::AddVirtualServer(other, {}));
  node.Advance(kAuditTick);
  node.Change(Operation::DeleteVirtualServer(kForeign));
  node.Advance(kAuditTick);
  node.Change(Operation::DeleteVirtualServer(other));
  CHECK(node.Cycle() == Lines{});
  CHECK(node.reconciler().counters() == WriteCounters{});
}

TEST_CASE("elements that others changed are made good when the firewall is suspected") {
  AuditedNode node;
  const Lines before = Describe(node.kernel);
  const Element owned = OwnedElement(kWeb);
  const Element strange{.set = SetName::kReject, .address = Address("10.96.0.2"), .port = 80};
  REQUIRE(
      node.kernel.firewall
          .Apply({{{ElementChange::Verb::kDelete, owned}, {ElementChange::Verb::kAdd, strange}}})
          .ok());
  node.reconciler().SuspectFirewall();
  node.Reconcile();
  CHECK(Told(node.reconciler().TakeDrift()) ==
        Lines{"element: element reject4 10.96.0.2 . tcp . 80 was there, put by somebody else",
              "element: element owned4 10.96.0.1 . tcp . 80 was gone"});
  CHECK(Describe(node.kernel) == before);
}

TEST_CASE("who is at the firewall all the time does not have it read all the time") {
  AuditedNode node;
  node.reconciler().SuspectFirewall();
  node.Reconcile();
  const Lines before = Describe(node.kernel);
  REQUIRE(node.kernel.firewall.Apply({{{ElementChange::Verb::kDelete, OwnedElement(kWeb)}}}).ok());
  node.reconciler().SuspectFirewall();
  node.Advance(kMinRecheck - absl::Milliseconds(1));
  CHECK(Describe(node.kernel) != before);
  CHECK(node.Wait() == absl::Milliseconds(1));
  node.Advance(absl::Milliseconds(1));
  CHECK(Describe(node.kernel) == before);
}

TEST_CASE("routes that others changed are made good when they are suspected, or in a cycle") {
  for (const bool told : {true, false}) {
    INFO(told);
    AuditedNode node;
    const Lines before = Describe(node.kernel);
    const auto change = [&](RouteChange::Verb verb, const char* vip, const char* source) {
      REQUIRE(node.kernel.routes.Apply({{{verb, {Address(vip), Address(source)}}}}) ==
              std::vector<absl::Status>{absl::OkStatus()});
    };
    change(RouteChange::Verb::kDelete, "10.96.0.1", "192.168.1.1");
    change(RouteChange::Verb::kPut, "10.96.0.2", "192.168.9.9");
    change(RouteChange::Verb::kPut, "10.96.9.9", "192.168.1.1");
    if (told) {
      node.reconciler().SuspectRoutes();
      node.Advance(kMinRecheck);
      Lines lines = Told(node.reconciler().TakeDrift());
      std::sort(lines.begin(), lines.end());
      CHECK(lines == Lines{"route: route 10.96.0.1 was gone",
                           "route: route 10.96.0.2 was with source 192.168.9.9",
                           "route: route 10.96.9.9 was there, put by somebody else"});
    } else {
      CHECK(node.Cycle().size() == 3);
    }
    CHECK(Describe(node.kernel) == before);
  }
}

TEST_CASE("a report has every number and some words") {
  DriftReport report;
  for (int i = 0; i < 25; ++i) report.Add(DriftKind::kRoute, [&] { return absl::StrCat(i); });
  CHECK(report.counts() == std::map<DriftKind, uint64_t>{{DriftKind::kRoute, 25}});
  CHECK(report.examples().at(DriftKind::kRoute).size() == DriftReport::kExamples);
  CHECK(report.examples().at(DriftKind::kRoute).back() == "9");
}

}  // namespace
}  // namespace fairlead::testing
