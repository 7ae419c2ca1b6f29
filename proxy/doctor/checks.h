// What is wrong with a node: functions of what was read.
#pragma once

#include <vector>

#include "proxy/doctor/facts.h"
#include "proxy/doctor/finding.h"

namespace fairlead {

// Settings that are looked at, besides those that Fairlead needs (proxy/kernel/sysctl.h).
std::vector<std::string> WatchedSettings();

std::vector<Finding> CheckKernel(const KernelFacts& kernel);
std::vector<Finding> CheckSettings(const SettingFacts& settings);
// `settings` and `kernel`: what estimators cost depends on them.
std::vector<Finding> CheckTable(const TableFacts& table, const SettingFacts& settings,
                                const KernelFacts& kernel);
// `agent`: one that works makes another proxy an error.
std::vector<Finding> CheckProxies(const ProxyFacts& proxies, const TableFacts& table,
                                  const AgentFacts& agent);
std::vector<Finding> CheckClock(const ClockFacts& clock);
std::vector<Finding> CheckRights(const RightsFacts& rights);
std::vector<Finding> CheckState(const StateFolderFacts& state);
std::vector<Finding> CheckAgent(const AgentFacts& agent, absl::Time now);

// All of these, in the order in which a person would want to read them.
std::vector<Finding> CheckNode(const Facts& facts);

}  // namespace fairlead
