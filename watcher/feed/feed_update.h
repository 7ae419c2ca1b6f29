// What passes between the feed's client and the agent that acts on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "watcher/model.h"

namespace fairlead {

// A complete picture of a feed. Revisions are comparable within an epoch only.
struct FeedPosition {
  std::string epoch;  // Empty: no picture yet.
  uint64_t revision = 0;

  friend bool operator==(const FeedPosition&, const FeedPosition&) = default;
};

// From one complete picture to a later one. An object occurs in one of the lists, once.
struct FeedUpdate {
  FeedPosition position;
  // Objects may be missing that there are: what was in the kernel before the agent started stays.
  bool partial = false;
  // When it was saved, of a picture that was kept on disk and that no feeder has confirmed.
  std::optional<absl::Time> saved;
  // `upserts` are all there is, but for `unreadable`.
  bool snapshot = false;
  std::vector<Object> upserts;
  std::vector<ObjectId> removals;
  // Objects whose newest version is not valid: what the agent has of them stays.
  std::vector<ObjectId> unreadable;
  // Changes that were not valid, those that name no object included.
  size_t invalid_changes = 0;
  // When the oldest complete mark that is merged into this update came.
  absl::Time received = absl::InfiniteFuture();
  // When the source learnt of the oldest change. A snapshot's changes do not count: they may have
  // been carried out long ago.
  std::optional<absl::Time> oldest_trigger;
};

// An object of which something is not in the kernel as it should be.
struct ObjectFailure {
  ObjectId object;
  std::string message;

  friend bool operator==(const ObjectFailure&, const ObjectFailure&) = default;
};

// Failures that an acknowledgement names (feed.proto), and the length of each message.
inline constexpr size_t kMaxAckFailures = 100;
inline constexpr size_t kMaxFailureMessage = 256;

}  // namespace fairlead
