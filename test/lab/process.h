// Programs started by a test, and waiting for what they do.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "test/lab/net_namespace.h"

namespace fairlead::lab {

// Runs a program in the namespace to its end and returns what it wrote to stdout. `command` is
// split at blanks; there is no shell and no quoting. `input` is its stdin. Any exit code but 0 is
// FailedPrecondition, with what it wrote to stderr; DeadlineExceeded after `timeout` (it is
// killed).
//
// A start costs tens of milliseconds in the guest: put many commands into one
// `Shell(net, "ip -batch -", lines)` or `Shell(net, "nft -f -", rules)`.
absl::StatusOr<std::string> Shell(const NetNamespace& net, absl::string_view command,
                                  absl::string_view input = {},
                                  absl::Duration timeout = absl::Seconds(30));
// The same with the words as they are.
absl::StatusOr<std::string> Shell(const NetNamespace& net, const std::vector<std::string>& words,
                                  absl::string_view input = {},
                                  absl::Duration timeout = absl::Seconds(30));

struct ProcessOptions {
  std::vector<std::string> words;             // the program, found through PATH, and its arguments
  const NetNamespace* net = nullptr;          // null: the caller's
  std::string log_path = {};                  // gets stdout and stderr; empty: a file in memory
  std::vector<std::string> environment = {};  // "NAME=value", added to the caller's
};

// A program that runs in the background. Owned by the test: the destructor asks it to end
// (SIGTERM), and after kGrace kills it. Thread-compatible.
class Process {
 public:
  static constexpr absl::Duration kGrace = absl::Seconds(5);

  static absl::StatusOr<std::unique_ptr<Process>> Start(const ProcessOptions& options);

  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool running();
  // Sends the signal. NotFound if it has ended.
  absl::Status Kill(int signal);
  // Waits for its end and returns its exit code, or 128 + N if signal N ended it. May be repeated.
  // Nothing after `timeout`.
  std::optional<int> Wait(absl::Duration timeout);
  // What it has written so far.
  std::string Log() const;

 private:
  Process(pid_t pid, int pid_fd, int log) : pid_(pid), pid_fd_(pid_fd), log_(log) {}

  const pid_t pid_;
  const int pid_fd_;
  const int log_;
  std::optional<int> exit_code_;
};

// Asks until the answer is yes; false if it was not within `limit`. The only way in which a kernel
// test waits.
bool WaitUntil(absl::Duration limit, const std::function<bool()>& predicate);

}  // namespace fairlead::lab
