#include "proxy/cleanup/iptables_removal.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace fairlead {
namespace {

constexpr absl::string_view kMarkMasquerade = "KUBE-MARK-MASQ";
constexpr absl::string_view kPostrouting = "KUBE-POSTROUTING";

// pkg/proxy/iptables/proxier.go and pkg/proxy/ipvs/proxier.go. Not among them, since kubelet makes
// them: KUBE-FIREWALL, KUBE-KUBELET-CANARY, KUBE-IPTABLES-HINT, and KUBE-MARK-DROP of older ones.
constexpr absl::string_view kNatChains[] = {
    "KUBE-SERVICES",     "KUBE-NODEPORTS", kPostrouting,        kMarkMasquerade,
    "KUBE-PROXY-CANARY", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER"};
constexpr absl::string_view kFilterChains[] = {"KUBE-SERVICES",       "KUBE-EXTERNAL-SERVICES",
                                               "KUBE-FORWARD",        "KUBE-NODEPORTS",
                                               "KUBE-PROXY-FIREWALL", "KUBE-PROXY-CANARY",
                                               "KUBE-NODE-PORT",      "KUBE-SOURCE-RANGES-FIREWALL",
                                               "KUBE-IPVS-FILTER",    "KUBE-IPVS-OUT-FILTER"};
constexpr absl::string_view kMangleChains[] = {"KUBE-PROXY-CANARY"};
// Of Services and endpoints: followed by a hash. KUBE-XLB- was KUBE-EXT- before 1.24.
constexpr absl::string_view kHashed[] = {"KUBE-SVC-", "KUBE-SVL-", "KUBE-FW-",
                                         "KUBE-EXT-", "KUBE-SEP-", "KUBE-XLB-"};
constexpr size_t kHashLength = 16;

// To which kube-proxy jumps from built-in chains (iptablesJumpChain(s) there).
constexpr absl::string_view kEntries[] = {
    "KUBE-SERVICES",    "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD",
    "KUBE-NODEPORTS",   "KUBE-NODE-PORT",         "KUBE-PROXY-FIREWALL",
    "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER",   kPostrouting};

template <typename Names>
bool IsIn(const Names& names, absl::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool HasHash(absl::string_view chain) {
  return std::any_of(std::begin(kHashed), std::end(kHashed), [chain](absl::string_view prefix) {
    if (!absl::StartsWith(chain, prefix)) return false;
    const absl::string_view hash = chain.substr(prefix.size());
    // Base 32, as RFC 4648 has it.
    return hash.size() == kHashLength && std::all_of(hash.begin(), hash.end(), [](char c) {
             return (c >= 'A' && c <= 'Z') || (c >= '2' && c <= '7');
           });
  });
}

// The word that `text` begins with, without its quotes, removed from it. Within quotes a backslash
// stands before a quote and a backslash (iptables, xtables_save_string).
std::string TakeWord(absl::string_view& text) {
  text = absl::StripLeadingAsciiWhitespace(text);
  std::string word;
  bool quoted = false;
  size_t i = 0;
  for (; i < text.size(); ++i) {
    if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && text[i] == ' ') {
      break;
    } else {
      if (quoted && text[i] == '\\' && i + 1 < text.size()) ++i;
      word += text[i];
    }
  }
  text.remove_prefix(i);
  return word;
}

std::string TargetOf(absl::string_view text) {
  while (!text.empty()) {
    // An option is never in quotes.
    const absl::string_view rest = absl::StripLeadingAsciiWhitespace(text);
    const bool quoted = absl::StartsWith(rest, "\"");
    const std::string word = TakeWord(text);
    if (!quoted && (word == "-j" || word == "-g")) return TakeWord(text);
  }
  return "";
}

absl::Status BadLine(size_t number, absl::string_view line) {
  return absl::InvalidArgumentError(
      absl::StrCat("line ", number, " is not understood: ", line.substr(0, 200)));
}

// ":NAME POLICY [PACKETS:BYTES]".
bool ParseChain(absl::string_view line, IptablesTable& table) {
  const std::vector<absl::string_view> words = absl::StrSplit(line.substr(1), ' ');
  if (words.size() < 2 || words[0].empty()) return false;
  table.chains.push_back({std::string(words[0]), std::string(words[1])});
  return true;
}

// "-A NAME …".
bool ParseRule(absl::string_view line, IptablesTable& table) {
  line.remove_prefix(3);
  const size_t blank = line.find(' ');
  IptablesRule rule;
  rule.chain = std::string(line.substr(0, blank));
  if (rule.chain.empty()) return false;
  if (blank != absl::string_view::npos) rule.text = std::string(line.substr(blank + 1));
  rule.target = TargetOf(rule.text);
  table.rules.push_back(std::move(rule));
  return true;
}

// What stays of kube-proxy's chains in a table: each with its user.
std::map<std::string, std::string> FindKept(const IptablesTable& table,
                                            const std::set<std::string>& ours,
                                            const std::set<std::string>& built_in) {
  std::map<std::string, std::string> kept;
  std::vector<std::string> to_look_at;
  const auto keep = [&](const std::string& chain, const std::string& user) {
    if (ours.contains(chain) && kept.emplace(chain, user).second) to_look_at.push_back(chain);
  };
  for (const IptablesRule& rule : table.rules) {
    if (ours.contains(rule.chain)) continue;
    if (built_in.contains(rule.chain) && IsIn(kEntries, rule.target)) continue;
    keep(rule.target, rule.chain);
  }
  std::multimap<std::string, std::string> leads_to;
  for (const IptablesRule& rule : table.rules) leads_to.emplace(rule.chain, rule.target);
  while (!to_look_at.empty()) {
    const std::string chain = to_look_at.back();
    to_look_at.pop_back();
    const std::string user = kept[chain];
    if (chain == kMarkMasquerade) keep(std::string(kPostrouting), user);
    const auto [first, last] = leads_to.equal_range(chain);
    for (auto it = first; it != last; ++it) keep(it->second, user);
  }
  return kept;
}

IptablesRemoval PlanTable(const IptablesTable& table) {
  std::set<std::string> ours;
  std::set<std::string> built_in;
  IptablesRemoval removal;
  removal.table = table.name;
  bool forward_drops = false;
  for (const IptablesChain& chain : table.chains) {
    if (chain.built_in()) {
      built_in.insert(chain.name);
      forward_drops |= chain.name == "FORWARD" && chain.policy == "DROP";
    } else if (IsKubeProxyChain(table.name, chain.name)) {
      ours.insert(chain.name);
    }
  }
  const std::map<std::string, std::string> kept = FindKept(table, ours, built_in);
  for (const auto& [chain, user] : kept) removal.kept.push_back({chain, user});
  const auto goes = [&](const std::string& chain) {
    return ours.contains(chain) && !kept.contains(chain);
  };
  for (const std::string& chain : ours) {
    if (goes(chain)) removal.chains.push_back(chain);
  }
  for (const IptablesRule& rule : table.rules) {
    if (built_in.contains(rule.chain) && goes(rule.target)) removal.jumps.push_back(rule);
  }
  removal.forward_policy_drops = table.name == "filter" && forward_drops && goes("KUBE-FORWARD");
  return removal;
}

}  // namespace

bool IsKubeProxyChain(absl::string_view table, absl::string_view chain) {
  if (table == "nat") return IsIn(kNatChains, chain) || HasHash(chain);
  // Since 1.26 those of load balancers' source ranges are here.
  if (table == "filter") return IsIn(kFilterChains, chain) || HasHash(chain);
  return table == "mangle" && IsIn(kMangleChains, chain);
}

absl::StatusOr<IptablesSave> ParseIptablesSave(absl::string_view text) {
  IptablesSave save;
  bool in_table = false;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (line.empty()) continue;
    if (line[0] == '#') {
      if (absl::StrContains(line, "incompatible")) {
        save.incomplete.emplace_back(absl::StripAsciiWhitespace(line.substr(1)));
      }
      continue;
    }
    if (line[0] == '*' && !in_table) {
      save.tables.push_back({.name = std::string(line.substr(1)), .chains = {}, .rules = {}});
      in_table = true;
    } else if (line == "COMMIT" && in_table) {
      in_table = false;
    } else if (line[0] == ':' && in_table) {
      if (!ParseChain(line, save.tables.back())) return BadLine(number, line);
    } else if (absl::StartsWith(line, "-A ") && in_table) {
      if (!ParseRule(line, save.tables.back())) return BadLine(number, line);
    } else {
      return BadLine(number, line);
    }
  }
  if (in_table) return absl::InvalidArgumentError("the output ends within a table");
  return save;
}

std::string IptablesRemoval::RestoreText() const {
  std::string text = absl::StrCat("*", table, "\n");
  // A chain that is named goes empty first, so that none refers to another when it goes.
  for (const std::string& chain : chains) absl::StrAppend(&text, ":", chain, " - [0:0]\n");
  for (const IptablesRule& rule : jumps) {
    absl::StrAppend(&text, "-D ", rule.chain, " ", rule.text, "\n");
  }
  for (const std::string& chain : chains) absl::StrAppend(&text, "-X ", chain, "\n");
  return text + "COMMIT\n";
}

std::vector<IptablesRemoval> PlanIptablesRemoval(const std::vector<IptablesTable>& tables) {
  std::vector<IptablesRemoval> removals;
  for (const absl::string_view name : {"filter", "nat", "mangle"}) {
    for (const IptablesTable& table : tables) {
      if (table.name != name) continue;
      IptablesRemoval removal = PlanTable(table);
      if (!removal.empty() || !removal.kept.empty()) removals.push_back(std::move(removal));
    }
  }
  return removals;
}

}  // namespace fairlead
