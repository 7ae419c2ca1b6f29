#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "proxy/doctor/checks.h"

namespace fairlead {
namespace {

constexpr char kRemoveLeftovers[] =
    "fairlead cleanup --kube-proxy --dry-run shows them, without --dry-run it removes them";
// So many are named, of many.
constexpr size_t kExamples = 3;

std::string Examples(absl::Span<const std::string> all) {
  std::string text = absl::StrJoin(all.subspan(0, kExamples), ", ");
  if (all.size() > kExamples) absl::StrAppend(&text, " and ", all.size() - kExamples, " more");
  return text;
}

bool Runs(const ProxyFacts& proxies, absl::string_view program) {
  return std::find(proxies.processes.begin(), proxies.processes.end(), program) !=
         proxies.processes.end();
}

Finding CheckKubeProxy(const ProxyFacts& proxies, const AgentFacts& agent) {
  Finding finding = {.check = "proxies.kube-proxy",
                     .message = "No kube-proxy runs.",
                     .evidence = "no process of that name that can be seen from here"};
  if (!Runs(proxies, "kube-proxy")) return finding;
  finding.severity = agent.asked.ok() ? Severity::kError : Severity::kWarning;
  finding.message = "kube-proxy runs on this node, and serves the same Services.";
  finding.evidence = "a process kube-proxy";
  finding.fix =
      "keep it from this node (kubectl -n kube-system edit daemonset kube-proxy), then "
      "fairlead cleanup --kube-proxy";
  return finding;
}

std::vector<Finding> CheckLeftovers(const ProxyFacts& proxies) {
  std::vector<Finding> findings;
  const bool runs = Runs(proxies, "kube-proxy");
  const auto add = [&](const char* check, const char* message, const std::string& evidence) {
    findings.push_back({.check = check,
                        .severity = Severity::kWarning,
                        .message = message,
                        .evidence = evidence,
                        .fix = runs ? "stop kube-proxy first" : kRemoveLeftovers});
  };
  if (proxies.kube_ipvs_device) {
    add("proxies.kube-ipvs0", "The device of kube-proxy's IPVS mode is there, with its addresses.",
        "device kube-ipvs0");
  }
  if (!proxies.iptables_chains.empty()) {
    add("proxies.kube-chains", "There are iptables chains of kube-proxy, which packets go through.",
        absl::StrCat(proxies.iptables_chains.size(),
                     proxies.iptables_chains.size() == 1 ? " chain: " : " chains: ",
                     Examples(proxies.iptables_chains)));
  }
  std::vector<std::string> tables;
  for (const std::string& table : proxies.nft_tables) {
    if (absl::EndsWith(table, " kube-proxy")) tables.push_back(absl::StrCat("table ", table));
  }
  if (!tables.empty()) {
    add("proxies.kube-table",
        "The table of kube-proxy's nftables mode is there, which packets go through.",
        Examples(tables));
  }
  if (findings.empty()) {
    findings.push_back({.check = "proxies.leftovers",
                        .message = "Nothing of kube-proxy is left.",
                        .evidence = "no kube-ipvs0, no chains KUBE-SERVICES, no table kube-proxy"});
  }
  return findings;
}

std::vector<Finding> CheckOthers(const ProxyFacts& proxies) {
  std::vector<Finding> findings;
  if (Runs(proxies, "keepalived")) {
    findings.push_back({.check = "proxies.keepalived",
                        .severity = Severity::kNote,
                        .message = "keepalived runs; its virtual servers are left alone.",
                        .evidence = "a process keepalived",
                        .fix = ""});
  }
  if (Runs(proxies, "kube-router")) {
    findings.push_back({.check = "proxies.kube-router",
                        .severity = Severity::kWarning,
                        .message = "kube-router runs; with its service proxy it serves the same "
                                   "Services by the same table.",
                        .evidence = "a process kube-router",
                        .fix = "give kube-router --run-service-proxy=false"});
  }
  if (proxies.cilium_maps) {
    findings.push_back({.check = "proxies.cilium",
                        .severity = Severity::kWarning,
                        .message = "Cilium is on this node; where it replaces kube-proxy, packets "
                                   "to Services never come to IPVS.",
                        .evidence = "maps cilium_lb4_services_v2 or cilium_lb6_services_v2",
                        .fix =
                            "kubectl -n kube-system exec ds/cilium -- cilium-dbg status | grep "
                            "KubeProxyReplacement; if it is on, set kubeProxyReplacement=false"});
  }
  return findings;
}

Finding CheckForeign(const TableFacts& table) {
  Finding finding = {.check = "proxies.foreign-servers",
                     .message = "All virtual servers are Fairlead's.",
                     .evidence = absl::StrCat(table.virtual_servers, " virtual servers")};
  if (table.foreign.empty()) return finding;
  std::vector<std::string> names;
  for (const ipvs::VirtualServerKey& key : table.foreign) names.push_back(key.Format());
  finding.severity = Severity::kNote;
  finding.message = "There are virtual servers of others; Fairlead leaves them alone.";
  finding.evidence =
      absl::StrCat(names.size(), " of ", table.virtual_servers, ": ", Examples(names));
  return finding;
}

}  // namespace

std::vector<Finding> CheckProxies(const ProxyFacts& proxies, const TableFacts& table,
                                  const AgentFacts& agent) {
  std::vector<Finding> findings = {CheckKubeProxy(proxies, agent)};
  for (const auto& more : {CheckLeftovers(proxies), CheckOthers(proxies)}) {
    findings.insert(findings.end(), more.begin(), more.end());
  }
  if (table.read.ok()) findings.push_back(CheckForeign(table));
  return findings;
}

}  // namespace fairlead
