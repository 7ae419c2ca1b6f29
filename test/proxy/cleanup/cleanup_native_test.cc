#include <catch2/catch.hpp>
#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ipvs/memory_table.h"
#include "kube_proxy_state.h"
#include "network_namespace.h"
#include "proxy/cleanup/kube_proxy.h"
#include "proxy/cleanup/nft_tables.h"
#include "proxy/cleanup/owned.h"
#include "proxy/kernel/memory_firewall.h"
#include "proxy/kernel/netlink_routes.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {
namespace {

using Lines = std::vector<std::string>;

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

// Gives the text to a program.
void Feed(const std::vector<std::string>& words, const std::string& text) {
  const auto output = RunProgram(words, text);
  INFO(words[0] << ": " << output.status() << "\n" << text);
  REQUIRE(output.ok());
}

// All that a packet can meet, but for counters, handles, and what is random.
std::string Everything() {
  std::string all;
  for (const char* command :
       {"iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save",
        "ipset save", "nft list ruleset", "ip -d route show table all",
        "ip -6 -d route show table all", "ip -d addr"}) {
    absl::StrAppend(&all, "== ", command, "\n",
                    Run(absl::StrCat(command,
                                     " 2>/dev/null | grep -v '^#' | sed 's/\\[[0-9:]*\\]//; "
                                     "s/packets.*bytes [0-9]*//; s/initval.*//; "
                                     "s/valid_lft.*//; s/users.*//' || true")));
  }
  return all;
}

Lines Names(const std::vector<CleanupRemark>& remarks) {
  Lines lines;
  for (const CleanupRemark& remark : remarks) {
    lines.push_back(absl::StrCat(remark.item.kind, " ", remark.item.name, ": ", remark.why));
  }
  return lines;
}

// A node with rules and ipsets of others, in both kinds of iptables and both families.
class Stage {
 public:
  Stage() {
    for (const char* program : {"iptables-nft-restore", "iptables-legacy-restore"}) {
      Feed({program, "--noflush"}, testing::OthersRules(false));
    }
    for (const char* program : {"ip6tables-nft-restore", "ip6tables-legacy-restore"}) {
      Feed({program, "--noflush"}, testing::OthersRules(true));
    }
    Feed({"nft", "-f", "-"}, testing::OthersNftTables());
    Feed({"ipset", "restore"}, "create KUBE-MINE hash:ip\nadd KUBE-MINE 192.0.2.7\n");
    Run("ip addr add 192.0.2.5/24 dev lo; ip route add local 198.51.100.7 dev lo proto static; "
        "ip route add 198.51.100.8 dev lo proto 119");
    auto opened = NetlinkVipDevice::Open();
    REQUIRE(opened.ok());
    device_ = *std::move(opened);
  }

  KubeProxyKernel Kernel() { return KubeProxyKernel::Of(&table_, firewall_, routes_, *device_); }

