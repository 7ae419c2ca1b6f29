// What the journal gives to readers, put together once for all who are at the same place.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "watcher/feed/journal.h"

namespace fairlead {

// Encoded changes of a batch. Small, as each stream may hold one that the other end is slow to
// take; large enough that its own cost does not count.
inline constexpr size_t kBatchBytes = 64 << 10;

// Batches that are kept, together about 16 MiB.
inline constexpr size_t kMaxCachedReads = 256;

// One read of the journal, as a message.
struct EncodedRead {
  // A SubscribeResponse with a Batch; with the complete mark if `complete`.
  grpc::ByteBuffer message;
  bool has_changes = false;
  JournalCursor next;
  bool complete = false;
  bool partial = false;
};

// Reads a journal for many readers. All that are at one place share what was read and encoded for
// the first of them, until the journal changes. Thread-safe.
class ReadCache {
 public:
  // `journal` outlives the cache.
  explicit ReadCache(const Journal& journal) : journal_(journal) {}

  // As Journal::Read.
  absl::StatusOr<std::shared_ptr<const EncodedRead>> Read(const JournalCursor& cursor,
                                                          absl::string_view node_name);
  // Gives the memory back.
  void Clear();

 private:
  using Key = std::pair<uint64_t, uint64_t>;  // Of the cursor.

  const Journal& journal_;
  std::mutex mutex_;
  // Of the journal when the reads were made.
  JournalState made_at_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<Key, std::shared_ptr<const EncodedRead>> reads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fairlead
