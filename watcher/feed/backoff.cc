#include "watcher/feed/backoff.h"

#include <algorithm>

namespace fairlead {

absl::Duration Backoff::Next() {
  const absl::Duration wait = next_;
  next_ = std::min(2 * next_, max_);
  return wait * std::uniform_real_distribution<double>(0.5, 1.0)(random_);
}

}  // namespace fairlead
