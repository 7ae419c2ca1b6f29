#include "proxy/inspect/read_kernel.h"

#include <linux/netlink.h>

#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "ipvs/kernel_table.h"
#include "proxy/kernel/netlink_routes.h"
#include "proxy/kernel/netlink_socket.h"
#include "proxy/kernel/nft_codec.h"
#include "proxy/kernel/nft_firewall.h"

namespace fairlead {
namespace {

absl::StatusOr<std::vector<ipvs::VirtualServer>> ReadServers() {
  const auto table = ipvs::KernelTable::Open();
  if (absl::IsFailedPrecondition(table.status())) return std::vector<ipvs::VirtualServer>();
  if (!table.ok()) return table.status();
  return (*table)->Dump();
}

// nfnetlink refuses a subsystem that is not there with EINVAL or EOPNOTSUPP.
bool HasNoTables(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status);
}

// Chains and rules are two dumps: a ruleset that is loaded in between is read as a mixture, which
// is gone at the next reading.
absl::StatusOr<std::optional<RulesetShape>> ReadRuleset() {
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_NETFILTER);
  if (!socket.ok()) return socket.status();
  RulesetShape shape;
  absl::Status status = RetryInterrupted([&] {
    shape.clear();
    return socket->Dump(EncodeChainDump(socket->TakeSequences(1)), "dump of nftables chains",
                        [&](const Message& message) {
                          const absl::StatusOr<NftChain> chain = DecodeChain(message);
                          if (!chain.ok()) return chain.status();
                          if (chain->table == kTableName) shape[chain->name] = 0;
                          return absl::OkStatus();
                        });
  });
  if (HasNoTables(status)) return std::nullopt;
  if (!status.ok()) return status;
  const RulesetShape chains = shape;
  status = RetryInterrupted([&] {
    shape = chains;
    return socket->Dump(EncodeRuleDump(socket->TakeSequences(1)), "dump of nftables rules",
                        [&](const Message& message) {
                          const absl::StatusOr<NftRule> rule = DecodeRule(message);
                          if (!rule.ok()) return rule.status();
                          if (rule->table == kTableName) ++shape[rule->chain];
                          return absl::OkStatus();
                        });
  });
  if (!status.ok()) return status;
  // Every ruleset has chains.
  if (shape.empty()) return std::nullopt;
  return shape;
}

absl::Status ReadFirewall(KernelState& state) {
  absl::StatusOr<std::optional<RulesetShape>> ruleset = ReadRuleset();
  if (!ruleset.ok()) return ruleset.status();
  state.ruleset = *std::move(ruleset);
  if (!state.ruleset.has_value()) return absl::OkStatus();
  const auto firewall = NftFirewall::Open();
  if (!firewall.ok()) return firewall.status();
  absl::StatusOr<std::vector<Element>> elements = (*firewall)->Dump();
  if (!elements.ok()) return elements.status();
  state.elements = *std::move(elements);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<VipRoute>> ReadRoutes() {
  const auto routes = NetlinkRoutes::Open();
  if (!routes.ok()) return routes.status();
  return (*routes)->Dump();
}

std::optional<std::string> ReadSysctl(const std::string& name, absl::string_view proc_root) {
  std::ifstream file(absl::StrCat(proc_root, "/sys/", absl::StrReplaceAll(name, {{".", "/"}})));
  std::string value;
  if (!std::getline(file, value)) return std::nullopt;
  return std::string(absl::StripAsciiWhitespace(value));
}

}  // namespace

absl::StatusOr<KernelState> ReadKernelState(absl::string_view proc_root) {
  KernelState state;
  absl::StatusOr<std::vector<ipvs::VirtualServer>> servers = ReadServers();
  if (!servers.ok()) return servers.status();
  state.servers = *std::move(servers);
  absl::Status firewall = ReadFirewall(state);
  // The table may have gone in between; where it has not, one of its sets has.
  if (absl::IsNotFound(firewall)) firewall = ReadFirewall(state);
  if (!firewall.ok()) return firewall;
  absl::StatusOr<std::vector<VipRoute>> routes = ReadRoutes();
  if (!routes.ok()) return routes.status();
  state.routes = *std::move(routes);
  for (Sysctl& sysctl : RequiredSysctls({IpFamily::kIpv4, IpFamily::kIpv6})) {
    std::optional<std::string> value = ReadSysctl(sysctl.name, proc_root);
    state.sysctls.push_back({std::move(sysctl), std::move(value)});
  }
  return state;
}

}  // namespace fairlead
