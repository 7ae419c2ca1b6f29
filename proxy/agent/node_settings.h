// What an operator says about a node, and the planner's configuration that follows from it.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "proxy/kernel/node_addresses.h"
#include "proxy/plan/plan.h"
#include "watcher/model.h"

namespace fairlead {

struct NodeSettings {
  std::string node_name;
  // At most one of each family. Empty: those of the Node object, else the first of the machine's.
  std::vector<IpAddress> node_ips;
  std::vector<IpPrefix> cluster_cidrs;
  NodePortSelector node_port_selector;
  bool masquerade_all = false;
  std::string default_scheduler = "rr";
  std::optional<std::string> service_proxy_name;
};

// Pure. `node` is this node's object, null if there is none. `local_addresses` are those of the
// machine's devices; where there is no machine (`fairlead plan`) pass none, and node ports are
// served on the node's own addresses. `schedulers`: the usable ones.
NodeConfig MakeNodeConfig(const NodeSettings& settings, const Node* node,
                          absl::Span<const NodeAddress> local_addresses,
                          const std::set<std::string>& schedulers);

}  // namespace fairlead
