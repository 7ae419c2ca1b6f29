#include "watcher/feed/commit_times.h"

#include <algorithm>

namespace fairlead {

absl::Time CommitTimes::SupersededAt(uint64_t revision) const {
  const auto it =
      std::upper_bound(heads_.begin(), heads_.end(), revision,
                       [](uint64_t wanted, const std::pair<uint64_t, absl::Time>& head) {
                         return wanted < head.first;
                       });
  return it == heads_.end() ? absl::InfiniteFuture() : it->second;
}

}  // namespace fairlead
