// Keys of which something failed, and when each is tried again.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/time/time.h"

namespace fairlead {

// The wait before the first retry, doubled with each further failure up to the last.
inline constexpr absl::Duration kFirstRetry = absl::Milliseconds(100);
inline constexpr absl::Duration kLastRetry = absl::Seconds(30);

// Time is an argument. Confined to one thread; Key is ordered.
template <typename Key>
class RetryQueue {
 public:
  void Failed(const Key& key, const std::string& why, absl::Time now) {
    Entry& entry = entries_[key];
    entry.wait =
        entry.wait == absl::ZeroDuration() ? kFirstRetry : std::min(entry.wait * 2, kLastRetry);
    entry.due = now + entry.wait;
    entry.why = why;
  }

  void Succeeded(const Key& key) {
    if (!entries_.empty()) entries_.erase(key);
  }

  // Whether the key has failed, and not succeeded since.
  bool Contains(const Key& key) const { return !entries_.empty() && entries_.contains(key); }

  // The keys that are due. They stay in the queue, not due again before the next failure's wait or
  // their present one is over, until they have succeeded.
  std::set<Key> TakeDue(absl::Time now) {
    std::set<Key> due;
    for (auto& [key, entry] : entries_) {
      if (entry.due > now) continue;
      entry.due = now + std::max(entry.wait, kFirstRetry);
      due.insert(key);
    }
    return due;
  }

  // InfiniteFuture if nothing waits.
  absl::Time NextDue() const {
    absl::Time next = absl::InfiniteFuture();
    for (const auto& [key, entry] : entries_) next = std::min(next, entry.due);
    return next;
  }

  // The clock was set by so much.
  void ClockStepped(absl::Duration step) {
    for (auto& [key, entry] : entries_) entry.due += step;
  }

  // Why each failed last.
  std::map<Key, std::string> Reasons() const {
    std::map<Key, std::string> reasons;
    for (const auto& [key, entry] : entries_) reasons[key] = entry.why;
    return reasons;
  }

  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    absl::Duration wait = absl::ZeroDuration();
    absl::Time due;
    std::string why;
  };
  std::map<Key, Entry> entries_;
};

}  // namespace fairlead
