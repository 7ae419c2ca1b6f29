#include "watcher/kubernetes/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fairlead::kubernetes {
namespace {

using Clock = std::chrono::steady_clock;

// A file descriptor that is closed with the object.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { Reset(-1); }

  void Reset(int fd) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Pipe {
  Descriptor read;
  Descriptor write;

  bool Open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read.Reset(ends[0]);
    write.Reset(ends[1]);
    return fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
  }
};

// What a pipe brought, up to a limit.
struct Output {
  const size_t limit;
  std::string text;
  bool cut = false;
  bool ended = false;

  // Reads what is there; what is beyond the limit is thrown away, so that the writer goes on.
  void Read(int fd) {
    for (;;) {
      char piece[4096];
      const ssize_t size = read(fd, piece, sizeof piece);
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) {
        ended = size == 0 || errno != EAGAIN;
        return;
      }
      const size_t kept = std::min(limit - text.size(), static_cast<size_t>(size));
      text.append(piece, kept);
      if (kept < static_cast<size_t>(size)) cut = true;
    }
  }
};

// This process's environment with the given variables in it, as NAME=value.
std::vector<std::string> JoinEnvironment(
    const std::vector<std::pair<std::string, std::string>>& variables) {
  std::vector<std::string> joined;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const bool replaced =
        std::any_of(variables.begin(), variables.end(), [entry](const auto& variable) {
          return absl::StartsWith(*entry, absl::StrCat(variable.first, "="));
        });
    if (!replaced) joined.emplace_back(*entry);
  }
  for (const auto& [name, value] : variables) joined.push_back(absl::StrCat(name, "=", value));
  return joined;
}

// As C wants it; refers to the texts.
std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Starts it as the leader of a group of its own, with no signal blocked or ignored.
int Spawn(const Program& program, int output, int messages, pid_t* pid) {
  std::vector<std::string> arguments{program.command};
  arguments.insert(arguments.end(), program.arguments.begin(), program.arguments.end());
  std::vector<std::string> environment = JoinEnvironment(program.environment);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, messages, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  const int error = posix_spawnp(pid, program.command.c_str(), &files, &attributes,
                                 Pointers(arguments).data(), Pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

// Takes output and messages until the process has ended. What it started and left behind may hold
// the pipes open, and is not waited for.
absl::Status Attend(int process, const Pipe& out, const Pipe& err, absl::Duration timeout,
                    const StopSignal& stop, Output* output, Output* messages) {
  const Clock::time_point start = Clock::now();
  for (;;) {
    pollfd ready[] = {{process, POLLIN, 0},
                      {stop.fd(), POLLIN, 0},
                      {output->ended ? -1 : out.read.get(), POLLIN, 0},
                      {messages->ended ? -1 : err.read.get(), POLLIN, 0}};
    const int count = poll(ready, std::size(ready),
                           PollMilliseconds(timeout - absl::FromChrono(Clock::now() - start)));
    if (count < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "poll");
    if (count == 0) return absl::DeadlineExceededError("");
    if (count < 0) continue;
    output->Read(out.read.get());
    messages->Read(err.read.get());
    if (ready[0].revents != 0) return absl::OkStatus();
    if (ready[1].revents != 0) return absl::CancelledError("stopped");
  }
}

std::string DescribeEnd(int end) {
  if (WIFSIGNALED(end)) {
    return absl::StrCat("was ended by signal ", WTERMSIG(end), " (", strsignal(WTERMSIG(end)), ")");
  }
  return absl::StrCat("failed with code ", WEXITSTATUS(end));
}

// ": the message", in one line; empty if there is none.
std::string DescribeMessages(const Output& messages) {
  std::string text(absl::StripAsciiWhitespace(messages.text));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return absl::ascii_iscntrl(c); }, ' ');
  if (text.empty()) return "";
  return absl::StrCat(": ", text, messages.cut ? "..." : "");
}

}  // namespace

absl::StatusOr<std::string> RunProgram(const Program& program, absl::Duration timeout,
                                       const StopSignal& stop) {
  if (stop.raised()) return absl::CancelledError("stopped");
  Pipe out, err;
  if (!out.Open() || !err.Open()) return absl::ErrnoToStatus(errno, "pipe");
  pid_t pid = 0;
  if (const int error = Spawn(program, out.write.get(), err.write.get(), &pid); error != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(program.command, " cannot be run: ", strerror(error)));
  }
  out.write.Reset(-1);
  err.write.Reset(-1);

  Output output{.limit = kMaxOutputBytes};
  Output messages{.limit = kMaxMessageBytes};
  // Not through <sys/pidfd.h>: glibc 2.36 forgot to make it fit for C++.
  const Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const absl::Status attended =
      process.get() < 0 ? absl::ErrnoToStatus(errno, "pidfd_open")
                        : Attend(process.get(), out, err, timeout, stop, &output, &messages);
  if (!attended.ok()) kill(-pid, SIGKILL);
  int end = 0;
  while (waitpid(pid, &end, 0) < 0) {
    if (errno != EINTR) return absl::ErrnoToStatus(errno, "waitpid");
  }
  if (absl::IsDeadlineExceeded(attended)) {
    return absl::DeadlineExceededError(absl::StrCat(program.command, " did not end within ",
                                                    absl::FormatDuration(timeout),
                                                    DescribeMessages(messages)));
  }
  if (!attended.ok()) return attended;
  if (!WIFEXITED(end) || WEXITSTATUS(end) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(program.command, " ", DescribeEnd(end), DescribeMessages(messages)));
  }
  if (output.cut) {
    return absl::FailedPreconditionError(
        absl::StrCat(program.command, " printed more than ", kMaxOutputBytes, " bytes"));
  }
  return std::move(output.text);
}

}  // namespace fairlead::kubernetes