 private:
  NetworkNamespace network_;
  ipvs::MemoryTable table_;
  MemoryFirewall firewall_;
  std::unique_ptr<NetlinkVipDevice> device_;
  struct NoRoutes : Routes {
    absl::StatusOr<std::vector<VipRoute>> Dump() override { return std::vector<VipRoute>{}; }
    std::vector<absl::Status> Apply(absl::Span<const RouteChange> changes) override {
      return std::vector<absl::Status>(changes.size());
    }
  } routes_;
};

TEST_CASE("what kube-proxy's modes leave goes, and the rest stays as it is") {
  struct Row {
    std::string name;
    std::string backend;
    std::string (*rules)(bool ipv6);
    bool ipsets;
    Lines signs;
  };
  const std::vector<Row> rows = {
      {"IPVS, iptables-nft",
       "nft",
       testing::KubeProxyIpvsRules,
       true,
       {"11 chains of iptables-nft", "11 chains of ip6tables-nft"}},
      {"IPVS, iptables-legacy",
       "legacy",
       testing::KubeProxyIpvsRules,
       true,
       {"11 chains of iptables-legacy", "11 chains of ip6tables-legacy"}},
      {"iptables, iptables-nft",
       "nft",
       testing::KubeProxyIptablesRules,
       false,
       {"16 chains of iptables-nft", "16 chains of ip6tables-nft"}},
      {"iptables, iptables-legacy",
       "legacy",
       testing::KubeProxyIptablesRules,
       false,
       {"16 chains of iptables-legacy", "16 chains of ip6tables-legacy"}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Stage stage;
    CHECK(SignsOfKubeProxy(stage.Kernel()).empty());
    const std::string before = Everything();
    for (const bool ipv6 : {false, true}) {
      if (row.ipsets) Feed({"ipset", "restore"}, testing::KubeProxyIpsetText(ipv6));
      Feed({absl::StrCat(ipv6 ? "ip6tables-" : "iptables-", row.backend, "-restore"), "--noflush"},
           row.rules(ipv6));
    }
    CHECK(SignsOfKubeProxy(stage.Kernel()) == row.signs);
    const std::string with = Everything();
    REQUIRE(with != before);

    const CleanupReport rehearsed = PlanKubeProxyRemoval(FindKubeProxy(stage.Kernel()));
    CHECK(Everything() == with);
    const CleanupReport report = RemoveKubeProxy(stage.Kernel(), {});
    CHECK(report == rehearsed);
    CHECK(Names(report.failed) == Lines{});
    CHECK(Names(report.kept) == Lines{});
    CHECK(Everything() == before);
    CHECK(RemoveKubeProxy(stage.Kernel(), {}) == CleanupReport{});
  }
}

TEST_CASE("the tables of kube-proxy's nftables mode go, and no others") {
  Stage stage;
  const std::string before = Everything();
  Feed({"nft", "-f", "-"}, testing::KubeProxyNftTables());
  CHECK(SignsOfKubeProxy(stage.Kernel()) ==
        Lines{"nftables table ip kube-proxy", "nftables table ip6 kube-proxy"});
  const CleanupReport report = RemoveKubeProxy(stage.Kernel(), {});
  CHECK(report.removed ==
        std::vector<CleanupItem>{{"table", "ip kube-proxy"}, {"table", "ip6 kube-proxy"}});
  CHECK(report.failed.empty());
  CHECK(Everything() == before);
}

TEST_CASE("a chain that others use stays, and the rest of its table goes") {
  Stage stage;
  const std::string portmap =
      "*nat\n:CNI-DN-0a1b - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:KUBE-POSTROUTING - [0:0]\n"
      "-A CNI-DN-0a1b -s 10.244.0.0/24 -j KUBE-MARK-MASQ\n"
      "-A POSTROUTING -j KUBE-POSTROUTING\n-A KUBE-POSTROUTING -j MASQUERADE\nCOMMIT\n";
  for (const char* program : {"iptables-nft-restore", "iptables-legacy-restore"}) {
    Feed({program, "--noflush"}, portmap);
  }
  const std::string before = Everything();
  for (const char* program : {"iptables-nft-restore", "iptables-legacy-restore"}) {
    Feed({program, "--noflush"},
         "*nat\n:KUBE-SERVICES - [0:0]\n-A OUTPUT -j KUBE-SERVICES\n"
         "-A KUBE-SERVICES -j KUBE-MARK-MASQ\nCOMMIT\n");
  }
  const CleanupReport report = RemoveKubeProxy(stage.Kernel(), {});
  CHECK(report.failed.empty());
  CHECK(report.kept.size() == 4);
  CHECK(Everything() == before);
}

TEST_CASE("ipsets that somebody else uses are named, and the others go") {
  Stage stage;
  Feed({"ipset", "restore"}, testing::KubeProxyIpsetText(false));
  Feed({"iptables-nft-restore", "--noflush"},
       "*filter\n-A INPUT -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT\nCOMMIT\n");
  const CleanupReport report = RemoveKubeProxy(stage.Kernel(), {});
  REQUIRE(report.failed.size() == 1);
  CHECK(report.failed[0].item == CleanupItem{"ipset", "KUBE-CLUSTER-IP"});
  CHECK(absl::StrContains(report.failed[0].why, "in use"));
  CHECK(report.removed.size() == 7);
  CHECK(Run("ipset list -n") == "KUBE-MINE\nKUBE-CLUSTER-IP\n");
}

TEST_CASE("the device of VIPs is read, and loses addresses, or all of them") {
  NetworkNamespace network;
  auto opened = NetlinkVipDevice::Open();
  REQUIRE(opened.ok());
  NetlinkVipDevice& device = **opened;
  CHECK(*device.Read() == std::nullopt);
  CHECK(device.Delete().ok());
  CHECK(device.DeleteAddresses({Ip("10.96.0.1")})[0].ok());

  // Of another kind where the kernel has no such devices: that makes no difference here.
  Run("ip link add kube-ipvs0 type dummy 2>/dev/null || ip link add kube-ipvs0 type bridge");
  Run("ip addr add 192.0.2.5/24 dev lo; ip addr add 10.96.0.3/32 dev lo");
  for (const char* address : {"10.96.0.1/32", "10.96.0.2/32", "10.96.0.3/32", "fd00:96::1/128"}) {
    Run(absl::StrCat("ip addr add ", address, " dev kube-ipvs0"));
  }
  auto found = device.Read();
  REQUIRE(found.ok());
  REQUIRE(found->has_value());
  CHECK(((*found)->kind == "dummy" || (*found)->kind == "bridge"));
  CHECK((*found)->addresses == std::vector<IpAddress>{Ip("10.96.0.1"), Ip("10.96.0.2"),
                                                      Ip("10.96.0.3"), Ip("fd00:96::1")});
  for (const absl::Status& status :
       device.DeleteAddresses({Ip("10.96.0.2"), Ip("10.96.0.9"), Ip("fd00:96::1")})) {
    INFO(status);
    CHECK(status.ok());
  }
  found = device.Read();
  CHECK((*found)->addresses == std::vector<IpAddress>{Ip("10.96.0.1"), Ip("10.96.0.3")});
  CHECK(device.Delete().ok());
  CHECK(*device.Read() == std::nullopt);
  CHECK(absl::StrContains(Run("ip addr show dev lo"), "10.96.0.3/32"));
}

TEST_CASE("of Fairlead's own the routes and the table go, and what is beside them stays") {
  Stage stage;
  const std::string before = Everything();
  auto made = NftFirewall::Open();
  REQUIRE(made.ok());
  auto firewall = FoundFirewall::Open();
  REQUIRE(firewall.ok());
  auto routes = NetlinkRoutes::Open();
  REQUIRE(routes.ok());
  CHECK(absl::IsNotFound((*firewall)->Dump().status()));
  const auto web = ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, Ip("10.96.0.1"), 80);
  const auto mark = ipvs::VirtualServerKey::ForMark(IpFamily::kIpv6, 0x46000001);
  const std::vector<Element> elements = {
      OwnedElement(web),
      OwnedElement(mark),
      {.set = SetName::kServed, .address = web.address, .port = 80}};
  ipvs::MemoryTable table;
  OwnedKernel kernel{.table = &table,
                     .firewall = **firewall,
                     .routes = **routes,
                     .delete_firewall = DeleteFirewallTable};
  const auto make = [&] {
    REQUIRE((*made)->EnsureRuleset(RulesetText({})).ok());
    for (const Element& element : elements) {
      REQUIRE((*made)->Apply({{ElementChange::Verb::kAdd, element}}).ok());
    }
    for (const char* vip : {"10.96.0.1", "10.96.0.2", "fd00:96::1"}) {
      REQUIRE((*routes)->Apply({{RouteChange::Verb::kPut, {Ip(vip), std::nullopt}}})[0].ok());
    }
    for (const auto& key : {web, mark}) {
      const auto config = ipvs::VirtualServerConfig::ForFamily(key.family, "rr");
      REQUIRE(table.Apply({ipvs::Operation::AddVirtualServer(key, config)})[0].ok());
    }
  };
  const std::vector<CleanupItem> expected = {{"route", "10.96.0.1"},
                                             {"route", "10.96.0.2"},
                                             {"route", "fd00:96::1"},
                                             {"virtual server", "TCP 10.96.0.1:80"},
                                             {"virtual server", "FWM 1174405121 IPv6"},
                                             {"table", "inet fairlead"}};
  SECTION("as it was made") {
    make();
    const std::string with = Everything();
    CHECK(PlanOwnedRemoval(FindOwned(kernel), {}).removed == expected);
    CHECK(Everything() == with);
    const CleanupReport report = RemoveOwned(kernel, {});
    CHECK(report.removed == expected);
    CHECK(Names(report.failed) == Lines{});
  }
  SECTION("with sets that somebody deleted") {
    make();
    Run("nft flush table inet fairlead; nft delete set inet fairlead hairpin4; "
        "nft delete set inet fairlead served4");
    CHECK(absl::IsNotFound((*made)->Dump().status()));
    CHECK(RemoveOwned(kernel, {}).removed == expected);
  }
  CHECK(Everything() == before);
  CHECK(table.Dump()->empty());
  CHECK(RemoveOwned(kernel, {}) == CleanupReport{});
  CHECK(DeleteFirewallTable().ok());
}

}  // namespace
}  // namespace fairlead
