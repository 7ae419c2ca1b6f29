// How many of something are let through in a time.
#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace fairlead {

// A token bucket: `burst` at once, and `per_second` of them in the long run. Thread-compatible.
class RateLimit {
 public:
  // Both at least 1.
  RateLimit(double per_second, double burst)
      : per_second_(per_second), burst_(burst), tokens_(burst) {}

  // Whether one more is let through at `now`, which does not go back.
  bool Take(absl::Time now) {
    if (last_ != absl::InfinitePast()) {
      tokens_ = std::min(burst_, tokens_ + per_second_ * absl::ToDoubleSeconds(now - last_));
    }
    last_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  const double per_second_;
  const double burst_;
  double tokens_;
  absl::Time last_ = absl::InfinitePast();
};

}  // namespace fairlead
