#include "proxy/cleanup/owned.h"

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ipvs/memory_table.h"
#include "proxy/kernel/memory_firewall.h"
#include "proxy/kernel/memory_routes.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {
namespace {

using ipvs::Operation;
using ipvs::VirtualServerKey;
using Lines = std::vector<std::string>;

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

VirtualServerKey Tcp(const std::string& address, uint16_t port) {
  return VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, Ip(address), port);
}

const VirtualServerKey kWeb = Tcp("10.96.0.1", 80);
const VirtualServerKey kWeb6 = Tcp("fd00:96::1", 80);
const VirtualServerKey kMark = VirtualServerKey::ForMark(IpFamily::kIpv4, 0x46000001);
const VirtualServerKey kMark6 = VirtualServerKey::ForMark(IpFamily::kIpv6, 0x46000001);
// Somebody else's, on our VIP and in our range of marks.
const VirtualServerKey kForeign = Tcp("10.96.0.1", 8080);
const VirtualServerKey kForeignMark = VirtualServerKey::ForMark(IpFamily::kIpv4, 0x46000002);

// A node with two Services and things of others.
struct TestNode {
  TestNode() {
    REQUIRE(firewall.EnsureRuleset(RulesetText({})).ok());
    std::vector<ElementChange> elements;
    for (const Element& element :
         {OwnedElement(kWeb), OwnedElement(kWeb6), OwnedElement(kMark), OwnedElement(kMark6),
          Element{.set = SetName::kGuarded, .address = kWeb.address},
          Element{.set = SetName::kServed, .address = kWeb.address, .port = 80},
          Element{.set = SetName::kOpen, .address = kWeb.address, .port = 80},
          Element{
              .set = SetName::kMark, .address = kWeb.address, .port = 80, .mark = 0x46000001}}) {
      elements.push_back({ElementChange::Verb::kAdd, element});
    }
    REQUIRE(firewall.Apply(elements).ok());
    for (const VirtualServerKey& key : {kWeb, kWeb6, kMark, kMark6, kForeign, kForeignMark}) {
      const auto config = ipvs::VirtualServerConfig::ForFamily(key.family, "rr");
      REQUIRE(table.Apply({Operation::AddVirtualServer(key, config)})[0].ok());
    }
    for (const IpAddress& vip : {kWeb.address, kWeb6.address}) {
      REQUIRE(routes.Apply({{RouteChange::Verb::kPut, {vip, std::nullopt}}})[0].ok());
    }
    routes.AddForeign(Ip("10.96.0.9"));
    table.ClearOperations();
  }

  OwnedKernel Kernel() {
    return {.table = &table, .firewall = firewall, .routes = routes, .delete_firewall = [this] {
              if (!delete_error.ok()) return delete_error;
              firewall.DeleteTable();
              return absl::OkStatus();
            }};
  }
  CleanupReport Remove(const OwnedOptions& options = {}) { return RemoveOwned(Kernel(), options); }
  CleanupReport Rehearse(const OwnedOptions& options = {}) {
    return PlanOwnedRemoval(FindOwned(Kernel()), options);
  }

  // What is on the node.
  Lines State() {
    Lines lines;
    for (const auto& [vip, route] : routes.routes()) {
      lines.push_back(absl::StrCat("route ", vip.Format()));
    }
    const auto servers = table.Dump();
    for (const ipvs::VirtualServer& server : *servers) lines.push_back(server.key.Format());
    if (firewall.ruleset().has_value()) {
      lines.push_back(absl::StrCat("table with ", firewall.elements().size()));
    }
    return lines;
  }

  ipvs::MemoryTable table;
  MemoryFirewall firewall;
  MemoryRoutes routes;
  absl::Status delete_error;
};

Lines Names(const std::vector<CleanupItem>& items) {
  Lines lines;
  for (const CleanupItem& item : items) lines.push_back(absl::StrCat(item.kind, " ", item.name));
  return lines;
}

Lines Names(const std::vector<CleanupRemark>& remarks) {
  Lines lines;
  for (const CleanupRemark& remark : remarks) {
    lines.push_back(absl::StrCat(remark.item.kind, " ", remark.item.name, ": ", remark.why));
  }
  return lines;
}

