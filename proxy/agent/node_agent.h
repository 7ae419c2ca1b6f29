// A node agent with everything that it is made of: the one place that knows every part.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proxy/agent/feed_origin.h"
#include "proxy/agent/node_settings.h"
#include "proxy/daemon/daemon.h"

namespace fairlead {

struct NodeAgentOptions {
  NodeSettings node;
  FeedOriginOptions feed;
  // Where the last complete picture of a cluster is kept; empty: nowhere.
  std::string picture_path;
  // The Unix socket for inspections; its folder is made where it is not there.
  std::string socket;
  absl::Duration drain_timeout;
  // A change that has waited for twice as long makes the agent unhealthy.
  absl::Duration sync_period;
  // Where /healthz and /livez, and where /metrics are served; unset: nowhere.
  std::optional<HttpAddress> healthz;
  std::optional<HttpAddress> metrics;
};

// Runs until SIGTERM or SIGINT, and leaves the kernel as it is. Errors are of the start: what is
// needed is not there (FAILED_PRECONDITION, PERMISSION_DENIED, NOT_FOUND), with what to do about
// it; or another agent has the socket (ALREADY_EXISTS). Call once, before any thread is started.
absl::Status RunNodeAgent(const NodeAgentOptions& options);

}  // namespace fairlead
