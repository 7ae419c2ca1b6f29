// The agent's side of the feed.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "watcher/feed/feed_mailbox.h"
#include "watcher/feed/feed_update.h"

namespace fairlead {

// Waits between attempts to subscribe. The longest one bounds how late an agent learns that its
// watcher is back; the shortest one is what a watcher's restart costs.
inline constexpr absl::Duration kMinReconnectWait = absl::Milliseconds(100);
inline constexpr absl::Duration kMaxReconnectWait = absl::Seconds(10);
// A feeder that says nothing for this long is taken for dead; it sends a heartbeat every three
// seconds.
inline constexpr absl::Duration kSilenceTimeout = absl::Seconds(10);

// A connection on which nothing comes is asked for a sign of life after this long. As a rule
// heartbeats come first.
inline constexpr absl::Duration kChannelKeepalive = absl::Seconds(10);

// Settings that a channel for a FeedClient must have. It fails fast, as it is the client that tries
// again. A connection that gives no sign of life for half as long as `keepalive` when it is asked
// is ended.
grpc::ChannelArguments FeedChannelArguments(absl::Duration keepalive = kChannelKeepalive);

// Largest message that a channel for a FeedClient must let in
// (GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH): a batch is larger than 1 MiB only where one object is.
inline constexpr int kMaxReceiveBytes = 64 << 20;

// A feeder that may be followed.
struct FeedTarget {
  std::string name;  // For people: "10.0.0.5:10270".
  std::shared_ptr<grpc::Channel> channel;
};

struct FeedClientOptions {
  // Of the agent's Node. Not empty.
  std::string node_name;
  // Program and version, for people.
  std::string agent;
  absl::Duration min_reconnect_wait = kMinReconnectWait;
  absl::Duration max_reconnect_wait = kMaxReconnectWait;
  absl::Duration silence_timeout = kSilenceTimeout;
  // Of the waits' jitter.
  uint64_t seed = std::random_device()();
  std::function<absl::Time()> now = absl::Now;
};

struct FeedClientStatus {
  // A feeder has answered on the stream that is open.
  bool connected = false;
  // The feeder that is followed, or tried.
  std::string feeder;
  // Its newest revision as far as is known; of the position's epoch while connected.
  uint64_t head_revision = 0;
  // The last complete picture, and when it was last known to be current.
  FeedPosition position;
  bool partial = false;
  // It was saved on disk, and no feeder has confirmed it yet.
  bool unconfirmed = false;
  absl::Time last_complete = absl::InfinitePast();
  uint64_t attempts = 0;
  uint64_t invalid_changes = 0;
  // Why the last stream ended; empty if none has.
  std::string last_error;
};

// Follows a feed and puts each complete picture's difference into a mailbox. Reconnects for ever,
// resuming from the last complete picture; a part of a change that was received when a connection
// broke is forgotten. Of several feeders it begins with one that its node's name selects, so that
// the agents of a cluster are spread over them, stays while that one answers, and goes on to the
// next when it does not. Runs on gRPC's threads. Thread-safe, but for Start and Stop.
class FeedClient {
 public:
  // At least one target. `mailbox` outlives the client. Nothing happens before Start.
  FeedClient(std::vector<FeedTarget> targets, FeedClientOptions options, FeedMailbox& mailbox);
  // Stops. Not to be called on a thread of gRPC's either, as the channel may go with it.
  ~FeedClient();
  FeedClient(const FeedClient&) = delete;
  FeedClient& operator=(const FeedClient&) = delete;

  void Start();
  // The same with a picture, of `saved`, that was put into the mailbox already and that no feeder
  // has confirmed.
  void StartFrom(const FeedPosition& known, absl::Time saved);
  // Ends the stream and waits for its end: nothing is put into the mailbox after that. Not to be
  // called from the mailbox's `wake`. Cannot be started again.
  void Stop();

  // The kernel is as the update of `position` demands, but for `failures`, the worst first. Sent
  // again after a reconnect; of no effect where the feeder has a new epoch by now.
  void Ack(const FeedPosition& position, absl::Duration programming_time,
           const std::vector<ObjectFailure>& failures);

  FeedClientStatus status() const;

 private:
  class Core;

  std::unique_ptr<Core> core_;
};

}  // namespace fairlead
