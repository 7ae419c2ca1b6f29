// The journal of a feed: of each object the latest version, in the order of its revisions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "watcher/feed/batch_bytes.h"
#include "watcher/model.h"

namespace fairlead {

// Removals that are remembered, about 300 bytes each. A reader that has missed more of them starts
// again from a snapshot: enough for a cluster that loses all its slices while a reader is away.
inline constexpr size_t kMaxTombstones = 16'384;

// A reader's place. Costs the journal nothing.
struct JournalCursor {
  // All changes up to here were read.
  uint64_t revision = 0;
  // Head revision when a snapshot was begun: removals up to here are none of its business.
  uint64_t snapshot_at = 0;
};

struct JournalStart {
  JournalCursor cursor;
  // The reader forgets what it had; otherwise it goes on from there.
  bool snapshot = true;
};

struct JournalRead {
  std::vector<BatchElement> changes;
  JournalCursor next;
  // With these changes the reader's picture is that of revision `next.revision`.
  bool complete = false;
  // As MarkComplete was told.
  bool partial = false;
  // There were Nodes among what was read: for a reader of another node this would be otherwise.
  bool personal = false;
};

struct JournalState {
  uint64_t head_revision = 0;
  bool complete = false;
  bool partial = false;

  friend bool operator==(const JournalState&, const JournalState&) = default;
};

class JournalListener {
 public:
  virtual ~JournalListener() = default;
  // There may be more to read. Called on the writer's thread with no lock held, after the fact and
  // possibly from several threads at once; must not block, may read.
  virtual void OnJournalChanged() = 0;
};

// Writers commit changes, each with a revision of its own; readers are cursors. A version that is
// superseded is gone: a slow reader skips it. Thread-safe.
class Journal {
 public:
  // `epoch` is not empty and differs from that of any journal a reader may have read.
  explicit Journal(std::string epoch = RandomEpoch(), size_t max_tombstones = kMaxTombstones);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  static std::string RandomEpoch();

  // Writers. What makes no difference is no change and gets no revision. `triggered` is when the
  // source learnt of it, infinite if that is not known.
  void Upsert(const Object& object, absl::Time triggered);
  void Remove(const ObjectId& id, absl::Time triggered);
  // Makes `picture` all there is. No reader sees a part of it as complete.
  void Replace(const Picture& picture, absl::Time triggered);
  // Makes `picture`, which holds objects of this kind alone, all there is of the kind.
  void ReplaceKind(ObjectKind kind, const Picture& picture, absl::Time triggered);
  // From now on readers are told when they have everything. Not to be called before the source has
  // given its whole first picture, which may be empty. `partial`: there are objects that the source
  // cannot read and that it has never read; may change at any time.
  void MarkComplete(bool partial = false);

  // Where a reader begins that has the picture of `revision` in `epoch`.
  JournalStart Open(absl::string_view epoch, uint64_t revision) const;
  // Changes after the cursor of together at most `limit_bytes`, but at least one if there is one.
  // Nodes other than `node_name` are left out. An object is among them again if it changed in
  // between. Cost is proportional to the result, to the Nodes left out, and to the tombstones where
  // a snapshot begins. OUT_OF_RANGE: removals that the reader would need are forgotten, it has to
  // begin again.
  absl::StatusOr<JournalRead> Read(const JournalCursor& cursor, size_t limit_bytes,
                                   absl::string_view node_name) const;

  // Held weakly: a listener that is gone is forgotten.
  void AddListener(std::weak_ptr<JournalListener> listener);

  const std::string& epoch() const { return epoch_; }
  uint64_t head_revision() const;
  bool complete() const;
  // While it stays as it is, Read gives the same result.
  JournalState State() const;
  // Without tombstones.
  size_t object_count() const;

 private:
  struct Entry {
    ObjectId id;
    std::optional<Object> object;  // nullopt: a tombstone.
    BatchElement bytes;
  };
  // What becomes of an object.
  struct Edit {
    ObjectId id;
    std::optional<Object> object;
  };

  // The version that is there, nullptr for none and for a tombstone.
  const Object* FindLive(const ObjectId& id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  // Makes `picture` all there is among what `concerned` accepts.
  template <typename Concerned>
  void ReplaceWhere(const Concerned& concerned, const Picture& picture, absl::Time triggered);
  void Commit(std::vector<Edit> edits, absl::Time triggered)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  void Insert(uint64_t revision, Entry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Notify();

  const std::string epoch_;
  const size_t max_tombstones_;

  // Serialises writers. A writer compares and encodes under this one alone, so that readers wait
  // only while it links in the result. Taken before mutex_.
  std::mutex write_mutex_;
  // Guards what follows; written under both mutexes, read under either.
  mutable std::shared_mutex mutex_;
  std::map<uint64_t, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<ObjectId, uint64_t> revision_by_id_ ABSL_GUARDED_BY(mutex_);
  std::set<uint64_t> tombstones_ ABSL_GUARDED_BY(mutex_);
  uint64_t head_ ABSL_GUARDED_BY(mutex_) = 0;
  // Newest removal that was forgotten.
  uint64_t horizon_ ABSL_GUARDED_BY(mutex_) = 0;
  bool complete_ ABSL_GUARDED_BY(mutex_) = false;
  bool partial_ ABSL_GUARDED_BY(mutex_) = false;

  std::mutex listeners_mutex_;
  std::vector<std::weak_ptr<JournalListener>> listeners_ ABSL_GUARDED_BY(listeners_mutex_);
};

}  // namespace fairlead
