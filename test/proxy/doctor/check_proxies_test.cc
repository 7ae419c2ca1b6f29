#include "expect.h"
#include "healthy_node.h"
#include "proxy/doctor/checks.h"

namespace fairlead {
namespace {

std::vector<Finding> Check(const Facts& facts) {
  return CheckProxies(facts.proxies, facts.table, facts.agent);
}

TEST_CASE("other proxies and what they leave are found") {
  struct Row {
    std::string name;
    std::function<void(Facts&)> change;
    std::vector<std::string> complaints;
  };
  const std::vector<Row> rows = {
      {"kube-proxy beside an agent",
       [](Facts& facts) { facts.proxies.processes = {"kube-proxy"}; },
       {"error proxies.kube-proxy"}},
      {"kube-proxy alone",
       [](Facts& facts) {
         facts.proxies.processes = {"kube-proxy"};
         facts.agent.asked = absl::UnavailableError("nobody");
       },
       {"warning proxies.kube-proxy"}},
      {"the device of its IPVS mode",
       [](Facts& facts) { facts.proxies.kube_ipvs_device = true; },
       {"warning proxies.kube-ipvs0"}},
      {"its chains",
       [](Facts& facts) { facts.proxies.iptables_chains = {"ip nat KUBE-SERVICES"}; },
       {"warning proxies.kube-chains"}},
      {"its table",
       [](Facts& facts) {
         facts.proxies.nft_tables = {"ip kube-proxy", "inet fairlead"};
       },
       {"warning proxies.kube-table"}},
      {"tables of others",
       [](Facts& facts) {
         facts.proxies.nft_tables = {"inet filter", "inet fairlead", "ip nat"};
       },
       {}},
      {"keepalived",
       [](Facts& facts) { facts.proxies.processes = {"keepalived"}; },
       {"note proxies.keepalived"}},
      {"kube-router",
       [](Facts& facts) { facts.proxies.processes = {"kube-router"}; },
       {"warning proxies.kube-router"}},
      {"Cilium",
       [](Facts& facts) { facts.proxies.cilium_maps = true; },
       {"warning proxies.cilium"}},
      {"virtual servers of others",
       [](Facts& facts) {
         facts.table.foreign = {ipvs::VirtualServerKey::ForMark(IpFamily::kIpv4, 7)};
       },
       {"note proxies.foreign-servers"}},
      {"everything of kube-proxy",
       [](Facts& facts) {
         facts.proxies.processes = {"kube-proxy"};
         facts.proxies.kube_ipvs_device = true;
         facts.proxies.iptables_chains = {"ip nat KUBE-SERVICES"};
         facts.proxies.nft_tables = {"ip kube-proxy"};
       },
       {"error proxies.kube-proxy", "warning proxies.kube-ipvs0", "warning proxies.kube-chains",
        "warning proxies.kube-table"}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Facts facts = HealthyNode();
    row.change(facts);
    CHECK(Complaints(Check(facts)) == row.complaints);
  }
}

TEST_CASE("of many the first few are named") {
  Facts facts = HealthyNode();
  facts.proxies.iptables_chains = {"ip nat KUBE-A", "ip nat KUBE-B", "ip nat KUBE-C",
                                   "ip nat KUBE-D", "ip nat KUBE-E"};
  const Finding expected = {
      .check = "proxies.kube-chains",
      .severity = Severity::kWarning,
      .message = "There are iptables chains of kube-proxy, which packets go through.",
      .evidence = "5 chains: ip nat KUBE-A, ip nat KUBE-B, ip nat KUBE-C and 2 more",
      .fix =
          "fairlead cleanup --kube-proxy --dry-run shows them, without --dry-run it removes "
          "them"};
  CHECK(Only(Check(facts), "proxies.kube-chains") == expected);
  // What runs would make them again.
  facts.proxies.processes = {"kube-proxy"};
  CHECK(Only(Check(facts), "proxies.kube-chains").fix == "stop kube-proxy first");
}

}  // namespace
}  // namespace fairlead
