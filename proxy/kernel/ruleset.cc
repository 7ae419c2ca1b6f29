#include "proxy/kernel/ruleset.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proxy/plan/element.h"
#include "proxy/plan/prefixes.h"
#include "watcher/fnv.h"

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
    {SetName::kOwnedMark, "virtual servers for marks that Fairlead made"},
    {SetName::kServed, "ports that any new connection may reach"},
    {SetName::kOpen, "ports of Services on guarded addresses, but those served to anyone"},
    {SetName::kGuarded, "VIPs: closed but for the ports of Services"},
    {SetName::kMasqueradeAlways, "source becomes the node's address, whoever it is"},
    {SetName::kMasqueradeOutsiders, "source becomes the node's address unless it is a pod"},
    {SetName::kHairpin, "endpoints on this node that may reach themselves"},
    {SetName::kLimited, "only the sources in the set of allowed ones reach these"},
    {SetName::kAllowed, "sources that reach what is limited"},
    {SetName::kMark, "pods and the node reach every endpoint, by the mark's virtual server"},
    {SetName::kDrop, "no endpoint by policy: new connections meet silence"},
    {SetName::kReject, "no endpoint anywhere: new connections are refused"},
};

std::string KeyType(SetName set, IpFamily family) {
  const std::string address = family == IpFamily::kIpv4 ? "ipv4_addr" : "ipv6_addr";
  const std::string port = address + " . inet_proto . inet_service";
  switch (KeyOf(set)) {
    case SetKey::kAddress:
      return address;
    case SetKey::kAddressTwice:
      return address + " . " + address;
    case SetKey::kPort:
      return set == SetName::kMark ? port + " : mark" : port;
    case SetKey::kPortAndSources:
      return port + " . " + address + "\n\t\tflags interval";
    case SetKey::kMark:
      break;
  }
  return "mark";
}

std::string SetsText() {
  std::string text;
  for (const SetText& set : kSets) {
    for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
      absl::StrAppend(&text, set.set == SetName::kMark ? "\tmap " : "\tset ",
                      FormatSetName(set.set), family == IpFamily::kIpv4 ? "4" : "6",
                      " {\n\t\ttype ", KeyType(set.set, family), "\n\t\tcomment \"", set.comment,
                      "\"\n\t}\n");
    }
  }
  return text;
}

