// The level of this process's log, changed while it runs.
#pragma once

#include <spdlog/logger.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace fairlead {

// Whoever needs it for longer sets it to stay.
inline constexpr absl::Duration kMaxLogLevelTime = absl::Hours(24);

// "debug", "info", "warning" and "error", in this order.
const std::vector<std::string>& LogLevelNames();

struct LogLevelState {
  // Of LogLevelNames.
  std::string level;
  // It goes back to another.
  struct Return {
    absl::Time at;
    std::string to;

    friend bool operator==(const Return&, const Return&) = default;
  };
  std::optional<Return> then;

  friend bool operator==(const LogLevelState&, const LogLevelState&) = default;
};

// "debug", "debug, until 12:30:00" (of the zone), with the date where that is another day than now.
std::string FormatLogLevel(const LogLevelState& state, absl::Time now, absl::TimeZone zone);

// Every change is a line of the log, at info. Thread-safe; one for a logger, which nobody else sets
// the level of.
class LogControl {
 public:
  // The default logger, as it is now.
  LogControl();
  // `now` is what the time of going back is told by; how long it takes is of a clock that nobody
  // sets.
  LogControl(std::shared_ptr<spdlog::logger> logger, std::function<absl::Time()> now);
  // What was to go back goes back no more.
  ~LogControl();
  LogControl(const LogControl&) = delete;
  LogControl& operator=(const LogControl&) = delete;

  LogLevelState Get() const;

  // `revert_after` unset: it stays. Otherwise it goes back to the level that was set last to stay,
  // however often it is set for a time before. INVALID_ARGUMENT: there is no such level, which the
  // message says with those that there are, or a time that is not more than nothing and at most
  // kMaxLogLevelTime.
  absl::StatusOr<LogLevelState> Set(absl::string_view level,
                                    std::optional<absl::Duration> revert_after);

 private:
  LogLevelState State() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Tells it too: "log level: TOLD".
  void Apply(spdlog::level::level_enum level, absl::string_view told)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Body of the thread.
  void GoBackInTime();

  const std::shared_ptr<spdlog::logger> logger_;
  const std::function<absl::Time()> now_;
  struct Pending {
    std::chrono::steady_clock::time_point due;
    absl::Time at;  // The same, as it is told.
    spdlog::level::level_enum to;
  };

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Pending> pending_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Started by the first level that is to go back.
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fairlead
