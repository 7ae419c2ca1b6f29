#include "proxy/agent/node_settings.h"

#include <algorithm>

namespace fairlead {
namespace {

// The first usable address of each family, in the order given.
std::vector<IpAddress> FirstOfEachFamily(absl::Span<const IpAddress> addresses) {
  std::vector<IpAddress> first;
  for (const IpAddress& address : addresses) {
    if (address.IsLoopback() || address.IsLinkLocal() || address.IsUnspecified()) continue;
    const bool have = std::any_of(first.begin(), first.end(), [&](const IpAddress& other) {
      return other.family() == address.family();
    });
    if (!have) first.push_back(address);
  }
  return first;
}

}  // namespace

PodDetector MakePodDetector(const NodeSettings& settings, const Node* node) {
  switch (settings.local_mode) {
    case LocalMode::kClusterCidr:
      return {.prefixes = settings.cluster_cidrs};
    case LocalMode::kNodeCidr:
      return {.prefixes = node == nullptr ? std::vector<IpPrefix>() : node->pod_cidrs};
    case LocalMode::kBridgeInterface:
      return {.device = settings.pod_bridge_interface};
    case LocalMode::kInterfaceNamePrefix:
      break;
  }
  return {.device = settings.pod_interface_name_prefix, .device_is_prefix = true};
}

NodeConfig MakeNodeConfig(const NodeSettings& settings, const Node* node,
                          absl::Span<const NodeAddress> local_addresses,
                          const std::set<std::string>& schedulers) {
  NodeConfig config;
  config.node_name = settings.node_name;
  if (node != nullptr) config.zone = node->zone;
  config.node_ips = FirstOfEachFamily(settings.node_ips);
  if (config.node_ips.empty() && node != nullptr) {
    config.node_ips = FirstOfEachFamily(node->internal_ips);
  }
  std::vector<NodeAddress> addresses(local_addresses.begin(), local_addresses.end());
  if (config.node_ips.empty()) {
    std::vector<IpAddress> all;
    all.reserve(addresses.size());
    for (const NodeAddress& local : addresses) all.push_back(local.address);
    config.node_ips = FirstOfEachFamily(all);
  }
  if (addresses.empty()) {
    for (const IpAddress& address : config.node_ips) addresses.push_back({address, ""});
  }
  config.node_port_addresses =
      SelectNodePortAddresses(addresses, settings.node_port_selector, config.node_ips);
  config.own_addresses = SelectNodePortAddresses(addresses, NodePortSelector(), config.node_ips);
  config.pods = MakePodDetector(settings, node);
  config.marks = settings.marks;
  // Where mh is not to be had: every kernel with IPVS has sh.
  config.affinity_scheduler = schedulers.contains("mh") ? "mh" : "sh";
  config.masquerade_all = settings.masquerade_all;
  config.default_scheduler = settings.default_scheduler;
  config.schedulers = schedulers;
  config.service_proxy_name = settings.service_proxy_name;
  return config;
}

}  // namespace fairlead
