// A program that is run to its end, with text in and text out.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace fairlead {

struct ProgramEnd {
  // An errno where it could not be started; then the rest means nothing.
  int start_error = 0;
  // Otherwise it was killed.
  bool in_time = false;
  // As waitpid(2) gives it.
  int wait_status = 0;
  // All that it wrote to its output, and to its error output.
  std::string output;
  std::string messages;
};

// Runs `program`, found through PATH, with `words` as its arguments, its own name first, and
// `input` as its input, in the network namespace of the calling thread; no shell. Errors are those
// of this process, which has no file or memory for it. Thread-safe.
absl::StatusOr<ProgramEnd> RunToEnd(const std::string& program,
                                    const std::vector<std::string>& words, absl::string_view input,
                                    absl::Duration timeout);

}  // namespace fairlead
