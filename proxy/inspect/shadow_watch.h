// What an agent in shadow mode has to say: how the kernel that another proxy keeps differs from the
// plan.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proxy/inspect/difference.h"

namespace fairlead {

// Between two comparisons; or longer, so that reading a large table takes no more than a twentieth
// of one core.
inline constexpr absl::Duration kShadowPeriod = absl::Seconds(10);
inline constexpr int kShadowRest = 20;

// Before the first one, while nothing is planned.
inline constexpr absl::Duration kShadowFirst = absl::Seconds(1);

// Lines for the log. Confined to one thread.
class ShadowLog {
 public:
  // Differences that a line shows.
  static constexpr size_t kExamples = 3;

  // The line, where there is something new to say of the comparison.
  std::optional<std::string> Note(const absl::StatusOr<std::vector<Difference>>& differences);

 private:
  // Of what was last told; unset: nothing yet.
  std::optional<size_t> told_;
};

struct ShadowWatchOptions {
  // FAILED_PRECONDITION: nothing is planned yet.
  std::function<absl::StatusOr<std::vector<Difference>>()> compare;
  // Given the numbers of each comparison that has succeeded, on the watch's thread.
  std::function<void(const std::map<DriftKind, size_t>&)> publish;
  std::function<absl::Time()> now = absl::Now;
  absl::Duration period = kShadowPeriod;
};

// Compares from time to time on a thread of its own, and logs what has changed. The destructor
// waits for a comparison that is under way.
class ShadowWatch {
 public:
  explicit ShadowWatch(ShadowWatchOptions options);
  ~ShadowWatch();
  ShadowWatch(const ShadowWatch&) = delete;
  ShadowWatch& operator=(const ShadowWatch&) = delete;

 private:
  void Run();
  // False: the end has come.
  bool Wait(absl::Duration duration);

  const ShadowWatchOptions options_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace fairlead
