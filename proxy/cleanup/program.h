// Runs a program to its end, with text in and text out.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace fairlead {

// After which a program is killed. `iptables-restore` of a node with thousands of Services takes
// seconds, and waits for others that hold its lock.
inline constexpr absl::Duration kProgramTimeout = absl::Minutes(2);

// Runs `words[0]`, found through PATH, with the others as arguments and `input` as its input, in
// the network namespace of the calling thread; no shell. What it wrote to its output, whatever the
// size. NOT_FOUND: there is no such program; FAILED_PRECONDITION: it failed, with what it said;
// DEADLINE_EXCEEDED: killed. Thread-safe.
absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& words,
                                       absl::string_view input = "",
                                       absl::Duration timeout = kProgramTimeout);

// The same, or a test's own.
using ProgramRunner = std::function<absl::StatusOr<std::string>(
    const std::vector<std::string>& words, absl::string_view input)>;

// Runs programs one after another for no longer than `budget` together, from now on. Those for
// which nothing is left are not started: DEADLINE_EXCEEDED.
ProgramRunner RunProgramsWithin(absl::Duration budget);

}  // namespace fairlead
