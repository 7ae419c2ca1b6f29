// The program under test, as a node's agent.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "test/lab/cluster.h"
#include "test/lab/process.h"

namespace fairlead::lab {

struct AgentOptions {
  std::string program;                 // build/fairlead
  std::vector<std::string> manifests;  // files and folders
  // Holds the agent's state, socket and log; one folder may serve several nodes.
  std::string folder;
  std::vector<std::string> flags = {};  // more of them
  // Before those, the cluster's pod range, and node ports on the node's own addresses only.
  bool default_flags = true;
  // HOST:PORT of watchers that feed the agent in place of the manifests, which then only say what
  // the agent is to come to.
  std::vector<std::string> watchers = {};
  // How they are reached: certificates, or --insecure-plaintext. Of no use without watchers.
  std::vector<std::string> transport_flags = {};
};

// `fairlead proxy` in a node's namespace, with the node's addresses. Thread-compatible.
class Agent {
 public:
  // How long a sync may take on an emulated machine.
  static constexpr absl::Duration kPatience = absl::Seconds(60);

  // `node` outlives the agent.
  static absl::StatusOr<std::unique_ptr<Agent>> Start(const Node& node,
                                                      const AgentOptions& options);

  // The arguments that say which node this is, and the manifests, for `fairlead plan` too.
  static std::vector<std::string> NodeFlags(const Node& node, const AgentOptions& options);

  Process& process() { return *process_; }
  const Node& node() const { return node_; }

  // `fairlead list`, as text.
  absl::StatusOr<std::string> ListText() const;
  // What `fairlead list` says beside the table, on stderr.
  absl::StatusOr<std::string> ListMessages() const;
  // `fairlead list -o json`.
  absl::StatusOr<nlohmann::json> List() const;
  // Lists until the answer satisfies; the last answer or error goes into the error.
  absl::StatusOr<nlohmann::json> ListUntil(
      const std::function<bool(const nlohmann::json&)>& satisfies) const;

 private:
  Agent(const Node& node, AgentOptions options, std::unique_ptr<Process> process)
      : node_(node), options_(std::move(options)), process_(std::move(process)) {}

  const Node& node_;
  const AgentOptions options_;
  std::unique_ptr<Process> process_;
};

// The first virtual server of the Service ("ns/name") and kind ("ClusterIP", "NodePort") whose
// address is of the family; null if there is none.
nlohmann::json FindServer(const nlohmann::json& list, const std::string& service,
                          const std::string& kind, bool ipv6 = false);

}  // namespace fairlead::lab
