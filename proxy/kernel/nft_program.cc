#include "proxy/kernel/nft_program.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

// What is kept of what the program said.
constexpr size_t kMaxOutputBytes = 4096;

absl::Status SystemError(absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(errno)));
}

bool WriteAll(int fd, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

std::string ReadOutput(int fd) {
  std::string output(kMaxOutputBytes, '\0');
  const ssize_t size = pread(fd, output.data(), output.size(), 0);
  output.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return std::string(absl::StripAsciiWhitespace(output));
}

// Starts the program with no signal blocked or ignored, whatever the calling thread does.
int Spawn(const std::string& program, int input, int output, pid_t& pid) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  char name[] = "nft", option[] = "-f", from[] = "-";
  char* const arguments[] = {name, option, from, nullptr};
  const int error = posix_spawnp(&pid, program.c_str(), &files, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

// Waits until the process ends; false if it had to be killed.
bool AwaitEnd(pid_t pid, absl::Duration timeout) {
  // Not through <sys/pidfd.h>: glibc 2.36 forgot to make it fit for C++.
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return true;  // A kernel before 5.3: waitpid() waits, without a limit.
  pollfd ended = {fd, POLLIN, 0};
  int ready = 0;
  do {
    ready = poll(&ended, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  } while (ready < 0 && errno == EINTR);
  close(fd);
  if (ready > 0) return true;
  kill(pid, SIGKILL);
  return false;
}

}  // namespace

absl::Status RunNft(absl::string_view text, const std::string& program, absl::Duration timeout) {
  // Files in memory rather than pipes: neither side can block the other.
  const int input = memfd_create("fairlead-nft-input", MFD_CLOEXEC);
  const int output = memfd_create("fairlead-nft-output", MFD_CLOEXEC);
  const absl::Cleanup close_files = [input, output] {
    if (input >= 0) close(input);
    if (output >= 0) close(output);
  };
  if (input < 0 || output < 0) return SystemError("memfd_create");
  if (!WriteAll(input, text) || lseek(input, 0, SEEK_SET) != 0) return SystemError("memfd");

  pid_t pid = 0;
  if (const int error = Spawn(program, input, output, pid); error != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot run the program ", program, ": ", strerror(error),
                     ": install the package nftables, and have ", program, " in the PATH"));
  }
  const bool in_time = AwaitEnd(pid, timeout);
  int end = 0;
  while (waitpid(pid, &end, 0) < 0) {
    if (errno != EINTR) return SystemError("waitpid");
  }
  if (!in_time) {
    return absl::DeadlineExceededError(
        absl::StrCat(program, " did not end within ", absl::FormatDuration(timeout)));
  }
  if (WIFEXITED(end) && WEXITSTATUS(end) == 0) return absl::OkStatus();
  const std::string how = WIFEXITED(end) ? absl::StrCat("exit code ", WEXITSTATUS(end))
                                         : absl::StrCat("signal ", WTERMSIG(end));
  return absl::FailedPreconditionError(
      absl::StrCat(program, " refused the ruleset (", how, "): ", ReadOutput(output)));
}

}  // namespace fairlead
