#include "proxy/cleanup/program.h"

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
#include "absl/time/clock.h"

namespace fairlead {
namespace {

// What is kept of what a program that failed said.
constexpr size_t kMaxMessageBytes = 2048;

absl::Status SystemError(absl::string_view what) { return absl::ErrnoToStatus(errno, what); }

bool WriteAll(int fd, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
  return lseek(fd, 0, SEEK_SET) == 0;
}

std::string ReadAll(int fd) {
  std::string text;
  char piece[65536];
  for (;;) {
    const ssize_t size = pread(fd, piece, sizeof(piece), static_cast<off_t>(text.size()));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return text;
    text.append(piece, static_cast<size_t>(size));
  }
}

// Starts the program with no signal blocked or ignored, whatever the calling thread does. Its
// messages are not translated.
int Spawn(const std::vector<std::string>& words, int input, int output, int messages, pid_t& pid) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, messages, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> copies = words;
  std::vector<char*> arguments;
  arguments.reserve(copies.size() + 1);
  for (std::string& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int error =
      posix_spawnp(&pid, arguments[0], &files, &attributes, arguments.data(), environ);
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

absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& words,
                                       absl::string_view input_text, absl::Duration timeout) {
  // Files in memory rather than pipes: neither side can block the other.
  const int input = memfd_create("fairlead-input", MFD_CLOEXEC);
  const int output = memfd_create("fairlead-output", MFD_CLOEXEC);
  const int messages = memfd_create("fairlead-messages", MFD_CLOEXEC);
  const absl::Cleanup close_files = [input, output, messages] {
    for (const int fd : {input, output, messages}) {
      if (fd >= 0) close(fd);
    }
  };
  if (input < 0 || output < 0 || messages < 0) return SystemError("memfd_create");
  if (!WriteAll(input, input_text)) return SystemError("memfd");

  pid_t pid = 0;
  if (const int error = Spawn(words, input, output, messages, pid); error != 0) {
    const std::string text =
        absl::StrCat("the program ", words[0], " cannot be run: ", strerror(error));
    if (error == ENOENT) return absl::NotFoundError(text);
    return absl::FailedPreconditionError(text);
  }
  const bool in_time = AwaitEnd(pid, timeout);
  int end = 0;
  while (waitpid(pid, &end, 0) < 0) {
    if (errno != EINTR) return SystemError("waitpid");
  }
  if (!in_time) {
    return absl::DeadlineExceededError(
        absl::StrCat(words[0], " did not end within ", absl::FormatDuration(timeout)));
  }
  if (WIFEXITED(end) && WEXITSTATUS(end) == 0) return ReadAll(output);
  const std::string how = WIFEXITED(end) ? absl::StrCat("code ", WEXITSTATUS(end))
                                         : absl::StrCat("signal ", WTERMSIG(end));
  const std::string said = ReadAll(messages).substr(0, kMaxMessageBytes);
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
