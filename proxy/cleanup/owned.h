// Removing what Fairlead owns on a node, and nothing else.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ipvs/table.h"
#include "proxy/cleanup/report.h"
#include "proxy/kernel/firewall.h"
#include "proxy/kernel/routes.h"

namespace fairlead {

// Where things are removed. What is referred to outlives it.
struct OwnedKernel {
  // Null where this kernel has no IPVS: then there are no virtual servers.
  ipvs::Table* table = nullptr;
  Firewall& firewall;
  Routes& routes;
  // Deletes `table inet fairlead`; one that is not there is no error. DeleteFirewallTable, or a
  // test's.
  std::function<absl::Status()> delete_firewall;
};

struct OwnedOptions {
  // They stay, without a record, for another proxy that takes them over.
  bool keep_virtual_servers = false;
};

// What of Fairlead's is on the node.
struct OwnedThings {
  std::vector<VipRoute> routes;
  // Whether there is a table, and its elements.
  bool firewall = false;
  std::vector<Element> elements;
  // Those that the table records and that are there, marks last. All that it records where the
  // kernel's could not be read.
  std::vector<ipvs::VirtualServerKey> virtual_servers;
  // What could not be read: an error is never "nothing there".
  std::vector<CleanupRemark> unread;
};

// Reads, and writes nothing.
OwnedThings FindOwned(const OwnedKernel& kernel);

// What RemoveOwned would do. Pure.
CleanupReport PlanOwnedRemoval(const OwnedThings& things, const OwnedOptions& options);

// Removes, in the reconciler's order: routes; ports that are open; virtual servers of addresses;
// marks; virtual servers of marks; the table, which is the record of them all. So the host's own
// ports are never reachable through a VIP; and whatever interrupts it, the next run goes on. The
// table stays where one of its virtual servers does, unless that is asked for.
//
// What others made is not touched, be it on our VIPs. Call it when no agent runs on the node any
// more, or as the agent's last act: nobody else may use `kernel` meanwhile.
CleanupReport RemoveOwned(const OwnedKernel& kernel, const OwnedOptions& options);

}  // namespace fairlead
