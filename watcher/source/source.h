// Where a journal's objects come from.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "watcher/feed/journal.h"
#include "watcher/kubernetes/kubernetes_source.h"
#include "watcher/manifest/manifest_source.h"

namespace fairlead {

struct SourceOptions {
  struct Kubernetes {
    ApiServer server;
    KubernetesSourceOptions options;
  };

  // One of the two.
  std::optional<ManifestOptions> manifests;
  std::optional<Kubernetes> kubernetes;
};

// Fills a journal from manifests or from an API server, and keeps it up to date. Thread-safe, but
// for Start and Stop.
class Source {
 public:
  // `journal` outlives the source.
  Source(SourceOptions options, Journal& journal);
  // Stops.
  ~Source();
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // Called once. A status where the machine refuses what the source needs.
  absl::Status Start();
  void Stop();

  // Empty for manifests.
  std::vector<KubernetesResourceStatus> KubernetesStatus() const;

 private:
  Journal& journal_;
  std::unique_ptr<ManifestSource> manifests_;
  std::unique_ptr<KubernetesSource> kubernetes_;
};

}  // namespace fairlead
