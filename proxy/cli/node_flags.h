// The flags that say which node this is and where its Services come from: those of `proxy`, `plan`
// and `explain` are the same.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proxy/agent/node_settings.h"
#include "watcher/manifest/manifest_reader.h"

namespace fairlead {

// As given on the command line.
struct NodeFlags {
  std::string node_name;
  std::vector<std::string> manifests;
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
  std::string state_dir;
  std::string service_cluster_ip_range = "10.96.0.0/12";
  std::string service_node_port_range = "30000-32767";
};

// `required`: --node-name and --manifests have to be given.
void AddNodeFlags(CLI::App& command, NodeFlags& flags, bool required);

// INVALID_ARGUMENT names the flag.
absl::StatusOr<NodeSettings> ParseNodeSettings(const NodeFlags& flags);
absl::StatusOr<ManifestOptions> ParseManifestOptions(const NodeFlags& flags);

}  // namespace fairlead
