// What the kernel tests share: manifests in a folder, agents that follow them, and the comparison
// of a node's kernel with its plan.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "test/lab/agent.h"
#include "test/lab/cluster.h"

namespace fairlead::lab {

// build/fairlead, as the environment names it (FAIRLEAD_BIN).
std::string Program();

// Metrics of Prometheus' text format by name and labels.
using Series = std::map<std::string, double>;
Series ParseMetrics(const std::string& text);

// A temporary folder that goes with the object.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  // Replaces the file as a whole.
  void Write(const std::string& name, const std::string& text) const;
  // Writes into the file that is there, as an editor without care does.
  void Overwrite(const std::string& name, const std::string& text) const;
  void Remove(const std::string& name) const;

 private:
  std::string path_;
};

// An agent's options for a node of a test, with its state, socket and log in `work`.
AgentOptions OptionsFor(const Folder& work, const std::vector<std::string>& manifests,
                        const std::vector<std::string>& flags = {});

// How the node's kernel differs from what `fairlead plan` says with the same flags: IPVS as
// `ipvsadm --save -n` prints it, or, where that is right, routes and the elements of the firewall's
// sets. Lines of ipvsadm with `foreign` in them are not looked at. Empty if it does not differ.
// While endpoints drain, `draining`, real servers of weight 0 that the plan does not have are no
// difference, nor are virtual servers for marks, nor those with such real servers only and what
// they need.
std::string DifferenceFromPlan(const Node& node, const AgentOptions& options,
                               const std::string& foreign = "192.0.2.", bool draining = false);

// Waits until there is no difference, and returns the last one.
std::string AwaitPlan(const Node& node, const AgentOptions& options, bool draining = false);

// A pod's own manifest.
std::string PodManifest(const Pod& pod, const std::string& app, bool ready = true);

}  // namespace fairlead::lab