const Lines kEverything = {"route 10.96.0.1",
                           "route fd00:96::1",
                           "virtual server TCP 10.96.0.1:80",
                           "virtual server TCP [fd00:96::1]:80",
                           "virtual server FWM 1174405121 IPv4",
                           "virtual server FWM 1174405121 IPv6",
                           "table inet fairlead"};
const Lines kForeigners = {kForeign.Format(), kForeignMark.Format()};

TEST_CASE("what Fairlead owns goes, and nothing else") {
  TestNode node;
  const CleanupReport rehearsed = node.Rehearse();
  CHECK(Names(rehearsed.removed) == kEverything);
  CHECK(node.table.operations().empty());
  CHECK(node.State().size() == 9);

  const CleanupReport report = node.Remove();
  CHECK(report == rehearsed);
  CHECK(node.State() == kForeigners);
  CHECK(node.routes.foreign() == std::set<IpAddress>{Ip("10.96.0.9")});

  // Again: there is nothing, and nothing is written.
  node.table.ClearOperations();
  CHECK(node.Remove() == CleanupReport{});
  CHECK(node.Rehearse() == CleanupReport{});
  CHECK(node.table.operations().empty());
}

TEST_CASE("without a kernel that has IPVS, or without a table, the rest goes") {
  TestNode node;
  OwnedKernel kernel = node.Kernel();
  kernel.table = nullptr;
  CHECK(Names(PlanOwnedRemoval(FindOwned(kernel), {}).removed) ==
        Lines{"route 10.96.0.1", "route fd00:96::1", "table inet fairlead"});
  CHECK(Names(RemoveOwned(kernel, {}).removed) ==
        Lines{"route 10.96.0.1", "route fd00:96::1", "table inet fairlead"});

  TestNode other;
  other.firewall.DeleteTable();
  CHECK(Names(other.Rehearse().removed) == Lines{"route 10.96.0.1", "route fd00:96::1"});
  CHECK(Names(other.Remove().removed) == Lines{"route 10.96.0.1", "route fd00:96::1"});
  // Nobody knows any more whose the virtual servers are.
  CHECK(other.table.operations().empty());
}

TEST_CASE("virtual servers can be left for another proxy") {
  TestNode node;
  const CleanupReport report = node.Remove({.keep_virtual_servers = true});
  CHECK(Names(report.removed) ==
        Lines{"route 10.96.0.1", "route fd00:96::1", "table inet fairlead"});
  REQUIRE(report.kept.size() == 4);
  CHECK(
      Names(report.kept)[0] ==
      "virtual server TCP 10.96.0.1:80: --keep-virtual-servers: for the proxy that takes it over");
  CHECK(absl::EndsWith(report.kept[2].why, "ipvsadm -D -f 1174405121"));
  CHECK(absl::EndsWith(report.kept[3].why, "ipvsadm -D -f 1174405121 -6"));
  CHECK(node.table.operations().empty());
  CHECK(TestNode().Rehearse({.keep_virtual_servers = true}) == report);
}

TEST_CASE("ports are closed before their virtual servers go, and marks before theirs") {
  TestNode node;
  Lines seen;
  node.table.FailWhen(
      [&](const Operation& operation) {
        Lines sets;
        for (const Element& element : node.firewall.elements()) {
          if (element.set == SetName::kServed || element.set == SetName::kOpen ||
              element.set == SetName::kMark) {
            sets.emplace_back(FormatSetName(element.set));
          }
        }
        seen.push_back(absl::StrCat(operation.virtual_server.Format(), " routes ",
                                    node.routes.routes().size(), " ", absl::StrJoin(sets, " ")));
        return false;
      },
      {});
  node.Remove();
  CHECK(seen == Lines{"TCP [fd00:96::1]:80 routes 0 mark", "TCP 10.96.0.1:80 routes 0 mark",
                      "FWM 1174405121 IPv6 routes 0 ", "FWM 1174405121 IPv4 routes 0 "});
}

