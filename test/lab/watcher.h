// The program under test, as a watcher.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "test/lab/net_namespace.h"
#include "test/lab/process.h"

namespace fairlead::lab {

struct WatcherOptions {
  std::string program;                 // build/fairlead
  std::vector<std::string> manifests;  // files and folders
  std::string folder;                  // holds its socket and log
  // Tells watchers of one folder apart.
  std::string name = "watcher";
  // Of the feed, on all addresses; health and metrics have the two that follow.
  int port = 10270;
  // More of them. Certificates, or --insecure-plaintext, are among them.
  std::vector<std::string> flags = {};
};

// `fairlead watcher` in a namespace, which feeds the agents that can reach it. Thread-compatible.
class Watcher {
 public:
  // `net` outlives the watcher. It may not listen yet when this returns: agents try again.
  static absl::StatusOr<std::unique_ptr<Watcher>> Start(const NetNamespace& net,
                                                        const WatcherOptions& options);

  Process& process() { return *process_; }

  // `fairlead watcher nodes`, as text.
  absl::StatusOr<std::string> NodesText() const;
  // `fairlead watcher nodes -o json`.
  absl::StatusOr<nlohmann::json> Nodes() const;

 private:
  Watcher(const NetNamespace& net, WatcherOptions options, std::unique_ptr<Process> process)
      : net_(net), options_(std::move(options)), process_(std::move(process)) {}

  const NetNamespace& net_;
  const WatcherOptions options_;
  const std::unique_ptr<Process> process_;
};

}  // namespace fairlead::lab
