#include "proxy/daemon/log_control.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fairlead {
namespace {

using spdlog::level::level_enum;

// spdlog has more names than Fairlead, and takes what it does not know for "off".
bool IsLevel(absl::string_view name) {
  const std::vector<std::string>& names = LogLevelNames();
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string NameOf(level_enum level) {
  const auto name = spdlog::level::to_string_view(level);
  return {name.data(), name.size()};
}

}  // namespace

const std::vector<std::string>& LogLevelNames() {
  static const auto* const names =
      new std::vector<std::string>{"debug", "info", "warning", "error"};
  return *names;
}

std::string FormatLogLevel(const LogLevelState& state, absl::Time now, absl::TimeZone zone) {
  if (!state.then) return state.level;
  const absl::Time at = state.then->at;
  const bool today = absl::ToCivilDay(at, zone) == absl::ToCivilDay(now, zone);
  return absl::StrCat(state.level, ", until ",
                      absl::FormatTime(today ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", at, zone));
}

LogControl::LogControl() : LogControl(spdlog::default_logger(), absl::Now) {}

LogControl::LogControl(std::shared_ptr<spdlog::logger> logger, std::function<absl::Time()> now)
    : logger_(std::move(logger)), now_(std::move(now)) {}

LogControl::~LogControl() {
  std::thread thread;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  changed_.notify_all();
  if (thread.joinable()) thread.join();
}

LogLevelState LogControl::Get() const {
  const std::lock_guard lock(mutex_);
  return State();
}

LogLevelState LogControl::State() const {
  LogLevelState state{.level = NameOf(logger_->level()), .then = std::nullopt};
  if (pending_) state.then = LogLevelState::Return{pending_->at, NameOf(pending_->to)};
  return state;
}

absl::StatusOr<LogLevelState> LogControl::Set(absl::string_view level,
                                              std::optional<absl::Duration> revert_after) {
  if (!IsLevel(level)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", level, "\" is none of ", absl::StrJoin(LogLevelNames(), ", ")));
  }
  if (revert_after && (*revert_after <= absl::ZeroDuration() || *revert_after > kMaxLogLevelTime)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the level has to go back after more than 0 and at most ",
        absl::FormatDuration(kMaxLogLevelTime), ", not ", absl::FormatDuration(*revert_after)));
  }
  const level_enum wanted = spdlog::level::from_str(std::string(level));
  const std::lock_guard lock(mutex_);
  if (revert_after) {
    pending_ =
        Pending{.due = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(*revert_after),
                .at = now_() + *revert_after,
                .to = pending_ ? pending_->to : logger_->level()};
    if (!thread_.joinable()) thread_ = std::thread([this] { GoBackInTime(); });
  } else {
    pending_.reset();
  }
  changed_.notify_all();
  LogLevelState state = State();
  state.level = std::string(level);
  Apply(wanted, FormatLogLevel(state, now_(), absl::LocalTimeZone()));
  return state;
}

void LogControl::Apply(level_enum level, absl::string_view told) {
  // Whichever of the two levels shows the line.
  if (logger_->should_log(level_enum::info)) {
    logger_->info("log level: {}", std::string(told));
    logger_->set_level(level);
  } else {
    logger_->set_level(level);
    logger_->info("log level: {}", std::string(told));
  }
}

void LogControl::GoBackInTime() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!pending_) {
      changed_.wait(lock);
    } else if (std::chrono::steady_clock::now() < pending_->due) {
      changed_.wait_until(lock, std::chrono::steady_clock::time_point(pending_->due));
    } else {
      const level_enum level = std::exchange(pending_, std::nullopt)->to;
      Apply(level, absl::StrCat(NameOf(level), " again"));
    }
  }
}

}  // namespace fairlead
