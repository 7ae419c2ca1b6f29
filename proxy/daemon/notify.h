// What the service manager of the machine, systemd, is told of a daemon: sd_notify(3).
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace fairlead {

// A status of the same kind of news is told this often: the manager tells it to everybody who
// listens on the machine's bus.
inline constexpr absl::Duration kStatusInterval = absl::Seconds(10);

// "revision 42 is in the kernel" and, where that is so, "; 2 objects are not, and are tried again".
std::string FormatServiceStatus(uint64_t revision, size_t failures);

// Does nothing where no manager listens (NOTIFY_SOCKET is not set). What the manager does not take
// is lost. Thread-safe; time is an argument.
class Notifier {
 public:
  // Reads the environment, once.
  Notifier();

  bool listening() const { return listening_; }
  // How often the manager wants a sign of life (WatchdogSec=); zero: not at all.
  absl::Duration watchdog() const { return watchdog_; }

  // What the daemon waits for before it is ready.
  void Waiting(absl::string_view for_what);
  // `revision` is in the kernel but for `failures` objects. The first call makes the daemon ready.
  void Programmed(uint64_t revision, size_t failures, absl::Time now);
  // Tells a status that had to wait for its turn.
  void Flush(absl::Time now);
  void Alive();
  void Stopping(absl::string_view why);

 private:
  void Send(const std::string& state) const;

  const bool listening_;
  const absl::Duration watchdog_;
  std::mutex mutex_;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
  bool failing_ ABSL_GUARDED_BY(mutex_) = false;
  std::string pending_ ABSL_GUARDED_BY(mutex_);
  absl::Time told_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

// Gives signs of life for as long as somebody else does. A loop that hangs gives none, and is
// restarted by the manager.
class LifeSigns {
 public:
  struct Options {
    // Asks the loop, and waits for its answer: false, or no return, if there is none.
    std::function<bool()> ask;
    // How often. Four times within what the manager allows; without a watchdog, as often as a
    // status is told.
    absl::Duration interval;
  };
  static absl::Duration IntervalFor(const Notifier& notifier);

  // Starts a thread, unless nobody listens. `notifier` and what `ask` uses outlive it.
  LifeSigns(Notifier& notifier, Options options);
  // Waits for an answer that is outstanding.
  ~LifeSigns();
  LifeSigns(const LifeSigns&) = delete;
  LifeSigns& operator=(const LifeSigns&) = delete;

 private:
  void Run();

  Notifier& notifier_;
  const Options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace fairlead
