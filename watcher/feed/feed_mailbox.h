// Where the feed's client leaves updates for the thread that acts on them.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "watcher/feed/feed_update.h"
#include "watcher/feed/update_merger.h"

namespace fairlead {

// Merges what has not been taken yet into one update: a slow taker finds the latest versions, and
// no queue. Bounded by the objects of the last and the newest picture. The taker begins with
// nothing and acts on all that it takes. Thread-safe.
class FeedMailbox {
 public:
  // `wake` is called after each Put, on the putter's thread and with no lock held: it must not
  // block.
  explicit FeedMailbox(std::function<void()> wake) : wake_(std::move(wake)) {}
  FeedMailbox(const FeedMailbox&) = delete;
  FeedMailbox& operator=(const FeedMailbox&) = delete;

  void Put(FeedUpdate update);

  // All that was put since the last call, merged; nullopt if nothing was.
  std::optional<FeedUpdate> Take();

 private:
  const std::function<void()> wake_;
  std::mutex mutex_;
  bool full_ ABSL_GUARDED_BY(mutex_) = false;
  UpdateMerger merged_ ABSL_GUARDED_BY(mutex_);
  // What the taker has. Without it, objects that come and go while the taker is busy would leave
  // removals without end.
  absl::flat_hash_set<ObjectId> taken_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fairlead
