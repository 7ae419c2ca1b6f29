// A node's plan from manifests, without an agent and without a kernel.
#pragma once

#include <cstdio>
#include <memory>
#include <variant>

#include "proxy/cli/node_flags.h"
#include "proxy/plan/planner.h"
#include "watcher/snapshot.h"

namespace fairlead {

struct OfflinePlan {
  Snapshot snapshot;
  std::unique_ptr<Planner> planner;
};

// Reads the manifests and plans all Services. Problems and warnings go to `messages`, which may be
// null, with the name of the command in front; an int is the exit code where nothing could be
// planned.
std::variant<OfflinePlan, int> PlanOffline(const char* command, const NodeFlags& flags,
                                           std::FILE* messages = stderr);

}  // namespace fairlead
