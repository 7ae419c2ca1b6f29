// A node on which kube-proxy was at work, in memory.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "ipvs/memory_table.h"
#include "proxy/cleanup/kube_proxy.h"
#include "proxy/kernel/memory_firewall.h"
#include "proxy/kernel/memory_routes.h"

namespace fairlead::testing {

IpAddress Ip(const std::string& text);
ipvs::VirtualServerKey Server(ipvs::Protocol protocol, const std::string& address, uint16_t port);

class MemoryVipDevice : public VipDevice {
 public:
  absl::StatusOr<std::optional<FoundVipDevice>> Read() override { return device; }
  std::vector<absl::Status> DeleteAddresses(absl::Span<const IpAddress> addresses) override;
  absl::Status Delete() override;

  std::optional<FoundVipDevice> device;
  absl::Status delete_error;
};

// What happens to it is in `log`, in order: "restore iptables-nft-restore filter", "device", "table
// ip kube-proxy", "server TCP …", "destroy KUBE-…".
struct MemoryNode {
  // With every kind of thing that kube-proxy leaves, and things of others.
  MemoryNode();
  MemoryNode(const MemoryNode&) = delete;
  MemoryNode& operator=(const MemoryNode&) = delete;

  KubeProxyKernel Kernel();
  // Fairlead has this virtual server and, unless it is said otherwise, a route to it.
  void Own(const ipvs::VirtualServerKey& key, bool with_route = true);
  std::vector<std::string> Servers();

  ipvs::MemoryTable table;
  MemoryFirewall firewall;
  MemoryRoutes routes;
  MemoryVipDevice device;
  std::vector<NodeAddress> addresses;
  std::vector<NftTable> nft_tables;
  std::vector<NftTableChain> nft_chains;
  std::set<IpFamily> legacy;
  std::string ipset_save;
  // What the programs print: those that are not here are missing.
  std::map<std::string, std::string> outputs;
  // Of "program first-argument": how they fail.
  std::map<std::string, absl::Status> failures;
  std::vector<std::string> log;
  std::map<std::string, std::string> restored;  // By program and table.
};

}  // namespace fairlead::testing
