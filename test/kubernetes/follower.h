// The program's way from an API server to a node's plan, without wire and kernel.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proxy/plan/planner.h"
#include "test/kubernetes/api_cluster.h"
#include "watcher/feed/journal.h"
#include "watcher/kubernetes/kubernetes_source.h"
#include "watcher/snapshot.h"

namespace fairlead::lab {

// The node that plans are of.
inline constexpr char kThisNode[] = "n1";

// Tries again sooner than the program does, with a seed of its own.
KubernetesSourceOptions FastOptions();

// A source, its journal, and the plan of node kThisNode that follows from what the journal has.
// Confined to one thread.
class Follower {
 public:
  // For what a change needs to come through the controller, the API server and the source.
  static constexpr absl::Duration kPatience = absl::Seconds(60);

  // Starts the source. `kubeconfig` names a file.
  static absl::StatusOr<std::unique_ptr<Follower>> Start(
      const std::string& kubeconfig, const KubernetesSourceOptions& options = FastOptions());
  static std::unique_ptr<Follower> Start(ApiServer server,
                                         const KubernetesSourceOptions& options = FastOptions());

  Journal& journal() { return journal_; }
  std::vector<KubernetesResourceStatus> Status() const { return source_.Status(); }
  const Snapshot& snapshot() const { return snapshot_; }

  // What the source says of "services", "endpointslices" or "nodes".
  KubernetesResourceStatus StatusOf(const std::string& resource) const;

  // Waits until the journal is complete; false if it was not in time.
  bool AwaitComplete();
  // Brings the plan to the journal's state. Returns the changes it has read, "+Service default/a"
  // or
  // "-Service default/a", sorted by revision.
  std::vector<std::string> Read();
  // Waits until the plan is what the API's objects call for, and returns the last difference (see
  // model.h), empty for none, or what kept it from being known. The controller has made slices of
  // every Service then, empty ones too, so that nothing more is on its way.
  std::string AwaitPlan(ApiServerCluster& cluster);

  std::vector<PlannedVirtualServer> Servers() const;

 private:
  // The Services that have fewer slices than families, a line each.
  std::string MissingSlices() const;

  Follower(ApiServer server, const KubernetesSourceOptions& options);

  Journal journal_;
  JournalCursor cursor_;
  Snapshot snapshot_;
  Planner planner_;
  KubernetesSource source_;
};

}  // namespace fairlead::lab
