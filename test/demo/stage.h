// A cluster that runs a manifest's workload, with an agent on each node.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "test/demo/workload.h"
#include "test/lab/agent.h"
#include "test/lab/cluster.h"
#include "test/lab/responder.h"

namespace fairlead::demo {

struct StageOptions {
  std::string program;   // build/fairlead
  std::string manifest;  // Used unchanged.
  std::string folder;    // An empty one, for what the stage writes.
  int replicas = 2;      // Of a Deployment whose manifest does not say.
};

// Names of Services, "ns/name", that the scenes play on.
struct Cast {
  std::string web;                // Of the manifest: at least two Pods.
  std::string local;              // Added: the same Pods, a node port with policy Local.
  std::string cluster;            // Added: the same Pods, a node port with policy Cluster.
  std::string least_connections;  // Added: the same Pods, scheduler lc.
};

// Every replica of every Deployment is a namespace with a responder on its container ports; the
// Pods and Nodes that a kubelet would report are manifests beside the one that was given.
// Confined to one thread.
class Stage {
 public:
  static absl::StatusOr<std::unique_ptr<Stage>> Build(const StageOptions& options);

  const lab::Cluster& cluster() const { return *cluster_; }
  const std::vector<PodStatus>& pods() const { return pods_; }
  const Cast& cast() const { return cast_; }
  // Pods of the Service cast().web.
  std::vector<PodStatus> WebPods() const;
  const lab::NetNamespace& NetOf(const PodStatus& pod) const {
    return *cluster_->pod(pod.name).net;
  }

  // Starts the agents and waits until each has programmed every Service with its Pods.
  absl::Status StartAgents();
  const lab::Agent& agent(int node) const { return *agents_.at(static_cast<size_t>(node - 1)); }

  // Changes a Pod's readiness in the manifests, as a kubelet would.
  absl::Status SetReady(const std::string& pod, bool ready);

 private:
  explicit Stage(StageOptions options) : options_(std::move(options)) {}

  absl::Status StartPods(const Deployment& deployment, int first_node);
  absl::Status ChooseCast();
  absl::Status WritePods() const;

  const StageOptions options_;
  Workload workload_;
  std::unique_ptr<lab::Responder> responder_;
  std::unique_ptr<lab::Cluster> cluster_;
  std::vector<PodStatus> pods_;
  std::map<std::string, std::string> web_selector_;
  std::string web_namespace_;
  Cast cast_;
  std::vector<std::unique_ptr<lab::Agent>> agents_;
};

}  // namespace fairlead::demo