// Priorities: IPVS takes packets at LOCAL_IN with 98 and 99, and at LOCAL_OUT with -99 and -98;
// connection tracking is at -200 (net/netfilter/ipvs/ip_vs_core.c, nf_conntrack_proto.c).
//
// What IPVS sends on passes LOCAL_OUT a second time, with the endpoint's address as destination,
// and leaves by a device: what goes to a Service's address leaves by lo, since that address is
// local.
//
// Most packets are of TCP connections that are there: IPVS knows them, whatever their mark, and
// asks for a virtual server for none but a SYN. A SYN is never such a packet, though connection
// tracking may take it for one: it could open a connection to a port of the host through a VIP.
//
// Most of the others are for a port that nothing limits, marks, refuses or drops. They cost one
// lookup, once no mark of Fairlead's range is on them.
//
// IPVS compares a packet's whole mark, so Fairlead's replaces what others have put there. It is put
// on right before IPVS looks and taken off right after, in whichever of four places the packet
// comes to next: others' chains see it nowhere. A mark of the range that a packet brings along is
// taken off as well, so that nobody chooses a virtual server by it.
constexpr absl::string_view kFilterChains = R"nft(
	chain input {
		comment "Packets to this node, before IPVS takes those to virtual servers"
		type filter hook input priority 90; policy accept
		ct state established tcp flags & syn == 0 accept comment "IPVS knows it, or nobody"
		meta mark $MARKS meta mark set 0 comment "not from Fairlead"
$SERVED$FROM_PODS		ct state new,invalid,untracked jump unserved \
			comment "connections that are there go on"
		ip daddr @guarded4 goto guard comment "VIPs do not lead to the host's own ports"
		ip6 daddr @guarded6 goto guard comment "VIPs do not lead to the host's own ports"
	}

	chain output {
		comment "The node's own packets, before IPVS; the guard meets them in input, through lo"
		type filter hook output priority -110; policy accept
		oif != "lo" accept comment "not to a Service, or on from IPVS"
		ct state established tcp flags & syn == 0 accept comment "IPVS knows it, or nobody"
$SERVED		jump internal comment "the node reaches every endpoint"
		ct state new,invalid,untracked jump unserved \
			comment "connections that are there go on"
	}

	chain internal {
		comment "Packets of pods and the node to addresses that lead others to local endpoints only"
		meta mark set ip daddr . meta l4proto . th dport map @mark4
		meta mark set ip6 daddr . meta l4proto . th dport map @mark6
	}

	chain unserved {
		comment "Sources that are not let in, and Services without an endpoint here"
		ip daddr . meta l4proto . th dport @limited4 \
			ip daddr . meta l4proto . th dport . ip saddr != @allowed4 \
			drop comment "not a source of loadBalancerSourceRanges"
		ip6 daddr . meta l4proto . th dport @limited6 \
			ip6 daddr . meta l4proto . th dport . ip6 saddr != @allowed6 \
			drop comment "not a source of loadBalancerSourceRanges"
		ip daddr . meta l4proto . th dport @reject4 goto refuse
		ip6 daddr . meta l4proto . th dport @reject6 goto refuse
		meta mark $MARKS return comment "to every endpoint"
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
		goto refuse comment "closed"
	}

	chain refuse {
		comment "At once: IPVS refuses by ICMP, which a client on this machine may miss"
		meta l4proto tcp reject with tcp reset
		reject with icmpx port-unreachable
	}

	chain forwarded {
		comment "What IPVS sends on, before anyone else; and the node's own packets"
		type filter hook output priority -400; policy accept
		meta mark $MARKS meta mark set 0 comment "has served"
	}

	chain delivered {
		comment "What IPVS leaves to an endpoint on the node itself"
		type filter hook input priority 100; policy accept
		meta mark $MARKS meta mark set 0 comment "has served"
	}

	chain looped {
		comment "The node's own packets that IPVS leaves to an endpoint on the node itself"
		type filter hook output priority -97; policy accept
		meta mark $MARKS meta mark set 0 comment "has served"
	}
)nft";

std::string PodsOf(const std::vector<IpPrefix>& prefixes) {
  return absl::StrCat(
      "{ ",
      absl::StrJoin(prefixes, ", ",
                    [](std::string* out, const IpPrefix& pods) { *out += pods.Format(); }),
      " }");
}

// As nft matches names of devices: "cni0", "veth*".
std::string DevicesOf(const PodDetector& pods) {
  return absl::StrCat("\"", pods.device, pods.device_is_prefix ? "*" : "", "\"");
}

// Rules that lead packets of pods to the chain of internal traffic.
std::string FromPodsRules(const PodDetector& pods) {
  constexpr absl::string_view kJump = " jump internal comment \"pods reach every endpoint\"\n";
  if (!pods.device.empty()) return absl::StrCat("\t\tiifname ", DevicesOf(pods), kJump);
  std::string rules;
  for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    const std::vector<IpPrefix> prefixes = Disjoint(pods.prefixes, family);
    if (prefixes.empty()) continue;
    absl::StrAppend(&rules, "\t\t", family == IpFamily::kIpv4 ? "ip" : "ip6", " saddr ",
                    PodsOf(prefixes), kJump);
  }
  return rules;
}

constexpr absl::string_view kServedRules =
    R"nft(		ip daddr . meta l4proto . th dport @served4 accept comment "plain: to IPVS"
		ip6 daddr . meta l4proto . th dport @served6 accept comment "plain: to IPVS"
)nft";

std::string FilterChains(const RulesetConfig& config) {
  return absl::StrReplaceAll(kFilterChains, {{"$MARKS", config.marks.Format()},
                                             {"$SERVED", kServedRules},
                                             {"$FROM_PODS", FromPodsRules(config.pods)}});
}

// Only a first packet of a connection gets here. Its destination is an endpoint by now, what the
// client asked for is in its connection tracking entry. One chain per protocol, which each rule
// names again: nft knows the type of proto-dst only where the protocol is fixed.
constexpr absl::string_view kMasqueradeRule = R"nft(		$SOURCEmeta l4proto $PROTOCOL \
			ct original $IP daddr . meta l4proto . ct original proto-dst @$SET \
			goto node_source comment "$WHY"
)nft";

