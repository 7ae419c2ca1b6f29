// Who may be sent a whole picture now.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "absl/time/time.h"

namespace fairlead {

// A place each for so many, the others wait in the order in which they came. A whole picture is
// thousands of times as large as a change: when all agents of a cluster need one, those that are
// served at the same time share what the machine can do, and none must fall silent meanwhile. Who
// has a place for longer than `patience` does not count any more. Thread-compatible.
template <typename Reader>
class SnapshotGate {
 public:
  SnapshotGate(size_t places, absl::Duration patience) : places_(places), patience_(patience) {}

  // Whether the reader has a place; otherwise it waits for one.
  bool Enter(const std::shared_ptr<Reader>& reader, absl::Time now) {
    if (inside_.size() < places_) {
      inside_.emplace(reader.get(), now);
      return true;
    }
    waiting_.push_back(reader);
    return false;
  }

  // The reader, which may be in neither, is ready or gone. Those who have a place by that.
  std::vector<std::shared_ptr<Reader>> Leave(const Reader* reader, absl::Time now) {
    inside_.erase(reader);
    std::erase_if(waiting_, [reader](const auto& waiting) { return waiting.get() == reader; });
    return Admit(now);
  }

  // The same for those that have had a place for too long.
  std::vector<std::shared_ptr<Reader>> Expire(absl::Time now) {
    std::erase_if(inside_, [&](const auto& entry) { return now - entry.second > patience_; });
    return Admit(now);
  }

 private:
  std::vector<std::shared_ptr<Reader>> Admit(absl::Time now) {
    std::vector<std::shared_ptr<Reader>> admitted;
    while (inside_.size() < places_ && !waiting_.empty()) {
      inside_.emplace(waiting_.front().get(), now);
      admitted.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    return admitted;
  }

  const size_t places_;
  const absl::Duration patience_;
  // Since when.
  std::map<const Reader*, absl::Time> inside_;
  std::deque<std::shared_ptr<Reader>> waiting_;
};

}  // namespace fairlead
