// Removing what kube-proxy leaves on a node, and nothing else.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ipvs/table.h"
#include "proxy/cleanup/ipsets.h"
#include "proxy/cleanup/iptables_removal.h"
#include "proxy/cleanup/nft_tables.h"
#include "proxy/cleanup/program.h"
#include "proxy/cleanup/report.h"
#include "proxy/cleanup/vip_device.h"
#include "proxy/kernel/firewall.h"
#include "proxy/kernel/node_addresses.h"
#include "proxy/kernel/routes.h"

namespace fairlead {

// Where things are looked for and removed. What is referred to outlives it.
struct KubeProxyKernel {
  // Null where this kernel has no IPVS: then there are no virtual servers.
  ipvs::Table* table = nullptr;
  Firewall& firewall;  // Its record says which virtual servers are Fairlead's.
  Routes& routes;
  VipDevice& device;
  // The rest is that of the calling thread's network namespace, or a test's.
  std::function<absl::StatusOr<std::vector<NodeAddress>>()> node_addresses = ReadNodeAddresses;
  std::function<absl::StatusOr<std::vector<NftTable>>()> nft_tables = ReadNftTables;
  std::function<absl::StatusOr<std::vector<NftTableChain>>()> nft_chains = ReadNftChains;
  std::function<absl::Status(absl::string_view)> delete_nft_table = DeleteNftTable;
  // Whether the old iptables has tables of this family.
  std::function<bool(IpFamily)> has_legacy_tables;
  ProgramRunner run;

  // With everything at its default.
  static KubeProxyKernel Of(ipvs::Table* table, Firewall& firewall, Routes& routes,
                            VipDevice& device);
};

// One of the two iptables of one family, with what kube-proxy has there.
struct IptablesLeftovers {
  IpFamily family = IpFamily::kIpv4;
  bool nft = false;
  std::string title;  // "iptables-nft", "ip6tables-legacy".
  std::string save;   // The programs.
  std::string restore;
  std::vector<IptablesRemoval> removals;
};

struct KubeProxyThings {
  // Unset also where there is one of that name that kube-proxy did not make; a note says so.
  std::optional<FoundVipDevice> device;
  // Of its VIPs, and those of node ports; never one that Fairlead's table records. Sorted.
  std::vector<ipvs::VirtualServerKey> virtual_servers;
  std::vector<IptablesLeftovers> iptables;
  KubeProxyIpsets ipsets;
  std::vector<std::string> nft_tables;  // "ip kube-proxy".
  // What could not be read: an error is never "nothing there".
  std::vector<CleanupRemark> unread;
  std::vector<std::string> notes;
};

struct KubeProxyOptions {
  // Fairlead serves on this node: its table and its routes are in place, and go on working.
  bool serving = false;
};

// Reads, and writes nothing.
KubeProxyThings FindKubeProxy(const KubeProxyKernel& kernel);

// What RemoveKubeProxy would do. Pure.
CleanupReport PlanKubeProxyRemoval(const KubeProxyThings& things);

// Removes all of it. While Fairlead serves the order is: rules, which would refuse ports that
// kube-proxy does not know; tables of nftables; kube-ipvs0; virtual servers; ipsets. An address of
// kube-ipvs0 stays, and kube-ipvs0 with it, while Fairlead has a virtual server on it and no route
// to it: no VIP ceases to work for a moment.
//
// Otherwise kube-ipvs0 goes first, so that the host's own ports are never reachable through a VIP;
// virtual servers before it only where no ipset tells later which they were.
CleanupReport RemoveKubeProxy(const KubeProxyKernel& kernel, const KubeProxyOptions& options);

// What there is of kube-proxy, in a few words each ("device kube-ipvs0 with 12 addresses"); empty:
// nothing. Cheap: reads no virtual servers, and runs a program only where the old iptables is in
// use. What cannot be read is left out.
std::vector<std::string> SignsOfKubeProxy(const KubeProxyKernel& kernel);

}  // namespace fairlead
