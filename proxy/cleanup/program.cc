#include "proxy/cleanup/program.h"

#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proxy/kernel/child_program.h"

namespace fairlead {
namespace {

// What is kept of what a program that failed said.
constexpr size_t kMaxMessageBytes = 2048;

}  // namespace

absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& words,
                                       absl::string_view input, absl::Duration timeout) {
  absl::StatusOr<ProgramEnd> end = RunToEnd(words[0], words, input, timeout);
  if (!end.ok()) return end.status();
  if (end->start_error != 0) {
    const std::string text =
        absl::StrCat("the program ", words[0], " cannot be run: ", strerror(end->start_error));
    if (end->start_error == ENOENT) return absl::NotFoundError(text);
    return absl::FailedPreconditionError(text);
  }
  if (!end->in_time) {
    return absl::DeadlineExceededError(
        absl::StrCat(words[0], " did not end within ", absl::FormatDuration(timeout)));
  }
  const int status = end->wait_status;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return std::move(end->output);
  const std::string how = WIFEXITED(status) ? absl::StrCat("code ", WEXITSTATUS(status))
                                            : absl::StrCat("signal ", WTERMSIG(status));
  const std::string said = end->messages.substr(0, kMaxMessageBytes);
  return absl::FailedPreconditionError(
      absl::StrCat(words[0], " failed with ", how, ": ", absl::StripAsciiWhitespace(said)));
}

ProgramRunner RunProgramsWithin(absl::Duration budget) {
  return [until = absl::Now() + budget](const std::vector<std::string>& words,
                                        absl::string_view input) -> absl::StatusOr<std::string> {
    const absl::Duration left = until - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          absl::StrCat(words[0], " was not started: those before it have taken too long"));
    }
    return RunProgram(words, input, left);
  };
}

}  // namespace fairlead
