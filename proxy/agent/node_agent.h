// A node agent with everything that it is made of: the one place that knows every part.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proxy/agent/node_settings.h"
#include "watcher/manifest/manifest_reader.h"

namespace fairlead {

struct HttpAddress {
  IpAddress address;  // "::" is all addresses of both families.
  uint16_t port = 0;
};

struct NodeAgentOptions {
  NodeSettings node;
  ManifestOptions manifests;
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