TEST_CASE("a failure stays with its own thing, and the record stays with it") {
  const auto busy = absl::UnavailableError("busy");
  SECTION("a virtual server") {
    TestNode node;
    node.table.FailWhen([](const Operation& op) { return op.virtual_server == kWeb; }, {busy});
    const CleanupReport report = node.Remove();
    CHECK(Names(report.failed) == Lines{"virtual server TCP 10.96.0.1:80: busy"});
    CHECK(Names(report.kept) ==
          Lines{"table inet fairlead: records the virtual servers that could not be removed"});
    CHECK(node.State() ==
          Lines{kWeb.Format(), kForeign.Format(), kForeignMark.Format(), "table with 5"});
    // The next run goes on.
    node.table.ClearFailures();
    CHECK(Names(node.Remove().removed) ==
          Lines{"virtual server TCP 10.96.0.1:80", "table inet fairlead"});
    CHECK(node.State() == kForeigners);
  }
  SECTION("a virtual server that is busy for a moment") {
    TestNode node;
    node.table.FailNext({busy});
    CHECK(node.Remove().failed.empty());
    CHECK(node.State() == kForeigners);
  }
  SECTION("the answer about a virtual server is lost") {
    TestNode node;
    node.table.FailNext({.status = absl::UnknownError("lost"), .happens = true});
    const CleanupReport report = node.Remove();
    CHECK(Names(report.removed) == kEverything);
    CHECK(report.failed.empty());
  }
  SECTION("a route") {
    TestNode node;
    node.routes.FailChanges(kWeb.address, 100, busy);
    const CleanupReport report = node.Remove();
    CHECK(Names(report.failed) == Lines{"route 10.96.0.1: busy"});
    CHECK(report.removed.size() == kEverything.size() - 1);
  }
  SECTION("a route, for a moment") {
    TestNode node;
    node.routes.FailChanges(kWeb.address, 1, busy);
    CHECK(Names(node.Remove().removed) == kEverything);
  }
  SECTION("routes cannot be read") {
    TestNode node;
    node.routes.FailNextDumps(100, busy);
    CHECK(Names(node.Rehearse().failed) == Lines{"route all: busy"});
    CHECK(Names(node.Remove().failed) == Lines{"route all: busy"});
    CHECK(node.routes.routes().size() == 2);
  }
  SECTION("the table cannot be read: its virtual servers stay, and it stays") {
    TestNode node;
    node.firewall.FailNextCalls(1, busy);
    CHECK(Names(node.Rehearse().failed) == Lines{"table inet fairlead: busy"});
    node.firewall.FailNextCalls(1, busy);
    CHECK(Names(node.Remove().failed) == Lines{"table inet fairlead: busy"});
    CHECK(node.State().size() == 7);
  }
  SECTION("the table cannot be deleted") {
    TestNode node;
    node.delete_error = absl::FailedPreconditionError("no nft");
    CHECK(Names(node.Remove().failed) == Lines{"table inet fairlead: no nft"});
  }
  SECTION("virtual servers cannot be listed: they go by the record") {
    TestNode node;
    node.table.FailReads(busy);
    CHECK(Names(node.Rehearse().failed) == Lines{"virtual server all that are recorded: busy"});
    CHECK(Names(node.Rehearse().removed) == kEverything);
    CHECK(Names(node.Remove().removed) == kEverything);
  }
  SECTION("elements cannot be deleted: the table has them") {
    TestNode node;
    node.firewall.FailElement(Element{.set = SetName::kOpen, .address = kWeb.address, .port = 80},
                              100, busy);
    CHECK(Names(node.Remove().removed) == kEverything);
  }
}

TEST_CASE("what is recorded and not there is not told of") {
  TestNode node;
  REQUIRE(node.table.Apply({Operation::DeleteVirtualServer(kWeb)})[0].ok());
  Lines expected = kEverything;
  std::erase(expected, "virtual server TCP 10.96.0.1:80");
  CHECK(Names(node.Rehearse().removed) == expected);
  CHECK(Names(node.Remove().removed) == expected);
}

}  // namespace
}  // namespace fairlead
