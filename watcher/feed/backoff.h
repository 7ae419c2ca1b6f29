// How long to wait before the next attempt.
#pragma once

#include <cstdint>
#include <random>

#include "absl/time/time.h"

namespace fairlead {

// Waits double from one to the next up to a limit, and each is shortened at random by up to a half,
// so that those who failed together do not come back together. Thread-compatible.
class Backoff {
 public:
  // 0 < initial <= max.
  Backoff(absl::Duration initial, absl::Duration max, uint64_t seed)
      : initial_(initial), max_(max), next_(initial), random_(seed) {}

  absl::Duration Next();
  // After a success: begins again with the initial wait.
  void Reset() { next_ = initial_; }

 private:
  const absl::Duration initial_;
  const absl::Duration max_;
  absl::Duration next_;
  std::mt19937_64 random_;
};

}  // namespace fairlead
