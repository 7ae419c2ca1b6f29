// What there is to say of a real server that drains. Pure.
#pragma once

#include <string>

#include "proxy/plan/plan.h"
#include "proxy/reconcile/drains.h"
#include "watcher/snapshot.h"

namespace fairlead {

struct DrainDescription {
  // Empty with the reason "no Service".
  ObjectName service;
  std::string port_name;
  // Of the endpoint, where it is still in a slice.
  std::string target_name;
  std::string node_name;
  // "no Service": none wants the virtual server any more; "removed": no slice has the endpoint;
  // "terminating"; "not ready"; "not used": it is ready, and policy or topology leave it out.
  std::string reason;

  friend bool operator==(const DrainDescription&, const DrainDescription&) = default;
};

// `planned` is what is wanted of its virtual server, null: nothing; `slices` are those of the
// Service that wants it.
DrainDescription DescribeDrain(const DrainingServer& drain, const PlannedVirtualServer* planned,
                               const Snapshot::Slices& slices);

}  // namespace fairlead
