#include "proxy/kernel/ruleset.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proxy/plan/element.h"

namespace fairlead {
namespace {

constexpr absl::string_view kIdentityPrefix = "ruleset_";
constexpr absl::string_view kChainStart = "\tchain ";

struct SetText {
  SetName set;
  absl::string_view comment;
};

constexpr SetText kSets[kSetNames] = {
    {SetName::kOwned, "virtual servers that Fairlead made"},
    {SetName::kOpen, "ports of Services on guarded addresses"},
    {SetName::kGuarded, "VIPs: closed but for their open ports"},
    {SetName::kMasqueradeAlways, "source becomes the node's address, whoever it is"},
    {SetName::kMasqueradeOutsiders, "source becomes the node's address unless it is a pod"},
    {SetName::kHairpin, "endpoints on this node that may reach themselves"},
    {SetName::kDrop, "no endpoint by policy: new connections meet silence"},
};

absl::string_view KeyType(SetName set, IpFamily family) {
  const bool v4 = family == IpFamily::kIpv4;
  switch (set) {
    case SetName::kGuarded:
      return v4 ? "ipv4_addr" : "ipv6_addr";
    case SetName::kHairpin:
      return v4 ? "ipv4_addr . ipv4_addr" : "ipv6_addr . ipv6_addr";
    default:
      return v4 ? "ipv4_addr . inet_proto . inet_service" : "ipv6_addr . inet_proto . inet_service";
  }
}

std::string SetsText() {
  std::string text;
  for (const SetText& set : kSets) {
    for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
      absl::StrAppend(&text, "\tset ", FormatSetName(set.set),
                      family == IpFamily::kIpv4 ? "4" : "6", " {\n\t\ttype ",
                      KeyType(set.set, family), "\n\t\tcomment \"", set.comment, "\"\n\t}\n");
    }
  }
  return text;
}

// Priorities: IPVS takes packets at LOCAL_IN with 98 and 99, and at LOCAL_OUT with -99 and -98;
// connection tracking is at -200 (net/netfilter/ipvs/ip_vs_core.c, nf_conntrack_proto.c).
//
// What IPVS sends on passes LOCAL_OUT a second time, with the endpoint's address as destination:
// the sets hold Services' addresses only, so such packets match nothing there.
constexpr absl::string_view kFilterChains = R"nft(
	chain input {
		comment "Packets to this node, before IPVS takes those to virtual servers"
		type filter hook input priority filter; policy accept
		ct state new,invalid,untracked jump silence \
			comment "connections that are there go on"
		ip daddr @guarded4 goto guard comment "VIPs do not lead to the host's own ports"
		ip6 daddr @guarded6 goto guard comment "VIPs do not lead to the host's own ports"
	}

	chain output {
		comment "The node's own packets, before IPVS; the guard meets them in input, through lo"
		type filter hook output priority -110; policy accept
		ct state new,invalid,untracked jump silence \
			comment "connections that are there go on"
	}

	chain silence {
		comment "Services whose policy leaves no endpoint, though there are some elsewhere"
		ip daddr . meta l4proto . th dport @drop4 drop comment "no endpoint by policy"
		ip6 daddr . meta l4proto . th dport @drop6 drop comment "no endpoint by policy"
	}

	chain guard {
		comment "Packets to a VIP, whoever sends them"
		ip daddr . meta l4proto . th dport @open4 accept comment "to IPVS"
		ip6 daddr . meta l4proto . th dport @open6 accept comment "to IPVS"
		icmp type { echo-request, destination-unreachable, time-exceeded, parameter-problem } \
			accept comment "ping, and errors: IPVS passes them on to endpoints"
		icmpv6 type { echo-request, destination-unreachable, packet-too-big, time-exceeded, \
			parameter-problem } accept comment "ping, and errors: IPVS passes them on to endpoints"
		ct direction reply accept comment "to connections that the node opened from the VIP"
		meta l4proto tcp reject with tcp reset comment "closed"
		reject with icmpx port-unreachable comment "closed"
	}
)nft";

// Only a first packet of a connection gets here. Its destination is an endpoint by now, what the
// client asked for is in its connection tracking entry. One rule per protocol: nft knows the type
// of proto-dst only where the protocol is fixed.
constexpr absl::string_view kMasqueradeRule = R"nft(		$SOURCEmeta l4proto $PROTOCOL \
			ct original $IP daddr . meta l4proto . ct original proto-dst @$SET \
			masquerade fully-random comment "$WHY"
)nft";

