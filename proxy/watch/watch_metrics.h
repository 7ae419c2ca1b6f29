// A watcher's numbers, as Prometheus reads them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "watcher/feed/feed_server.h"
#include "watcher/feed/journal.h"
#include "watcher/kubernetes/kubernetes_source.h"

namespace fairlead {

// Thread-safe.
class WatchMetrics {
 public:
  WatchMetrics();
  ~WatchMetrics();
  WatchMetrics(const WatchMetrics&) = delete;
  WatchMetrics& operator=(const WatchMetrics&) = delete;

  // See FeedServerOptions.
  void ObserveAck(absl::Duration took);
  void CountFault(const absl::Status& reason);

  // What is true now, then everything in the text format, version 0.0.4.
  std::string Render(const JournalState& journal, size_t objects,
                     const std::vector<FeedNode>& nodes,
                     const std::vector<KubernetesResourceStatus>& resources, absl::Time now);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead
