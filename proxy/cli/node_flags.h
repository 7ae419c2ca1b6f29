// The flags that say which node this is: those of `proxy`, `plan` and `explain` are the same.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proxy/agent/node_settings.h"
#include "proxy/cli/source_flags.h"

namespace fairlead {

// As given on the command line.
struct NodeFlags : ManifestFlags {
  std::string node_name;
  std::vector<std::string> node_ips;
  std::string detect_local_mode = "ClusterCIDR";
  std::vector<std::string> cluster_cidrs;
  std::string pod_bridge_interface;
  std::string pod_interface_name_prefix;
  std::string node_port_addresses;
  std::string scheduler = "rr";
  bool masquerade_all = false;
  std::string mark_range = MarkRange().Format();
  std::string service_proxy_name;
};

// What has to be given.
enum class Required { kNothing, kNode, kNodeAndManifests };

// Adds those of the manifests too.
void AddNodeFlags(CLI::App& command, NodeFlags& flags, Required required);

// INVALID_ARGUMENT names the flag.
absl::StatusOr<NodeSettings> ParseNodeSettings(const NodeFlags& flags);

}  // namespace fairlead
