// When the last complete picture goes to disk, and the thread that brings it there.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "watcher/feed/feed_update.h"
#include "watcher/feed/picture_file.h"
#include "watcher/model.h"

namespace fairlead {

// Shortest time from the end of a write to the next, and how many times as long as a write it lasts
// at least: saving takes at most a hundredth of a core and of a disk.
inline constexpr absl::Duration kMinSaveWait = absl::Seconds(10);
inline constexpr int kSaveWaitFactor = 100;

// Decides when to write. Knows no clock. Thread-compatible.
class SaveSchedule {
 public:
  void OnChange() { unsaved_ = true; }
  // A write of all changes so far begins; OnChange in the course of it is for the next one.
  void OnBegin(absl::Time now);
  void OnEnd(absl::Time now, bool saved);

  bool unsaved() const { return unsaved_; }
  // Until the next write should begin; infinite: there is nothing to write. Never longer than the
  // wait after the last write, though the clock be set back.
  absl::Duration Remaining(absl::Time now) const;

 private:
  bool unsaved_ = false;
  absl::Time began_;
  absl::Time ended_ = absl::InfinitePast();
  absl::Duration wait_;
};

struct PictureSaverOptions {
  // Writes a picture; SavePicture with a path, as a rule. Called on the saver's thread alone.
  std::function<absl::Status(const FeedPosition&, absl::Time, const std::vector<Object>&)> save;
  std::function<absl::Time()> now = absl::Now;
};

struct PictureSaverStatus {
  // Of the last write that succeeded; InfinitePast and an empty epoch: there was none.
  absl::Time saved = absl::InfinitePast();
  FeedPosition position;
  uint64_t writes = 0;
  uint64_t failures = 0;
  // Of the last write. OK before the first.
  absl::Status error;
};

// Keeps its own list of an agent's objects, which are shared and immutable, so that the agent never
// waits for a disk: it waits while the list is copied, some milliseconds for 20,000 objects. A
// failure is logged once, until a write succeeds, and the write is tried again as a change would
// be. Thread-safe, but for Stop.
class PictureSaver {
 public:
  explicit PictureSaver(PictureSaverOptions options);
  // Stops.
  ~PictureSaver();
  PictureSaver(const PictureSaver&) = delete;
  PictureSaver& operator=(const PictureSaver&) = delete;

  // What the file holds, before the first Put.
  void Begin(const SavedPicture& picture);
  // An update that the agent has taken. Updates come in their order. Cost is proportional to it.
  void Put(const FeedUpdate& update);
  // Writes what is not saved yet, and ends the thread. Once is enough.
  void Stop();

  PictureSaverStatus status() const;

 private:
  void Run();
  // Called and left with the lock held, but without it while the disk is waited for.
  void Save(std::unique_lock<std::mutex>& lock);

  const PictureSaverOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  absl::flat_hash_map<ObjectId, Object> objects_ ABSL_GUARDED_BY(mutex_);
  FeedPosition position_ ABSL_GUARDED_BY(mutex_);
  SaveSchedule schedule_ ABSL_GUARDED_BY(mutex_);
  PictureSaverStatus status_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace fairlead