std::string MasqueradeRules(SetName set, IpFamily family, absl::string_view source,
                            absl::string_view why) {
  const bool v4 = family == IpFamily::kIpv4;
  std::string text;
  for (const absl::string_view protocol : {"tcp", "udp", "sctp"}) {
    text += absl::StrReplaceAll(kMasqueradeRule,
                                {{"$SOURCE", source},
                                 {"$PROTOCOL", protocol},
                                 {"$IP", v4 ? "ip" : "ip6"},
                                 {"$SET", absl::StrCat(FormatSetName(set), v4 ? "4" : "6")},
                                 {"$WHY", why}});
  }
  return text;
}

// The prefixes of a family, sorted, without those that others contain: nft refuses overlaps.
std::vector<IpPrefix> Disjoint(std::vector<IpPrefix> prefixes, IpFamily family) {
  std::sort(prefixes.begin(), prefixes.end());
  std::vector<IpPrefix> result;
  for (const IpPrefix& prefix : prefixes) {
    if (prefix.family() != family) continue;
    // A prefix sorts behind those that contain it.
    if (!result.empty() && result.back().Contains(prefix.address())) continue;
    result.push_back(prefix);
  }
  return result;
}

std::string PostroutingChain(const RulesetConfig& config) {
  std::string text =
      "\n\tchain postrouting {\n"
      "\t\tcomment \"Replies come back through this node, where they get the VIP as source\"\n"
      "\t\ttype nat hook postrouting priority srcnat; policy accept\n";
  for (const absl::string_view family : {"4", "6"}) {
    const absl::string_view ip = family == "4" ? "ip" : "ip6";
    absl::StrAppend(&text, "\t\t", ip, " saddr . ", ip, " daddr @hairpin", family,
                    " masquerade fully-random comment \"an endpoint that reaches itself\"\n");
  }
  // The routes to VIPs give the node's own packets its address as source: replies come back. A
  // route without a source makes it the VIP itself, which is every node's.
  for (const absl::string_view family : {"4", "6"}) {
    absl::StrAppend(&text, "\t\t", family == "4" ? "ip" : "ip6", " saddr != @guarded", family,
                    " fib saddr type local return comment \"the node's own address\"\n");
  }
  for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    text += MasqueradeRules(SetName::kMasqueradeAlways, family, "", "from anyone");
  }
  for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    const std::vector<IpPrefix> pods = Disjoint(config.cluster_cidrs, family);
    if (pods.empty()) continue;
    const std::string source = absl::StrCat(
        "ct original ", family == IpFamily::kIpv4 ? "ip" : "ip6", " saddr != { ",
        absl::StrJoin(pods, ", ",
                      [](std::string* out, const IpPrefix& pod) { *out += pod.Format(); }),
        " } ");
    text += MasqueradeRules(SetName::kMasqueradeOutsiders, family, source, "not from pods");
  }
  return text + "\t}\n";
}

// FNV-1a, 64 bits: the same in every build, which absl::Hash is not.
uint64_t Hash(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

// Whether a line of a chain starts a rule; what is indented deeper goes on with one.
bool StartsRule(absl::string_view line) {
  return absl::ConsumePrefix(&line, "\t\t") && !absl::StartsWith(line, "\t") &&
         !absl::StartsWith(line, "comment ") && !absl::StartsWith(line, "type ");
}

}  // namespace

std::string RulesetText(const RulesetConfig& config) {
  const std::string body = absl::StrCat(SetsText(), kFilterChains, PostroutingChain(config));
  return absl::StrCat("# Loaded by `fairlead proxy`. Chains are constant, Services are in sets.\n",
                      "table inet ", kTableName, " {\n", body, "\n", kChainStart, kIdentityPrefix,
                      absl::StrFormat("%016x", Hash(body)),
                      " {\n\t\tcomment \"Names the ruleset that this table carries\"\n\t}\n}\n");
}

absl::StatusOr<RulesetShape> ShapeOf(absl::string_view ruleset) {
  RulesetShape shape;
  int* rules = nullptr;
  bool identified = false;
  for (absl::string_view line : absl::StrSplit(ruleset, '\n')) {
    if (absl::ConsumePrefix(&line, kChainStart)) {
      identified |= absl::StartsWith(line, kIdentityPrefix);
      rules = &shape[std::string(absl::StripSuffix(line, " {"))];
    } else if (line == "\t}") {
      rules = nullptr;
    } else if (rules != nullptr && StartsRule(line)) {
      ++*rules;
    }
  }
  if (!identified) return absl::InvalidArgumentError("not a ruleset of Fairlead: it has no name");
  return shape;
}

}  // namespace fairlead
