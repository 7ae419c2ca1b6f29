// Several changes as one.
#pragma once

#include <optional>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/feed/feed_update.h"

namespace fairlead {

// Collects changes and whole updates, in the order in which they happened; of an object the latest
// remains. Holds one entry for each object. Thread-compatible.
class UpdateMerger {
 public:
  // What was collected is to replace all that was before.
  void BeginSnapshot();
  void Add(DecodedChange change);
  // `id` is nullopt where even that could not be read.
  void AddInvalid(std::optional<ObjectId> id);
  void Merge(FeedUpdate later);
  // As if the object had never been mentioned.
  void Forget(const ObjectId& id) { changes_.erase(id); }

  bool snapshot() const { return merged_.snapshot; }

  // What was collected; nothing is left. Objects are in the order of their ids.
  FeedUpdate Take();

 private:
  struct Removal {};
  struct Unreadable {};
  using Outcome = std::variant<Object, Removal, Unreadable>;

  void Remove(const ObjectId& id);
  void KeepOldest(const std::optional<absl::Time>& triggered);

  absl::flat_hash_map<ObjectId, Outcome> changes_;
  // All but the lists.
  FeedUpdate merged_;
};

}  // namespace fairlead
