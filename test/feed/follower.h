// An agent that keeps an eye on what the feed gives it.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "test/watcher/feed/objects.h"
#include "watcher/feed/feed_client.h"
#include "watcher/feed/feed_mailbox.h"
#include "watcher/feed/feed_update.h"
#include "watcher/snapshot.h"

namespace fairlead::feed_test {

// A client, and a snapshot to which its updates are applied as an agent does. Confined to one
// thread.
class Follower {
 public:
  // `signal`, which outlives this, is raised when Take may have something. Starts the client.
  Follower(std::vector<FeedTarget> targets, const std::string& node, absl::Duration silence_timeout,
           Signal& signal);

  // Applies what has come, and acknowledges it.
  void Take();
  void Stop() { client_.Stop(); }

  FeedClient& client() { return client_; }
  const FeedPosition& position() const { return position_; }
  const Picture& picture() const { return picture_; }

  // So far:
  int snapshots() const { return snapshots_; }
  // Objects that came in a delta with the value that was there, or that were made dirty though
  // their value is the same.
  int duplicates() const { return duplicates_; }
  // Objects that were taken away.
  const std::set<ObjectId>& taken_away() const { return taken_away_; }
  // Dirty Services of all updates.
  int dirty_services() const { return dirty_services_; }

 private:
  void Apply(const FeedUpdate& update);

  FeedMailbox mailbox_;
  FeedClient client_;
  FeedPosition position_;
  Snapshot snapshot_;
  Picture picture_;
  int snapshots_ = 0;
  int duplicates_ = 0;
  int dirty_services_ = 0;
  std::set<ObjectId> taken_away_;
};

}  // namespace fairlead::feed_test
