#include "proxy/daemon/notify.h"

#include <systemd/sd-daemon.h>

#include <chrono>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"

namespace fairlead {
namespace {

absl::Duration WatchdogOfEnvironment() {
  uint64_t microseconds = 0;
  // It looks whether the watchdog is meant for this process.
  if (sd_watchdog_enabled(/*unset_environment=*/0, &microseconds) <= 0) {
    return absl::ZeroDuration();
  }
  return absl::Microseconds(static_cast<int64_t>(microseconds));
}

// A line ends an assignment.
std::string StatusLine(absl::string_view text) {
  return absl::StrCat("STATUS=", absl::StrReplaceAll(text, {{"\n", " "}}));
}

}  // namespace

std::string FormatServiceStatus(uint64_t revision, size_t failures) {
  std::string text = absl::StrCat("revision ", revision, " is in the kernel");
  if (failures == 1) absl::StrAppend(&text, "; 1 object is not, and is tried again");
  if (failures > 1) {
    absl::StrAppend(&text, "; ", failures, " objects are not, and are tried again");
  }
  return text;
}

Notifier::Notifier()
    : listening_(std::getenv("NOTIFY_SOCKET") != nullptr), watchdog_(WatchdogOfEnvironment()) {}

void Notifier::Send(const std::string& state) const {
  if (listening_) sd_notify(/*unset_environment=*/0, state.c_str());
}

void Notifier::Waiting(absl::string_view for_what) {
  Send(StatusLine(absl::StrCat("waits for ", for_what)));
}

void Notifier::Programmed(uint64_t revision, size_t failures, absl::Time now) {
  const std::string status = StatusLine(FormatServiceStatus(revision, failures));
  const std::lock_guard lock(mutex_);
  const bool news = !ready_ || failing_ != (failures > 0);
  failing_ = failures > 0;
  if (!news && now - told_ < kStatusInterval) {
    pending_ = status;
    return;
  }
  Send(ready_ ? status : absl::StrCat("READY=1\n", status));
  ready_ = true;
  told_ = now;
  pending_.clear();
}

void Notifier::Flush(absl::Time now) {
  const std::lock_guard lock(mutex_);
  if (pending_.empty() || now - told_ < kStatusInterval) return;
  Send(pending_);
  told_ = now;
  pending_.clear();
}

void Notifier::Alive() { Send("WATCHDOG=1"); }

void Notifier::Stopping(absl::string_view why) {
  Send(absl::StrCat("STOPPING=1\n", StatusLine(why)));
}

absl::Duration LifeSigns::IntervalFor(const Notifier& notifier) {
  return notifier.watchdog() > absl::ZeroDuration() ? notifier.watchdog() / 4 : kStatusInterval;
}

LifeSigns::LifeSigns(Notifier& notifier, Options options)
    : notifier_(notifier), options_(std::move(options)) {
  if (notifier_.listening()) thread_ = std::thread([this] { Run(); });
}

LifeSigns::~LifeSigns() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void LifeSigns::Run() {
  const std::chrono::nanoseconds interval = absl::ToChronoNanoseconds(options_.interval);
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    lock.unlock();
    if (options_.ask() && notifier_.watchdog() > absl::ZeroDuration()) notifier_.Alive();
    notifier_.Flush(absl::Now());
    lock.lock();
    if (!stopped_) changed_.wait_for(lock, interval);
  }
}

}  // namespace fairlead
