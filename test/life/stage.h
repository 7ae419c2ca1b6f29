// What the cases of a node's life share: a cluster with an agent on its first node, two Services
// that do not change, and traffic to them from everywhere.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "test/kernel/harness.h"
#include "test/kernel/service_shape.h"
#include "test/lab/responder.h"
#include "test/lab/watcher.h"
#include "test/life/traffic.h"

namespace fairlead::lab {

// Nodes n1 and n2, the pod client-1 on n1, and the pods web-1 on n1 and web-2 on n2, which serve
// TCP and UDP. n1 is the node of the agent. The Services "web" (TCP) and "clock" (UDP) have both
// pods. Every method fails the test where what it does fails. Confined to one thread.
class Stage {
 public:
  Stage();
  ~Stage();

  // As a ServiceShape has them.
  ServiceShape Web() const;
  ServiceShape Clock() const;
  // A Service of its own, with these pods: ClusterIP 10.96.7.NUMBER, node port 30700 + NUMBER.
  ServiceShape Shape(const std::string& name, int number,
                     const std::vector<std::string>& pods) const;
  // Writes the manifest, and waits for nothing.
  void Write(const ServiceShape& shape) const;

  // A pod on the node that answers TCP and UDP.
  const Pod& AddEndpoint(const std::string& name, int node_number);
  ShapeEndpoint Endpoint(const std::string& pod, const std::string& conditions = "") const;

  // The agent on n1 follows the manifests itself.
  void StartAgent(const std::vector<std::string>& flags = {},
                  const std::string& program = Program());
  // Or it is fed by a watcher of the manifests, in the client's namespace.
  void StartFedAgent(const std::vector<std::string>& flags = {});
  void StartWatcher();
  void KillWatcher();
  // With what it was started with.
  void RestartAgent();
  void KillAgent();
  // SIGTERM, and its end with exit code 0.
  void StopAgent();
  // Files and folders beside the Stage's own, for agents that are started later.
  void AddManifests(const std::string& path) { more_manifests_.push_back(path); }

  // Until the agent has brought the kernel to what it wants for the first time since its start.
  void AwaitFirstSync() const;
  // Whether it has. Read from its log, which costs the agent nothing.
  bool HasSynced() const;
  // Until the kernel is as planned; what drains is no difference.
  void AwaitPlan() const;
  // How it differs now; empty if it does not.
  std::string DifferenceNow() const;

  // The agent's; empty if it does not answer in Agent::kPatience.
  Series Metrics() const;
  // Values of a metric by its label "kind".
  std::map<std::string, int64_t> ByKind(const std::string& metric) const;
  // What it has written to the kernel, of all kinds.
  int64_t Writes() const;
  std::string AgentLog() const;

  // Traffic to the Services "web" and "clock" from a pod, the node and outside: new and long-lived,
  // TCP and UDP.
  std::vector<Flow> Flows() const;
  // The output of a command line on n1.
  std::string Run(const std::string& command) const;
  // The same, where it may fail.
  absl::StatusOr<std::string> TryRun(const std::string& command) const;

  // The machines lose everything but the agent's state folder, and come up again without agent and
  // watcher.
  void Reboot();

  const Node& node() const { return cluster_->node(1); }
  const NetNamespace& pod() const { return *cluster_->pod("client-1").net; }
  const NetNamespace& client() const { return cluster_->client(); }
  Cluster& cluster() { return *cluster_; }
  Responder& responder() { return *responder_; }
  // Of the pod's TCP server.
  Responder::Id Server(const std::string& pod) const { return servers_.at(pod); }
  const Folder& manifests() const { return manifests_; }
  const std::string& work() const { return work_.path(); }

 private:
  void Build();
  AgentOptions OptionsWith(const std::vector<std::string>& flags) const;
  void Launch(const AgentOptions& options);

  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Responder> responder_;
  std::map<std::string, Responder::Id> servers_;
  Folder manifests_;
  Folder work_;
  std::vector<std::string> more_manifests_;
  std::unique_ptr<Watcher> watcher_;
  AgentOptions agent_options_;
  std::unique_ptr<Agent> agent_;
};

// What the traffic came to: fails the test for each failed request and lost connection, and where
// nothing was asked. Returns the sum.
FlowSummary CheckUnharmed(const std::vector<FlowSummary>& summaries);

// The number that the environment variable has, or `otherwise`.
int NumberFromEnvironment(const char* name, int otherwise);

}  // namespace fairlead::lab
