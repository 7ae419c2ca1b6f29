#include "proxy/plan/planner.h"

#include <map>
#include <memory>
#include <utility>

namespace fairlead {

Planner::Planner(NodeConfig config) : config_(std::move(config)) { marks_.SetRange(config_.marks); }

void Planner::RestoreMarks(const FoundMarks& found) {
  marks_.Restore(found.ports);
  marks_.Avoid(found.foreign);
}

Touched Planner::Replan(const Snapshot& snapshot, const std::set<ObjectName>& dirty) {
  Touched touched;
  for (const ObjectName& name : dirty) touched.Merge(Plan(snapshot, name));
  return touched;
}

Touched Planner::SetConfig(const NodeConfig& config, const Snapshot& snapshot) {
  if (config == config_) return {};
  const bool sources_changed = config.node_ips != config_.node_ips;
  config_ = config;
  marks_.SetRange(config.marks);
  std::set<ObjectName> all;
  for (const auto& [name, service] : snapshot.services()) all.insert(name);
  // Those that went away since the last call.
  for (const auto& [name, plan] : desired_.plans()) all.insert(name);
  Touched touched = Replan(snapshot, all);
  if (sources_changed) {
    for (const IpAddress& vip : desired_.Vips()) touched.vips.insert(vip);
  }
  return touched;
}

Touched Planner::Plan(const Snapshot& snapshot, const ObjectName& name) {
  auto plan = std::make_shared<ServicePlan>();
  plan->service = name;
  if (const std::shared_ptr<const Service> service = snapshot.FindService(name)) {
    const ServiceMarks marks = marks_.Assign(name, WantedMarks(*service, config_));
    *plan = PlanService(*service, snapshot.SlicesOf(name), config_, marks);
    ++plans_made_;
  } else {
    marks_.Assign(name, {});
  }
  if (plan->warnings.empty()) {
    warned_.erase(name);
  } else {
    warned_.insert(name);
  }
  return desired_.Update(std::move(plan));
}

std::vector<std::string> Planner::WarningsOf(const ObjectName& service) const {
  std::vector<std::string> warnings;
  const auto it = desired_.plans().find(service);
  if (it != desired_.plans().end()) warnings = it->second->warnings;
  for (const Conflict& conflict : desired_.Conflicts()) {
    if (conflict.loser == service) warnings.push_back(conflict.Format());
  }
  return warnings;
}

std::map<ObjectName, std::vector<std::string>> Planner::WarningsByService() const {
  std::map<ObjectName, std::vector<std::string>> by_service;
  for (const ObjectName& name : warned_) by_service[name] = desired_.plans().at(name)->warnings;
  for (const Conflict& conflict : desired_.Conflicts()) {
    by_service[conflict.loser].push_back(conflict.Format());
  }
  return by_service;
}

std::vector<std::string> Planner::Warnings() const {
  std::vector<std::string> warnings;
  auto by_service = WarningsByService();
  for (auto& [name, of_service] : by_service) {
    for (std::string& warning : of_service) warnings.push_back(std::move(warning));
  }
  return warnings;
}

}  // namespace fairlead
