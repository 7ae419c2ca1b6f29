// What an operator says about a node, and the planner's configuration that follows from it.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "proxy/kernel/node_addresses.h"
#include "proxy/plan/plan.h"
#include "watcher/model.h"

namespace fairlead {

// How packets of pods are told from others: kube-proxy's --detect-local-mode.
enum class LocalMode : uint8_t {
  kClusterCidr,          // By cluster_cidrs.
  kNodeCidr,             // By the podCIDRs of the Node object: this node's pods only.
  kBridgeInterface,      // By the device pod_bridge_interface.
  kInterfaceNamePrefix,  // By devices whose names start with pod_interface_name_prefix.
};

struct NodeSettings {
  std::string node_name;
  // At most one of each family. Empty: those of the Node object, else the first of the machine's.
  std::vector<IpAddress> node_ips;
  LocalMode local_mode = LocalMode::kClusterCidr;
  std::vector<IpPrefix> cluster_cidrs;
  std::string pod_bridge_interface;
  std::string pod_interface_name_prefix;
  NodePortSelector node_port_selector;
  bool masquerade_all = false;
  std::string default_scheduler = "rr";
  std::optional<std::string> service_proxy_name;
  MarkRange marks;
};

// Pure. `node` is this node's object, null if there is none.
PodDetector MakePodDetector(const NodeSettings& settings, const Node* node);

// Pure. `local_addresses` are those of the
// machine's devices; where there is no machine (`fairlead plan`) pass none, and node ports are
// served on the node's own addresses. `schedulers`: the usable ones.
NodeConfig MakeNodeConfig(const NodeSettings& settings, const Node* node,
                          absl::Span<const NodeAddress> local_addresses,
                          const std::set<std::string>& schedulers);

}  // namespace fairlead
