#include "proxy/cleanup/ipsets.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace fairlead {
namespace {

// The addresses of kube-ipvs0.
constexpr absl::string_view kAddresses = "IPVS-IPS";
// pkg/proxy/ipvs/ipset.go, without "KUBE-".
constexpr absl::string_view kNames[] = {"LOOP-BACK",
                                        "CLUSTER-IP",
                                        "EXTERNAL-IP",
                                        "EXTERNAL-IP-LOCAL",
                                        "LOAD-BALANCER",
                                        "LOAD-BALANCER-FW",
                                        "LOAD-BALANCER-LOCAL",
                                        "LOAD-BALANCER-SOURCE-IP",
                                        "LOAD-BALANCER-SOURCE-CIDR",
                                        "NODE-PORT-TCP",
                                        "NODE-PORT-LOCAL-TCP",
                                        "NODE-PORT-UDP",
                                        "NODE-PORT-LOCAL-UDP",
                                        "NODE-PORT-SCTP-HASH",
                                        "NODE-PORT-LOCAL-SCTP-HASH",
                                        "HEALTH-CHECK-NODE-PORT",
                                        kAddresses};
// Longest name that the kernel takes (IPSET_MAXNAMELEN - 1). kube-proxy cuts longer ones.
constexpr size_t kMaxName = 31;

// The name of the set without what says the family; unset for a set of others.
std::optional<absl::string_view> KindOf(absl::string_view name) {
  for (const absl::string_view kind : kNames) {
    for (const absl::string_view prefix : {"KUBE-", "KUBE-6-"}) {
      if (name == absl::StrCat(prefix, kind).substr(0, kMaxName)) return kind;
    }
  }
  return std::nullopt;
}

// The protocol of a kind of node ports.
std::optional<ipvs::Protocol> ProtocolOf(absl::string_view kind) {
  if (!absl::ConsumePrefix(&kind, "NODE-PORT-")) return std::nullopt;
  absl::ConsumePrefix(&kind, "LOCAL-");
  if (kind == "TCP") return ipvs::Protocol::kTcp;
  if (kind == "UDP") return ipvs::Protocol::kUdp;
  return ipvs::Protocol::kSctp;
}

// "30080", "30080-30090", or "192.0.2.1,sctp:30080".
bool AddPorts(absl::string_view entry, ipvs::Protocol protocol, KubeProxyIpsets& ipsets) {
  if (const size_t comma = entry.rfind(','); comma != absl::string_view::npos) {
    entry.remove_prefix(comma + 1);
    entry.remove_prefix(std::min(entry.find(':') + 1, entry.size()));
  }
  const std::vector<absl::string_view> ends = absl::StrSplit(entry, '-');
  uint32_t first = 0, last = 0;
  if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) ||
      !absl::SimpleAtoi(ends.back(), &last) || last > 65535) {
    return false;
  }
  for (uint32_t port = first; port <= last; ++port) {
    ipsets.node_ports.emplace(protocol, static_cast<uint16_t>(port));
  }
  return true;
}

bool AddEntry(absl::string_view kind, absl::string_view entry, KubeProxyIpsets& ipsets) {
  if (const auto protocol = ProtocolOf(kind); protocol.has_value()) {
    return AddPorts(entry, *protocol, ipsets);
  }
  if (kind != kAddresses) return true;
  const absl::StatusOr<IpAddress> address = IpAddress::Parse(entry);
  if (address.ok()) ipsets.addresses.insert(*address);
  return address.ok();
}

}  // namespace

bool IsKubeProxyIpset(absl::string_view name) { return KindOf(name).has_value(); }

bool IsKubeProxyRecord(absl::string_view name) {
  const std::optional<absl::string_view> kind = KindOf(name);
  return kind.has_value() && (*kind == kAddresses || ProtocolOf(*kind).has_value());
}

absl::StatusOr<KubeProxyIpsets> ParseIpsetSave(absl::string_view text) {
  KubeProxyIpsets ipsets;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.empty()) continue;
    bool good = words.size() >= 3 && (words[0] == "create" || words[0] == "add");
    const std::optional<absl::string_view> kind = good ? KindOf(words[1]) : std::nullopt;
    if (kind.has_value()) {
      if (words[0] == "create") {
        ipsets.names.emplace_back(words[1]);
      } else {
        good = AddEntry(*kind, words[2], ipsets);
      }
    }
    if (good) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("line ", number, " is not understood: ", line.substr(0, 200)));
  }
  std::sort(ipsets.names.begin(), ipsets.names.end());
  return ipsets;
}

}  // namespace fairlead
