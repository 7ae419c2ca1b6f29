// When a journal came to its revisions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "absl/time/time.h"

namespace fairlead {

// Remembers the last `capacity` moments at which the head moved on. Thread-compatible.
class CommitTimes {
 public:
  explicit CommitTimes(size_t capacity = 4096) : capacity_(capacity) {}

  // The journal's head is `revision` at `now`. Neither goes back.
  void Note(uint64_t revision, absl::Time now) {
    if (!heads_.empty() && heads_.back().first >= revision) return;
    heads_.emplace_back(revision, now);
    if (heads_.size() > capacity_) heads_.pop_front();
  }

  // When the journal first had more than `revision`: since then who has that one is behind.
  // Infinite future where it has not. Of a moment that is forgotten, the oldest one remembered.
  absl::Time SupersededAt(uint64_t revision) const;
  // When the journal first had `revision`; likewise.
  absl::Time ReachedAt(uint64_t revision) const {
    return revision == 0 ? absl::InfinitePast() : SupersededAt(revision - 1);
  }

 private:
  const size_t capacity_;
  std::deque<std::pair<uint64_t, absl::Time>> heads_;
};

}  // namespace fairlead
