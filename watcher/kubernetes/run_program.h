// Runs a program and takes what it prints.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "watcher/kubernetes/stop_signal.h"

namespace fairlead::kubernetes {

// What is taken of the program's output; more of it is an error, more messages are dropped.
inline constexpr size_t kMaxOutputBytes = 1 << 20;
inline constexpr size_t kMaxMessageBytes = 512;

struct Program {
  std::string command;  // A path, or a name that PATH leads to.
  std::vector<std::string> arguments;
  // In addition to this process's, or in their place.
  std::vector<std::pair<std::string, std::string>> environment;
};

// What the program wrote to its standard output; its standard input is empty. It is given no file
// descriptor of ours, and is killed, with those it started, when the time is over or `stop` is
// raised. DEADLINE_EXCEEDED, CANCELLED, or FAILED_PRECONDITION for a program that cannot be started
// or fails, with the beginning of what it wrote to its standard error. Thread-safe.
absl::StatusOr<std::string> RunProgram(const Program& program, absl::Duration timeout,
                                       const StopSignal& stop);

}  // namespace fairlead::kubernetes
