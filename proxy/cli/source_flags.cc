#include "proxy/cli/source_flags.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace fairlead {

absl::Status InFlag(const char* flag, const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat(flag, ": ", status.message()));
}

void AddManifestFlags(CLI::App& command, ManifestFlags& flags, bool required) {
  const std::string source = "Source";
  command
      .add_option("--manifests", flags.manifests,
                  "Files and folders of manifests; may be given several times")
      ->required(required)
      ->group(source);
  command
      .add_option("--state-dir", flags.state_dir,
                  "Where is kept what has to outlive a restart: addresses and node ports allocated "
                  "for manifests; by an agent, the endpoints that drain, and a cluster's last "
                  "picture; default: nowhere")
      ->group(source);
  command
      .add_option("--service-cluster-ip-range", flags.service_cluster_ip_range,
                  "Addresses for Services of manifests that name none; one prefix of each family")
      ->capture_default_str()
      ->group(source);
  command
      .add_option("--service-node-port-range", flags.service_node_port_range,
                  "Node ports for Services of manifests that name none")
      ->capture_default_str()
      ->group(source);
}

void AddKubernetesFlags(CLI::App& command, KubernetesFlags& flags) {
  const std::string source = "Source";
  command
      .add_option("--kubeconfig", flags.kubeconfig,
                  "Follow the API server that this kubeconfig file names")
      ->group(source);
  command
      .add_option("--kube-context", flags.kube_context,
                  "Context of the kubeconfig file; default: its current one")
      ->group(source);
  command
      .add_flag("--in-cluster", flags.in_cluster,
                "Follow the API server of the cluster in which this runs as a Pod")
      ->group(source);
}

absl::StatusOr<ManifestOptions> ParseManifestOptions(const ManifestFlags& flags) {
  ManifestOptions options;
  options.paths = flags.manifests;
  options.state_dir = flags.state_dir;
  auto ranges = ParseServiceClusterIpRanges(flags.service_cluster_ip_range);
  if (!ranges.ok()) return InFlag("--service-cluster-ip-range", ranges.status());
  options.service_cluster_ip_ranges = *std::move(ranges);
  auto ports = ParsePortRange(flags.service_node_port_range);
  if (!ports.ok()) return InFlag("--service-node-port-range", ports.status());
  options.service_node_port_range = *ports;
  return options;
}

std::vector<std::string> GivenSources(const ManifestFlags& manifests,
                                      const KubernetesFlags& kubernetes) {
  std::vector<std::string> given;
  if (!manifests.manifests.empty()) given.emplace_back("--manifests");
  if (!kubernetes.kubeconfig.empty()) given.emplace_back("--kubeconfig");
  if (kubernetes.in_cluster) given.emplace_back("--in-cluster");
  return given;
}

absl::StatusOr<SourceOptions> ParseSourceOptions(const ManifestFlags& manifests,
                                                 const KubernetesFlags& kubernetes, bool load) {
  if (!kubernetes.kube_context.empty() && kubernetes.kubeconfig.empty()) {
    return absl::InvalidArgumentError("--kube-context: has no effect without --kubeconfig");
  }
  SourceOptions options;
  if (!manifests.manifests.empty()) {
    absl::StatusOr<ManifestOptions> parsed = ParseManifestOptions(manifests);
    if (!parsed.ok()) return parsed.status();
    options.manifests = *std::move(parsed);
    return options;
  }
  options.kubernetes.emplace();
  if (!load) return options;
  absl::StatusOr<ApiServer> server =
      kubernetes.in_cluster ? InClusterApiServer()
                            : LoadKubeconfig(kubernetes.kubeconfig, kubernetes.kube_context);
  if (!server.ok()) {
    return InFlag(kubernetes.in_cluster ? "--in-cluster" : "--kubeconfig", server.status());
  }
  options.kubernetes->server = *std::move(server);
  return options;
}

}  // namespace fairlead
