#include "watcher/feed/feed_mailbox.h"

#include <utility>

namespace fairlead {

void FeedMailbox::Put(FeedUpdate update) {
  {
    std::lock_guard lock(mutex_);
    std::vector<ObjectId> never_taken;
    if (!update.snapshot && !merged_.snapshot()) {
      for (const ObjectId& id : update.removals) {
        if (!taken_.contains(id)) never_taken.push_back(id);
      }
    }
    merged_.Merge(std::move(update));
    for (const ObjectId& id : never_taken) merged_.Forget(id);
    full_ = true;
  }
  wake_();
}

std::optional<FeedUpdate> FeedMailbox::Take() {
  std::lock_guard lock(mutex_);
  if (!std::exchange(full_, false)) return std::nullopt;
  FeedUpdate update = merged_.Take();
  if (update.snapshot) {
    // Of the unreadable ones the taker may have an older version.
    absl::flat_hash_set<ObjectId> kept;
    for (const ObjectId& id : update.unreadable) {
      if (taken_.contains(id)) kept.insert(id);
    }
    taken_ = std::move(kept);
  }
  for (const Object& object : update.upserts) taken_.insert(IdOf(object));
  for (const ObjectId& id : update.removals) taken_.erase(id);
  return update;
}

}  // namespace fairlead
