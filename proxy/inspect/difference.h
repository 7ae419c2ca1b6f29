// How the kernel differs from what the agent wants of it. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ipvs/types.h"
#include "proxy/agent/report.h"
#include "proxy/kernel/routes.h"
#include "proxy/kernel/ruleset.h"
#include "proxy/kernel/sysctl.h"
#include "proxy/plan/element.h"
#include "proxy/reconcile/drift.h"

namespace fairlead {

struct SysctlState {
  Sysctl wanted;
  // Unset: this kernel has no such setting, or its module is not loaded.
  std::optional<std::string> value;

  friend bool operator==(const SysctlState&, const SysctlState&) = default;
};

// All that Fairlead looks at in a kernel.
struct KernelState {
  // Sorted by key, as their real servers are; those of others among them.
  std::vector<ipvs::VirtualServer> servers;
  // Of the table `inet fairlead`; unset: there is no such table.
  std::optional<RulesetShape> ruleset;
  std::vector<Element> elements;  // Sorted.
  std::vector<VipRoute> routes;   // Sorted by VIP.
  std::vector<SysctlState> sysctls;
};

// The virtual servers whose record of ownership the kernel has, sorted.
std::vector<ipvs::VirtualServerKey> RecordedServers(const KernelState& kernel);

// One thing that is missing, is there and should not be, or is there otherwise.
struct Difference {
  DriftKind kind = DriftKind::kVirtualServer;
  // "TCP 10.96.0.1:80", "10.244.1.2:8080 of TCP 10.96.0.1:80", "owned4 10.96.0.1 . tcp . 80",
  // "table inet fairlead", "route 10.96.0.1", "net.ipv4.ip_forward".
  std::string object;
  // The Service (and port) that wants it, "shop/cart:http"; empty where nobody does, or it is for
  // all of them.
  std::string service;
  // What it is shown with: the virtual server of a real server, the set of an element; otherwise
  // the object.
  std::string group;
  // The line of the group that both sides have; empty: none.
  std::string context;
  // As the plan and the kernel have it, in the form in which the tool of its kind writes it; empty:
  // not at all.
  std::vector<std::string> wanted;
  std::vector<std::string> found;

  friend bool operator==(const Difference&, const Difference&) = default;
};

// What is missing, of Fairlead's and not wanted, or otherwise than wanted: virtual servers with
// their real servers, then the ruleset, elements, routes and sysctls, each in order. Virtual
// servers of others that nobody wants do not count, nor do real servers of weight 0 that drain, and
// what virtual servers need that retire. Of a virtual server that is missing, or too much, the real
// servers are not counted on their own.
std::vector<Difference> CompareWithKernel(const WantedState& wanted, const KernelState& kernel);

// How many there are of each kind; kinds without one are left out.
std::map<DriftKind, size_t> CountByKind(const std::vector<Difference>& differences);

}  // namespace fairlead
