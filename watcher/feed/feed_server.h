// The watcher's side of the feed: a gRPC service over a journal.
#pragma once

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server_builder.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "watcher/feed/journal.h"
#include "watcher/feed/subscriber.h"

namespace fairlead {

// Streams at once: the largest cluster that Kubernetes supports has 5,000 nodes, and each may have
// an old stream that is not yet known to be dead.
inline constexpr size_t kMaxSubscribers = 10'000;
// New streams: all of such a cluster at once, and some thousands a second after that.
inline constexpr double kMaxSubscribeRate = 2'000;
inline constexpr double kMaxSubscribeBurst = 5'000;
// Agents that are sent a whole picture at the same time, and for how long one that does not take it
// keeps others waiting.
inline constexpr size_t kMaxSnapshots = 50;
inline constexpr absl::Duration kSnapshotPatience = absl::Seconds(10);
inline constexpr absl::Duration kHeartbeatInterval = absl::Seconds(3);
// How long an agent that has left is spoken of.
inline constexpr absl::Duration kRememberDeparted = absl::Hours(1);

struct FeedServerOptions {
  size_t max_subscribers = kMaxSubscribers;
  // New streams a second, in the long run and at once.
  double max_subscribe_rate = kMaxSubscribeRate;
  double max_subscribe_burst = kMaxSubscribeBurst;
  size_t max_snapshots = kMaxSnapshots;
  absl::Duration snapshot_patience = kSnapshotPatience;
  absl::Duration heartbeat_interval = kHeartbeatInterval;
  // Refuses agents with UNAVAILABLE as long as the journal is not complete: another feeder may be.
  bool refuse_until_complete = false;
  // Whether the other end of a connection may call itself by this node's name. `peer` may be
  // nullptr. This and what follows is called on gRPC's threads and must not block.
  std::function<bool(const grpc::AuthContext* peer, const std::string& node_name)> may_be_node =
      [](const grpc::AuthContext*, const std::string&) { return true; };
  std::function<absl::Time()> now = absl::Now;
  // Called when what Subscribers() returns has changed: an agent came, acknowledged or went.
  std::function<void()> on_subscribers_changed = [] {};
  // An agent has carried out a revision this long after the journal had it.
  std::function<void(absl::Duration)> on_acked = [](absl::Duration) {};
  // An agent was refused, or its stream ended for a fault of its own; the message begins with who
  // it is, as far as that is known: "node n1, ipv4:10.0.0.7:51234: …".
  std::function<void(const absl::Status&)> on_fault = [](const absl::Status&) {};
};

// An agent that is connected, or was.
struct FeedNode {
  SubscriberStatus status;
  // Infinite future while it is connected.
  absl::Time left = absl::InfiniteFuture();
  // How long there has been something that it has not acknowledged. Zero: it has everything.
  absl::Duration behind;
};

// Serves fairlead.v1.Feed. Register `service()` with a grpc::Server; shut this down first, then the
// grpc::Server, and destroy both before the journal. A thread of its own hands changes to the
// streams, so that whoever commits them does not wait for that; what is committed meanwhile goes
// out together. Thread-safe.
class FeedServer {
 public:
  explicit FeedServer(Journal& journal, FeedServerOptions options = FeedServerOptions());
  // Shuts down. The grpc::Server is gone by then.
  ~FeedServer();
  FeedServer(const FeedServer&) = delete;
  FeedServer& operator=(const FeedServer&) = delete;

  // What the grpc::Server of a feed needs to notice within seconds that an agent is gone.
  static void Configure(grpc::ServerBuilder& builder);

  grpc::Service& service();

  // The agents that are connected, by node name; a node may have several streams.
  std::vector<SubscriberStatus> Subscribers() const;
  // Those and the nodes that were connected within kRememberDeparted and are not now, by name.
  std::vector<FeedNode> Nodes() const;

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
