// A watcher with everything that it is made of.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "proxy/daemon/daemon.h"
#include "watcher/feed/feed_server.h"
#include "watcher/feed/tls_files.h"
#include "watcher/source/source.h"

namespace fairlead {

struct WatcherOptions {
  SourceOptions source;
  std::string listen;           // "[::]:10270", as gRPC takes it.
  std::optional<TlsFiles> tls;  // Unset: plain text.
  // An agent's certificate has to be that of its node. Only with TLS.
  bool require_node_name = false;
  size_t max_subscribers = kMaxSubscribers;
  double max_subscribe_rate = kMaxSubscribeRate;
  // The Unix socket for inspections.
  std::string socket;
  std::optional<HttpAddress> healthz;
  std::optional<HttpAddress> metrics;
};

// Runs until SIGTERM or SIGINT. Errors are of the start and name the flag. Call once, before any
// thread is started.
absl::Status RunWatcher(const WatcherOptions& options);

}  // namespace fairlead
