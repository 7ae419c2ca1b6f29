// A node agent with everything that it is made of: the one place that knows every part.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proxy/agent/feed_origin.h"
#include "proxy/agent/node_settings.h"
#include "proxy/daemon/daemon.h"
#include "proxy/kernel/ipvs_timeouts.h"
#include "proxy/kernel/sysctl.h"
#include "proxy/metrics/traffic.h"

namespace fairlead {

struct NodeAgentOptions {
  NodeSettings node;
  FeedOriginOptions feed;
  // Where the last complete picture of a cluster is kept; empty: nowhere.
  std::string picture_path;
  // The Unix socket for inspections; its folder is made where it is not there.
  std::string socket;
  // Where its drains are kept for the next agent; empty: nowhere.
  std::string drains_path;
  absl::Duration drain_timeout;
  absl::Duration udp_drain_timeout;
  // In which every virtual server is read back once; zero: none is.
  absl::Duration audit_period;
  // Remove what is Fairlead's at the end, in place of leaving the kernel as it is.
  bool cleanup_on_exit = false;
  // Load the kernel's modules first, before rights are given up.
  bool load_modules = false;
  // Only plan, and compare with the kernel: write nothing.
  bool shadow = false;
  // Remove what kube-proxy has left, once everything is in the kernel.
  bool take_over_kube_proxy = false;
  // To be had beside those that Fairlead needs.
  std::vector<Sysctl> kernel_settings;
  IpvsTimeouts ipvs_timeouts;
  // A change that has waited for twice as long makes the agent unhealthy.
  absl::Duration sync_period;
  // Where /healthz and /livez, and where /metrics are served; unset: nowhere.
  std::optional<HttpAddress> healthz;
  std::optional<HttpAddress> metrics;
  MetricsDetail metrics_detail = MetricsDetail::kService;
};

// Runs until SIGTERM or SIGINT. Errors are of the start: what is
// needed is not there (FAILED_PRECONDITION, PERMISSION_DENIED, NOT_FOUND), with what to do about
// it; or another agent has the socket (ALREADY_EXISTS). Call once, before any thread is started.
absl::Status RunNodeAgent(const NodeAgentOptions& options);

}  // namespace fairlead
