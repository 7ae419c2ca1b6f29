// Keeps the desired state of a node in step with what it has received.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "proxy/plan/desired_state.h"
#include "proxy/plan/plan.h"
#include "watcher/snapshot.h"

namespace fairlead {

// What a kernel says of firewall marks.
struct FoundMarks {
  // What Fairlead marked: ports of Services' addresses.
  std::map<ipvs::VirtualServerKey, uint32_t> ports;
  // Marks of virtual servers that are somebody else's.
  std::set<uint32_t> foreign;
};

// Plans Services as they change: only those named are planned, the rest stays as it is. After any
// sequence of changes the result is that of planning everything anew. Confined to one thread.
class Planner {
 public:
  explicit Planner(NodeConfig config);

  // Firewall marks that were in the kernel before: what is wanted again keeps its mark. Call before
  // the first Replan.
  void RestoreMarks(const FoundMarks& found);

  // Plans the dirty Services as they are in the snapshot; one that is not there is removed.
  Touched Replan(const Snapshot& snapshot, const std::set<ObjectName>& dirty);

  // Plans every Service for the changed configuration; without effect where it is the one there is.
  // Where the node's own addresses have changed every VIP is touched: they are its routes' sources.
  Touched SetConfig(const NodeConfig& config, const Snapshot& snapshot);

  const NodeConfig& config() const { return config_; }
  const DesiredState& desired() const { return desired_; }

  // What is wrong with one Service on this node: what its plan warns of, then the virtual servers
  // that another Service has. Walks all conflicts.
  std::vector<std::string> WarningsOf(const ObjectName& service) const;
  // The same of all Services, by Service and then as above. Walks those that have warnings.
  std::map<ObjectName, std::vector<std::string>> WarningsByService() const;
  // In that order, without the Services.
  std::vector<std::string> Warnings() const;

  // Calls of PlanService so far.
  int64_t plans_made() const { return plans_made_; }

 private:
  Touched Plan(const Snapshot& snapshot, const ObjectName& name);

  NodeConfig config_;
  MarkAllocator marks_;
  DesiredState desired_;
  // Services whose plan has warnings of its own.
  std::set<ObjectName> warned_;
  int64_t plans_made_ = 0;
};

}  // namespace fairlead
