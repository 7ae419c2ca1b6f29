// What an agent tells of itself.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proxy/kernel/routes.h"
#include "proxy/plan/element.h"
#include "proxy/plan/plan.h"
#include "proxy/reconcile/reconciler.h"

namespace fairlead {

// A consistent view of an agent between two passes of its loop. A value: the plans in it are
// immutable and shared.
struct AgentReport {
  std::string node_name;
  // A complete picture has come; before that nothing is planned.
  bool complete = false;
  // When the picture was saved, if it was read from disk and no feeder has confirmed it.
  std::optional<absl::Time> saved;
  // Carried out last, and when; 0 and InfinitePast before that.
  uint64_t revision = 0;
  absl::Time programmed = absl::InfinitePast();
  std::vector<std::shared_ptr<const ServicePlan>> plans;
  // Of the plans, those that are wanted in the kernel, sorted by key: a virtual server that several
  // Services want is in here once.
  std::vector<const PlannedVirtualServer*> servers;
  // Sorted.
  std::vector<ipvs::VirtualServerKey> owned;
  std::vector<DrainingServer> draining;
  std::vector<ReconcileFailure> failures;
  // Of the plans, and conflicts between them.
  std::vector<std::string> warnings;
  WriteCounters counters;
};

// What an agent wants of the kernel, between two passes of its loop. A value, as the report is.
struct WantedState {
  // As in AgentReport.
  bool complete = false;
  std::vector<std::shared_ptr<const ServicePlan>> plans;
  std::vector<const PlannedVirtualServer*> servers;
  // Sorted.
  std::vector<Element> elements;
  // Sorted by VIP.
  std::vector<VipRoute> routes;
  // The text of the firewall's table, see RulesetText.
  std::string ruleset;
  // Sorted: virtual servers that are in the kernel and Fairlead's.
  std::vector<ipvs::VirtualServerKey> owned;
  // Sorted.
  std::vector<DrainingServer> draining;
  // Sorted: virtual servers that nobody wants and that are there for the connections they have.
  std::vector<ipvs::VirtualServerKey> retiring;
};

}  // namespace fairlead
