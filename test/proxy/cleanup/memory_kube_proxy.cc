#include "memory_kube_proxy.h"

#include <linux/netfilter.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead::testing {
namespace {

using ipvs::Protocol;
using ipvs::VirtualServerKey;

constexpr char kIptables[] =
    "*filter\n"
    ":INPUT ACCEPT [0:0]\n"
    ":FORWARD DROP [0:0]\n"
    ":KUBE-FIREWALL - [0:0]\n"
    ":KUBE-FORWARD - [0:0]\n"
    "-A INPUT -j KUBE-FIREWALL\n"
    "-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n"
    "COMMIT\n"
    "*nat\n"
    ":PREROUTING ACCEPT [0:0]\n"
    ":KUBE-SERVICES - [0:0]\n"
    "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
    "COMMIT\n";

constexpr char kIpsets[] =
    "create KUBE-CLUSTER-IP hash:ip,port family inet\n"
    "add KUBE-CLUSTER-IP 10.96.0.1,tcp:443\n"
    "create KUBE-IPVS-IPS hash:ip family inet\n"
    "add KUBE-IPVS-IPS 10.96.0.1\n"
    "add KUBE-IPVS-IPS 10.96.0.2\n"
    "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n"
    "add KUBE-NODE-PORT-TCP 30080\n"
    "create office hash:ip family inet\n";

}  // namespace

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

VirtualServerKey Server(Protocol protocol, const std::string& address, uint16_t port) {
  return VirtualServerKey::ForAddress(protocol, Ip(address), port);
}

std::vector<absl::Status> MemoryVipDevice::DeleteAddresses(absl::Span<const IpAddress> addresses) {
  for (const IpAddress& address : addresses) std::erase(device->addresses, address);
  return std::vector<absl::Status>(addresses.size());
}

absl::Status MemoryVipDevice::Delete() {
  if (delete_error.ok()) device.reset();
  return delete_error;
}

MemoryNode::MemoryNode() {
  REQUIRE(firewall.EnsureRuleset(RulesetText({})).ok());
  device.device = FoundVipDevice{.kind = "dummy", .addresses = {Ip("10.96.0.1"), Ip("10.96.0.2")}};
  addresses = {{Ip("10.96.0.1"), "kube-ipvs0"},
               {Ip("10.96.0.2"), "kube-ipvs0"},
               {Ip("172.18.0.11"), "eth0"}};
  for (const VirtualServerKey& key :
       {Server(Protocol::kTcp, "10.96.0.1", 443), Server(Protocol::kUdp, "10.96.0.2", 53),
        Server(Protocol::kTcp, "172.18.0.11", 30080),
        // Of others: a node port of another protocol, a port that is none, an address that is none.
        Server(Protocol::kUdp, "172.18.0.11", 30080), Server(Protocol::kTcp, "172.18.0.11", 80),
        Server(Protocol::kTcp, "192.0.2.1", 30080),
        VirtualServerKey::ForMark(IpFamily::kIpv4, 7)}) {
    const auto config = ipvs::VirtualServerConfig::ForFamily(key.family, "rr");
    REQUIRE(table.Apply({ipvs::Operation::AddVirtualServer(key, config)})[0].ok());
  }
  table.FailWhen(
      [this](const ipvs::Operation& operation) {
        log.push_back(absl::StrCat("server ", operation.virtual_server.Format()));
        return false;
      },
      {});
  nft_tables = {{NFPROTO_INET, "fairlead"},
                {NFPROTO_INET, "kube-proxy"},
                {NFPROTO_IPV4, "filter"},
                {NFPROTO_IPV4, "kube-proxy"},
                {NFPROTO_IPV4, "mine"}};
  nft_chains = {{{NFPROTO_IPV4, "filter"}, "KUBE-FORWARD"}, {{NFPROTO_IPV4, "filter"}, "INPUT"}};
  ipset_save = kIpsets;
  outputs = {{"iptables-nft-save", kIptables}, {"iptables-nft-restore", ""}, {"ipset", ""}};
}

KubeProxyKernel MemoryNode::Kernel() {
  KubeProxyKernel kernel = KubeProxyKernel::Of(&table, firewall, routes, device);
  kernel.node_addresses = [this] { return addresses; };
  kernel.nft_tables = [this] { return nft_tables; };
  kernel.nft_chains = [this] { return nft_chains; };
  kernel.delete_nft_table = [this](absl::string_view name) {
    log.push_back(absl::StrCat("table ", name, " device ", device.device.has_value()));
    return absl::OkStatus();
  };
  kernel.has_legacy_tables = [this](IpFamily family) { return legacy.contains(family); };
  kernel.run = [this](const std::vector<std::string>& words,
                      absl::string_view input) -> absl::StatusOr<std::string> {
    const std::string& program = words[0];
    const auto output = outputs.find(program);
    if (output == outputs.end()) return absl::NotFoundError("no program " + program);
    const auto failure = failures.find(words.size() > 1 ? words.back() : program);
    if (failure != failures.end()) return failure->second;
    if (program == "ipset" && words[1] == "save") return ipset_save;
    if (program == "ipset") log.push_back(absl::StrCat("destroy ", words[2]));
    if (absl::EndsWith(program, "-restore")) {
      const std::string name(input.substr(1, input.find('\n') - 1));
      log.push_back(absl::StrCat(absl::StrReplaceAll(program, {{"-restore", " "}}), name,
                                 " device ", device.device.has_value()));
      restored[absl::StrCat(program, " ", name)] = std::string(input);
    }
    return output->second;
  };
  return kernel;
}

void MemoryNode::Own(const VirtualServerKey& key, bool with_route) {
  REQUIRE(firewall.Apply({{ElementChange::Verb::kAdd, OwnedElement(key)}}).ok());
  if (!with_route) return;
  REQUIRE(routes.Apply({{RouteChange::Verb::kPut, {key.address, std::nullopt}}})[0].ok());
}

std::vector<std::string> MemoryNode::Servers() {
  std::vector<std::string> servers;
  const auto dump = table.Dump();
  for (const ipvs::VirtualServer& server : *dump) servers.push_back(server.key.Format());
  return servers;
}

}  // namespace fairlead::testing
