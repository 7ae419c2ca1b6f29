// Objects of the model for the feed's tests, and an agent that collects them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "watcher/feed/apply.h"
#include "watcher/feed/feed_client.h"
#include "watcher/feed/feed_mailbox.h"
#include "watcher/model.h"
#include "watcher/snapshot.h"

namespace fairlead::feed_test {

using Random = std::mt19937_64;

// Longer than anything takes, so that a test that waits for it has failed.
inline constexpr std::chrono::seconds kBound{20};

// Services of namespace "shop", and other objects, with a value that tells versions apart.
Object MakeService(const std::string& name, int version = 0);
Object MakeSlice(const std::string& name, const std::string& service, int version = 0);
Object MakeNode(const std::string& name, const std::string& zone = "");
ObjectId ServiceId(const std::string& name);

// Any object with name `name`, every field of which may be set.
Object RandomObject(Random& random, const std::string& name);

// "Service shop/cart" and so on, sorted, for comparison as a whole.
std::vector<std::string> Names(const std::vector<Object>& objects);
std::vector<std::string> Names(const std::vector<ObjectId>& ids);

// Wakes who waits for a condition that other threads make true.
class Signal {
 public:
  void Raise();
  // Whether `condition` came true in time. It is looked at after each Raise, without a lock.
  bool Await(const std::function<bool()>& condition);

 private:
  std::mutex mutex_;
  std::condition_variable raised_;
  uint64_t count_ = 0;
};

// A client, and a taker that applies what comes to a snapshot and to a picture.
class Agent {
 public:
  // The channel's feeder is called "feeder".
  explicit Agent(std::shared_ptr<grpc::Channel> channel, const std::string& node = "n1");
  explicit Agent(std::vector<FeedTarget> targets, const std::string& node = "n1");

  FeedClient& client() { return client_; }
  // The next update, applied; fails the test if none comes.
  FeedUpdate Next();
  // Takes updates until one is of `revision`.
  FeedUpdate Until(uint64_t revision);
  const Picture& picture() const { return picture_; }
  Snapshot& snapshot() { return snapshot_; }

 private:
  Signal signal_;
  FeedMailbox mailbox_;
  FeedClient client_;
  Snapshot snapshot_;
  Picture picture_;
};

}  // namespace fairlead::feed_test
