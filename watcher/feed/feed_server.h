// The watcher's side of the feed: a gRPC service over a journal.
#pragma once

#include <grpcpp/impl/service_type.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "watcher/feed/journal.h"
#include "watcher/feed/subscriber.h"

namespace fairlead {

// Streams at once: the largest cluster that Kubernetes supports has 5,000 nodes, and each may have
// an old stream that is not yet known to be dead.
inline constexpr size_t kMaxSubscribers = 10'000;

struct FeedServerOptions {
  size_t max_subscribers = kMaxSubscribers;
  std::function<absl::Time()> now = absl::Now;
  // Called when what Subscribers() returns has changed: an agent came, acknowledged or went. On
  // gRPC's threads; must not block.
  std::function<void()> on_subscribers_changed = [] {};
};

// Serves fairlead.v1.Feed. Register `service()` with a grpc::Server; shut this down first, then the
// grpc::Server, and destroy both before the journal. A change is handed to the streams on the
// thread that commits it. Thread-safe.
class FeedServer {
 public:
  explicit FeedServer(Journal& journal, FeedServerOptions options = FeedServerOptions());
  // Shuts down. The grpc::Server is gone by then.
  ~FeedServer();
  FeedServer(const FeedServer&) = delete;
  FeedServer& operator=(const FeedServer&) = delete;

  grpc::Service& service();

  // The agents that are connected, by node name; a node may have several streams.
  std::vector<SubscriberStatus> Subscribers() const;

  // Finishes all streams with UNAVAILABLE and refuses new ones likewise. Does not wait for them:
  // the shutdown of the grpc::Server does.
  void Shutdown();

 private:
  class Core;
  class RpcService;

  // Shared with the journal, which may be calling it while this goes away.
  std::shared_ptr<Core> core_;
  std::unique_ptr<RpcService> service_;
};

}  // namespace fairlead
