#include "proxy/cleanup/kube_proxy.h"

#include <linux/netfilter.h>

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "memory_kube_proxy.h"

namespace fairlead::testing {
namespace {

using ipvs::Protocol;
using Lines = std::vector<std::string>;

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

const Lines kForeigners = {"TCP 172.18.0.11:80", "TCP 192.0.2.1:30080", "UDP 172.18.0.11:30080",
                           "FWM 7 IPv4"};
const Lines kRules = {
    "rule iptables-nft filter -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j "
    "KUBE-FORWARD",
    "chain iptables-nft filter KUBE-FORWARD",
    "rule iptables-nft nat -A PREROUTING -m comment --comment \"kubernetes service portals\" -j "
    "KUBE-SERVICES",
    "chain iptables-nft nat KUBE-SERVICES"};
constexpr char kForwardNote[] =
    "iptables-nft: the policy of FORWARD is DROP, and KUBE-FORWARD let packets of Services "
    "through. Make sure that a rule of the network plugin or of yours lets pods' packets through: "
    "iptables -L FORWARD";

Lines Everything() {
  Lines lines = {"device kube-ipvs0 with 2 addresses", "virtual server TCP 10.96.0.1:443",
                 "virtual server TCP 172.18.0.11:30080", "virtual server UDP 10.96.0.2:53"};
  lines.insert(lines.end(), kRules.begin(), kRules.end());
  for (const char* line : {"table ip kube-proxy", "ipset KUBE-CLUSTER-IP", "ipset KUBE-IPVS-IPS",
                           "ipset KUBE-NODE-PORT-TCP"}) {
    lines.emplace_back(line);
  }
  return lines;
}

TEST_CASE("what kube-proxy left goes, kube-ipvs0 first, and nothing else") {
  MemoryNode node;
  const CleanupReport rehearsed = PlanKubeProxyRemoval(FindKubeProxy(node.Kernel()));
  CHECK(Names(rehearsed.removed) == Everything());
  CHECK(rehearsed.notes == Lines{kForwardNote});
  CHECK(node.log.empty());

  const CleanupReport report = RemoveKubeProxy(node.Kernel(), {});
  CHECK(report == rehearsed);
  CHECK(node.log == Lines{"server UDP 10.96.0.2:53", "server TCP 172.18.0.11:30080",
                          "server TCP 10.96.0.1:443", "iptables-nft filter device 0",
                          "iptables-nft nat device 0", "table ip kube-proxy device 0",
                          "destroy KUBE-CLUSTER-IP", "destroy KUBE-IPVS-IPS",
                          "destroy KUBE-NODE-PORT-TCP"});
  CHECK_FALSE(node.device.device.has_value());
  CHECK(node.Servers() == kForeigners);
  CHECK(node.restored["iptables-nft-restore filter"] ==
        "*filter\n:KUBE-FORWARD - [0:0]\n"
        "-D FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n"
        "-X KUBE-FORWARD\nCOMMIT\n");
}

TEST_CASE("while Fairlead serves, rules go first, and its own virtual servers stay") {
  MemoryNode node;
  node.Own(Server(Protocol::kTcp, "10.96.0.1", 443));
  node.Own(Server(Protocol::kTcp, "172.18.0.11", 30080), /*with_route=*/false);
  const CleanupReport report = RemoveKubeProxy(node.Kernel(), {.serving = true});
  CHECK(report.failed.empty());
  CHECK(node.log == Lines{"iptables-nft filter device 1", "iptables-nft nat device 1",
                          "table ip kube-proxy device 1", "server UDP 10.96.0.2:53",
                          "destroy KUBE-CLUSTER-IP", "destroy KUBE-IPVS-IPS",
                          "destroy KUBE-NODE-PORT-TCP"});
  CHECK_FALSE(node.device.device.has_value());
  CHECK(node.Servers() == Lines{"TCP 10.96.0.1:443", "TCP 172.18.0.11:80", "TCP 172.18.0.11:30080",
                                "TCP 192.0.2.1:30080", "UDP 172.18.0.11:30080", "FWM 7 IPv4"});
}

TEST_CASE("while Fairlead serves, an address stays to which it has no route yet") {
  MemoryNode node;
  node.Own(Server(Protocol::kTcp, "10.96.0.1", 443), /*with_route=*/false);
  const CleanupReport report = RemoveKubeProxy(node.Kernel(), {.serving = true});
  CHECK(Names(report.failed) ==
        Lines{"device kube-ipvs0: Fairlead serves 1 of its addresses and has no route to them yet, "
              "10.96.0.1 among them"});
  CHECK(node.device.device->addresses == std::vector<IpAddress>{Ip("10.96.0.1")});
  // They tell what is to be done the next time.
  CHECK(Names(report.kept) ==
        Lines{"ipset KUBE-IPVS-IPS: tells which virtual servers are kube-proxy's, and not all is "
              "gone",
              "ipset KUBE-NODE-PORT-TCP: tells which virtual servers are kube-proxy's, and not all "
              "is gone"});

  REQUIRE(node.routes.Apply({{RouteChange::Verb::kPut, {Ip("10.96.0.1"), std::nullopt}}})[0].ok());
  CHECK(RemoveKubeProxy(node.Kernel(), {.serving = true}).failed.empty());
  CHECK_FALSE(node.device.device.has_value());
  CHECK(node.Servers()[0] == "TCP 10.96.0.1:443");

  // Nobody knows what it serves: nothing is taken away.
  MemoryNode other;
  other.firewall.DeleteTable();
  CHECK(Names(RemoveKubeProxy(other.Kernel(), {.serving = true}).failed) ==
        Lines{"device kube-ipvs0: no table"});
  CHECK(other.device.device->addresses.size() == 2);
}

TEST_CASE("where no ipset tells of the VIPs, virtual servers go before kube-ipvs0") {
  MemoryNode node;
  node.ipset_save = "create KUBE-CLUSTER-IP hash:ip,port family inet\n";
  const auto busy = absl::UnavailableError("busy");
  node.table.FailWhen([](const ipvs::Operation& op) { return op.virtual_server.port == 53; },
                      {busy});
  const CleanupReport report = RemoveKubeProxy(node.Kernel(), {});
  CHECK(Names(report.failed) == Lines{"virtual server UDP 10.96.0.2:53: busy"});
  CHECK(Names(report.kept) == Lines{"device kube-ipvs0: its addresses tell which virtual servers "
                                    "are kube-proxy's, and some are left"});
  node.table.ClearFailures();
  CHECK(RemoveKubeProxy(node.Kernel(), {}).failed.empty());
  CHECK_FALSE(node.device.device.has_value());
}

TEST_CASE("an interrupted removal goes on by what the ipsets tell") {
  MemoryNode node;
  node.device.device.reset();
  node.addresses = {{Ip("172.18.0.11"), "eth0"}};
  Lines expected = Everything();
  expected.erase(expected.begin());
  CHECK(Names(RemoveKubeProxy(node.Kernel(), {}).removed) == expected);
  CHECK(node.Servers() == kForeigners);
}

TEST_CASE("a device of another kind is not kube-proxy's, nor are virtual servers on it") {
  MemoryNode node;
  node.device.device->kind = "bridge";
  node.ipset_save = "";
  const CleanupReport report = RemoveKubeProxy(node.Kernel(), {});
  CHECK(report.notes[0] ==
        "the device kube-ipvs0 is of the kind \"bridge\", not \"dummy\": kube-proxy did not make "
        "it, and it is left alone");
  CHECK(node.device.device.has_value());
  CHECK(node.Servers().size() == 7);
  CHECK(Names(report.removed) ==
        Lines{kRules[0], kRules[1], kRules[2], kRules[3], "table ip kube-proxy"});
}

TEST_CASE("of a program that is missing it is said what could not be looked at") {
  struct Row {
    std::string name;
    std::set<std::string> missing;
    std::set<IpFamily> legacy;
    std::map<std::string, std::string> others;  // Programs, and what they print.
    Lines failed;
    std::string program;  // By which rules went.
  };
  const Lines no_nft = {
      "iptables iptables-nft: there are tables, and no program iptables-nft-save (package "
      "iptables) to look at them with: what kube-proxy has there stays"};
  const Lines no_legacy = {
      "iptables ip6tables-legacy: there are tables, and no program ip6tables-legacy-save (package "
      "iptables) to look at them with: what kube-proxy has there stays"};
  const std::string text = "*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n";
  const std::vector<Row> rows = {
      {"none", {}, {}, {}, {}, "iptables-nft-restore filter"},
      {"iptables-nft", {"iptables-nft-save"}, {}, {}, no_nft, ""},
      {"iptables-nft, but iptables is it",
       {"iptables-nft-save"},
       {},
       {{"iptables-save", "v1.8.9 (nf_tables)"}, {"iptables-restore", ""}},
       {},
       ""},
      {"iptables-nft, and iptables is the other one",
       {"iptables-nft-save"},
       {},
       {{"iptables-save", "v1.8.9 (legacy)"}, {"iptables-restore", ""}},
       no_nft,
       ""},
      {"iptables-legacy of IPv6", {}, {IpFamily::kIpv6}, {}, no_legacy, ""},
      {"iptables-legacy of IPv6, but there is an old ip6tables",
       {},
       {IpFamily::kIpv6},
       {{"ip6tables-save", text}, {"ip6tables-restore", ""}},
       {},
       "ip6tables-restore mangle"},
      {"ipset",
       {"ipset"},
       {},
       {},
       {"ipset all: no program ipset: kube-proxy's ipsets, and its virtual servers of node ports, "
        "could not be looked for"},
       "iptables-nft-restore nat"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    MemoryNode node;
    for (const std::string& program : row.missing) node.outputs.erase(program);
    node.outputs.insert(row.others.begin(), row.others.end());
    node.legacy = row.legacy;
    if (absl::StrContains(row.name, "but iptables is it")) {
      // The same program prints its version and its tables: those are not to be parsed here.
      node.outputs["iptables-save"] = absl::StrCat("# (nf_tables)\n", text);
      node.outputs["iptables-restore"] = "";
    }
    const CleanupReport report = RemoveKubeProxy(node.Kernel(), {});
    CHECK(Names(report.failed) == row.failed);
    if (!row.program.empty()) CHECK(node.restored.contains(row.program));
    // The other things go all the same.
    CHECK_FALSE(node.device.device.has_value());
    CHECK(absl::StrContains(absl::StrJoin(node.log, "\n"), "table ip kube-proxy"));
  }
}

TEST_CASE("without ipset and without kube-ipvs0 there is nothing to fail") {
  MemoryNode node;
  node.device.device.reset();
  node.outputs.erase("ipset");
  const CleanupReport report = RemoveKubeProxy(node.Kernel(), {});
  CHECK(report.failed.empty());
  CHECK(report.notes.back() ==
        "no program ipset: kube-proxy's ipsets, and its virtual servers of node ports, could not "
        "be looked for");
}

TEST_CASE("each thing that cannot be removed is named, and the others go") {
  struct Row {
    std::string name;
    std::string failing;  // The last word of a command.
    absl::Status status;
    Lines failed;
    Lines kept;
  };
  const auto refused = absl::FailedPreconditionError("refused");
  const std::vector<Row> rows = {
      {"a table of iptables",
       "--noflush",
       refused,
       {"iptables iptables-nft filter: refused", "iptables iptables-nft nat: refused"},
       {}},
      {"an ipset", "KUBE-CLUSTER-IP", refused, {"ipset KUBE-CLUSTER-IP: refused"}, {}},
      {"an ipset that went meanwhile",
       "KUBE-CLUSTER-IP",
       absl::FailedPreconditionError("The set with the given name does not exist"),
       {},
       {}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    MemoryNode node;
    node.failures[row.failing] = row.status;
    const CleanupReport report = RemoveKubeProxy(node.Kernel(), {});
    CHECK(Names(report.failed) == row.failed);
    CHECK(Names(report.kept) == row.kept);
    CHECK(node.Servers() == kForeigners);
    CHECK(node.log.back() == "destroy KUBE-NODE-PORT-TCP");
  }
}

TEST_CASE("an ipset that a kept chain uses is kept") {
  MemoryNode node;
  node.outputs["iptables-nft-save"] =
      "*nat\n:CNI-X - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n-A CNI-X -j KUBE-MARK-MASQ\nCOMMIT\n";
  node.failures["KUBE-CLUSTER-IP"] =
      absl::FailedPreconditionError("Set cannot be destroyed: it is in use by a kernel component");
  const CleanupReport report = RemoveKubeProxy(node.Kernel(), {});
  CHECK(report.failed.empty());
  CHECK(Names(report.kept) ==
        Lines{"chain iptables-nft nat KUBE-MARK-MASQ: rules in CNI-X, which is not kube-proxy's, "
              "need it",
              "ipset KUBE-CLUSTER-IP: a chain that is kept needs it"});
}

TEST_CASE("without the record of what is Fairlead's no virtual server goes") {
  MemoryNode node;
  node.firewall.FailNextCalls(1, absl::UnavailableError("busy"));
  const CleanupReport report = RemoveKubeProxy(node.Kernel(), {});
  CHECK(Names(report.failed) == Lines{"virtual server all of kube-proxy's: busy"});
  CHECK(node.Servers().size() == 7);
}

TEST_CASE("signs of kube-proxy are found without looking at virtual servers") {
  MemoryNode node;
  node.legacy = {IpFamily::kIpv6};
  node.outputs["ip6tables-legacy-save"] = "*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n";
  node.table.FailReads(absl::UnavailableError("not to be asked"));
  CHECK(SignsOfKubeProxy(node.Kernel()) ==
        Lines{"device kube-ipvs0 with 2 addresses", "1 chains of iptables-nft",
              "1 chains of ip6tables-legacy", "nftables table ip kube-proxy"});
  CHECK(node.log.empty());

  node.device.device->kind = "bridge";
  node.nft_chains = {{{NFPROTO_IPV4, "filter"}, "KUBE-FIREWALL"}};
  node.outputs["ip6tables-legacy-save"] = "";
  node.nft_tables = {{NFPROTO_INET, "kube-proxy"}};
  CHECK(SignsOfKubeProxy(node.Kernel()).empty());
}

}  // namespace
}  // namespace fairlead::testing
