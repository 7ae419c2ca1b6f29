#include "watcher/feed/read_cache.h"

#include <optional>

namespace fairlead {

absl::StatusOr<std::shared_ptr<const EncodedRead>> ReadCache::Read(const JournalCursor& cursor,
                                                                   absl::string_view node_name) {
  const Key key(cursor.revision, cursor.snapshot_at);
  const JournalState now = journal_.State();
  {
    std::lock_guard lock(mutex_);
    if (made_at_ != now) {
      reads_.clear();
      made_at_ = now;
    }
    const auto it = reads_.find(key);
    if (it != reads_.end()) return it->second;
  }
  absl::StatusOr<JournalRead> read = journal_.Read(cursor, kBatchBytes, node_name);
  if (!read.ok()) return read.status();
  std::optional<CompleteMark> mark;
  if (read->complete) mark = {.revision = read->next.revision, .partial = read->partial};
  auto encoded =
      std::make_shared<const EncodedRead>(EncodedRead{.message = JoinBatch(read->changes, mark),
                                                      .has_changes = !read->changes.empty(),
                                                      .next = read->next,
                                                      .complete = read->complete,
                                                      .partial = read->partial});
  if (read->personal) return encoded;
  std::lock_guard lock(mutex_);
  // Only while nothing has happened in between is this what the next reader would read.
  if (made_at_ == now && journal_.State() == now && reads_.size() < kMaxCachedReads) {
    reads_.emplace(key, encoded);
  }
  return encoded;
}

void ReadCache::Clear() {
  std::lock_guard lock(mutex_);
  reads_.clear();
}

}  // namespace fairlead
