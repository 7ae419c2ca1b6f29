#include "proxy/kernel/child_program.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/cleanup/cleanup.h"

namespace fairlead {
namespace {

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

// Starts the program with no signal blocked or ignored, whatever the calling thread does.
int Spawn(const std::string& program, const std::vector<std::string>& words, int input, int output,
          int messages, pid_t& pid) {
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
      posix_spawnp(&pid, program.c_str(), &files, &attributes, arguments.data(), environ);
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

absl::StatusOr<ProgramEnd> RunToEnd(const std::string& program,
                                    const std::vector<std::string>& words,
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

  ProgramEnd end;
  pid_t pid = 0;
  end.start_error = Spawn(program, words, input, output, messages, pid);
  if (end.start_error != 0) return end;
  end.in_time = AwaitEnd(pid, timeout);
  while (waitpid(pid, &end.wait_status, 0) < 0) {
    if (errno != EINTR) return SystemError("waitpid");
  }
  end.output = ReadAll(output);
  end.messages = ReadAll(messages);
  return end;
}

}  // namespace fairlead