std::string MasqueradeRule(absl::string_view protocol, SetName set, IpFamily family,
                           absl::string_view source, absl::string_view why) {
  const bool v4 = family == IpFamily::kIpv4;
  return absl::StrReplaceAll(kMasqueradeRule,
                             {{"$SOURCE", source},
                              {"$PROTOCOL", protocol},
                              {"$IP", v4 ? "ip" : "ip6"},
                              {"$SET", absl::StrCat(FormatSetName(set), v4 ? "4" : "6")},
                              {"$WHY", why}});
}

// What a packet has to be to come from outside; unset where pods cannot be told from others.
std::optional<std::string> NotFromPods(const PodDetector& pods, IpFamily family) {
  if (!pods.Detects(family)) return std::nullopt;
  if (!pods.device.empty()) return absl::StrCat("iifname != ", DevicesOf(pods), " ");
  return absl::StrCat("ct original ", family == IpFamily::kIpv4 ? "ip" : "ip6",
                      " saddr != ", PodsOf(Disjoint(pods.prefixes, family)), " ");
}

std::string MasqueradeChain(absl::string_view protocol, const RulesetConfig& config) {
  std::string text = absl::StrCat("\n\tchain masquerade_", protocol,
                                  " {\n\t\tcomment \"Connections by what the client asked for\"\n");
  for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    text += MasqueradeRule(protocol, SetName::kMasqueradeAlways, family, "", "from anyone");
  }
  for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    const std::optional<std::string> source = NotFromPods(config.pods, family);
    if (!source.has_value()) continue;
    text +=
        MasqueradeRule(protocol, SetName::kMasqueradeOutsiders, family, *source, "not from pods");
  }
  return text + "\t}\n";
}

std::string PostroutingChains(const RulesetConfig& config) {
  std::string text =
      "\n\tchain node_source {\n"
      "\t\tcomment \"The source becomes the node's address\"\n";
  // The routes to VIPs give the node's own packets its address as source: replies come back. A
  // route without a source makes it the VIP itself, which is every node's.
  for (const absl::string_view family : {"4", "6"}) {
    absl::StrAppend(&text, "\t\t", family == "4" ? "ip" : "ip6", " saddr != @guarded", family,
                    " fib saddr type local return comment \"the node's own address\"\n");
  }
  absl::StrAppend(
      &text, "\t\tmasquerade fully-random\n\t}\n", MasqueradeChain("tcp", config),
      MasqueradeChain("udp", config), MasqueradeChain("sctp", config),
      "\n\tchain postrouting {\n"
      "\t\tcomment \"Replies come back through this node, where they get the VIP as source\"\n"
      "\t\ttype nat hook postrouting priority srcnat; policy accept\n");
  for (const absl::string_view family : {"4", "6"}) {
    const absl::string_view ip = family == "4" ? "ip" : "ip6";
    absl::StrAppend(&text, "\t\t", ip, " saddr . ", ip, " daddr @hairpin", family,
                    " masquerade fully-random comment \"an endpoint that reaches itself\"\n");
  }
  return text +
         "\t\tmeta l4proto vmap { tcp : goto masquerade_tcp, udp : goto masquerade_udp, \\\n"
         "\t\t\tsctp : goto masquerade_sctp }\n\t}\n";
}

// Whether a line of a chain starts a rule; what is indented deeper goes on with one.
bool StartsRule(absl::string_view line) {
  return absl::ConsumePrefix(&line, "\t\t") && !absl::StartsWith(line, "\t") &&
         !absl::StartsWith(line, "comment ") && !absl::StartsWith(line, "type ");
}

}  // namespace

std::string RulesetText(const RulesetConfig& config) {
  const std::string body =
      absl::StrCat(SetsText(), FilterChains(config), PostroutingChains(config));
  return absl::StrCat("# Loaded by `fairlead proxy`. Chains are constant, Services are in sets.\n",
                      "table inet ", kTableName, " {\n", body, "\n", kChainStart, kIdentityPrefix,
                      absl::StrFormat("%016x", Fnv1a(body)),
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
