#include "proxy/kernel/nft_program.h"

#include <sys/wait.h>

#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "proxy/kernel/child_program.h"

namespace fairlead {
namespace {

// What is kept of what the program said.
constexpr size_t kMaxOutputBytes = 4096;

}  // namespace

absl::Status RunNft(absl::string_view text, const std::string& program, absl::Duration timeout) {
  const absl::StatusOr<ProgramEnd> end = RunToEnd(program, {"nft", "-f", "-"}, text, timeout);
  if (!end.ok()) return end.status();
  if (end->start_error != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot run the program ", program, ": ", strerror(end->start_error),
                     ": install the package nftables, and have ", program, " in the PATH"));
  }
  if (!end->in_time) {
    return absl::DeadlineExceededError(
        absl::StrCat(program, " did not end within ", absl::FormatDuration(timeout)));
  }
  const int status = end->wait_status;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  const std::string how = WIFEXITED(status) ? absl::StrCat("exit code ", WEXITSTATUS(status))
                                            : absl::StrCat("signal ", WTERMSIG(status));
  const std::string said = absl::StrCat(end->output, end->messages).substr(0, kMaxOutputBytes);
  return absl::FailedPreconditionError(absl::StrCat(program, " refused the ruleset (", how,
                                                    "): ", absl::StripAsciiWhitespace(said)));
}

}  // namespace fairlead
