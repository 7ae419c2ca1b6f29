// The flags that say where Services come from: those of all commands that read some are the same.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "watcher/manifest/manifest_reader.h"
#include "watcher/source/source.h"

namespace fairlead {

// INVALID_ARGUMENT with the flag in front.
absl::Status InFlag(const char* flag, const absl::Status& status);

// As given on the command line.
struct ManifestFlags {
  std::vector<std::string> manifests;
  std::string state_dir;
  std::string service_cluster_ip_range = "10.96.0.0/12";
  std::string service_node_port_range = "30000-32767";
};

struct KubernetesFlags {
  std::string kubeconfig;
  std::string kube_context;
  bool in_cluster = false;
};

void AddManifestFlags(CLI::App& command, ManifestFlags& flags, bool required);
void AddKubernetesFlags(CLI::App& command, KubernetesFlags& flags);

// INVALID_ARGUMENT names the flag.
absl::StatusOr<ManifestOptions> ParseManifestOptions(const ManifestFlags& flags);

// The flags of the sources that were given, for messages.
std::vector<std::string> GivenSources(const ManifestFlags& manifests,
                                      const KubernetesFlags& kubernetes);

// Of the one source that is given. Errors name the flag; those of a kubeconfig are
// LoadKubeconfig's. Without `load` no file is read, and of an API server nothing is known but that
// it is one.
absl::StatusOr<SourceOptions> ParseSourceOptions(const ManifestFlags& manifests,
                                                 const KubernetesFlags& kubernetes, bool load);

}  // namespace fairlead
