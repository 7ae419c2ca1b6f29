#include "test/lab/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"

extern char** environ;

namespace fairlead::lab {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(10);

struct Started {
  pid_t pid = -1;
  int pid_fd = -1;
};

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Starts the program with these three files, in the namespace of the calling thread.
absl::StatusOr<Started> Spawn(const std::vector<std::string>& words,
                              const std::vector<std::string>& environment, int input, int output,
                              int errors) {
  if (words.empty()) return absl::InvalidArgumentError("no program");
  // Later settings of a name come first: getenv takes the first.
  std::vector<char*> variables = Pointers(environment);
  variables.pop_back();
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  variables.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);

  Started started;
  const int error = ::posix_spawnp(&started.pid, words[0].c_str(), &files, &attributes,
                                   Pointers(words).data(), variables.data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("start ", words[0]));
  started.pid_fd = static_cast<int>(::syscall(SYS_pidfd_open, started.pid, 0));
  if (started.pid_fd < 0) return absl::ErrnoToStatus(errno, "pidfd_open");
  return started;
}

// Nothing if the process has not ended by then.
std::optional<int> AwaitExit(const Started& process, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  pollfd ended = {process.pid_fd, POLLIN, 0};
  int ready = 0;
  do {
    const absl::Duration left = std::max(deadline - absl::Now(), absl::ZeroDuration());
    ready = ::poll(&ended, 1,
                   static_cast<int>(absl::ToInt64Milliseconds(
                       std::min(absl::Ceil(left, absl::Milliseconds(1)), absl::Hours(24)))));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) return std::nullopt;
  int status = 0;
  if (::waitpid(process.pid, &status, 0) != process.pid) return std::nullopt;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int MemoryFile(const char* name) { return ::memfd_create(name, MFD_CLOEXEC); }

std::string ReadAll(int fd) {
  std::string text;
  char buffer[16384];
  ssize_t size = 0;
  while ((size = ::pread(fd, buffer, sizeof(buffer), static_cast<off_t>(text.size()))) > 0) {
    text.append(buffer, static_cast<size_t>(size));
  }
  return text;
}

}  // namespace

absl::StatusOr<std::string> Shell(const NetNamespace& net, absl::string_view command,
                                  absl::string_view input, absl::Duration timeout) {
  const std::vector<std::string> words = absl::StrSplit(command, ' ', absl::SkipEmpty());
  return Shell(net, words, input, timeout);
}

absl::StatusOr<std::string> Shell(const NetNamespace& net, const std::vector<std::string>& words,
                                  absl::string_view input, absl::Duration timeout) {
  // Files in memory, not pipes: neither side ever waits for the other.
  const int files[] = {MemoryFile("input"), MemoryFile("output"), MemoryFile("errors")};
  const absl::Cleanup close_files = [&files] {
    for (const int file : files) ::close(file);
  };
  for (const int file : files) {
    if (file < 0) return absl::ErrnoToStatus(errno, "memfd_create");
  }
  if (::write(files[0], input.data(), input.size()) != static_cast<ssize_t>(input.size()) ||
      ::lseek(files[0], 0, SEEK_SET) != 0) {
    return absl::ErrnoToStatus(errno, "write input");
  }
  const absl::StatusOr<Started> started =
      net.Run([&] { return Spawn(words, {}, files[0], files[1], files[2]); });
  if (!started.ok()) return started.status();
  std::optional<int> code = AwaitExit(*started, timeout);
  const bool timed_out = !code.has_value();
  if (timed_out) {
    ::kill(started->pid, SIGKILL);
    code = AwaitExit(*started, absl::InfiniteDuration());
  }
  ::close(started->pid_fd);
  const std::string what = absl::StrCat(net.name(), ": ", absl::StrJoin(words, " "));
  if (timed_out) return absl::DeadlineExceededError(absl::StrCat(what, ": timed out"));
  if (code.value_or(-1) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(what, ": exit ", code.value_or(-1), ": ",
                                                      absl::StripSuffix(ReadAll(files[2]), "\n")));
  }
  return ReadAll(files[1]);
}

absl::StatusOr<std::unique_ptr<Process>> Process::Start(const ProcessOptions& options) {
  const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int log = options.log_path.empty()
                      ? MemoryFile("log")
                      : ::open(options.log_path.c_str(),
                               O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  const absl::Cleanup close_input = [input] { ::close(input); };
  if (input < 0 || log < 0) return absl::ErrnoToStatus(errno, "open log");
  const auto spawn = [&] { return Spawn(options.words, options.environment, input, log, log); };
  const absl::StatusOr<Started> started =
      options.net != nullptr ? options.net->Run(spawn) : spawn();
  if (!started.ok()) {
    ::close(log);
    return started.status();
  }
  return std::unique_ptr<Process>(new Process(started->pid, started->pid_fd, log));
}

Process::~Process() {
  if (running()) {
    ::kill(pid_, SIGTERM);
    if (!Wait(kGrace).has_value()) {
      ::kill(pid_, SIGKILL);
      Wait(absl::InfiniteDuration());
    }
  }
  ::close(pid_fd_);
  ::close(log_);
}

bool Process::running() { return !Wait(absl::ZeroDuration()).has_value(); }

absl::Status Process::Kill(int signal) {
  if (!running()) return absl::NotFoundError(absl::StrCat("process ", pid_, " has ended"));
  if (::kill(pid_, signal) != 0) return absl::ErrnoToStatus(errno, "kill");
  return absl::OkStatus();
}

std::optional<int> Process::Wait(absl::Duration timeout) {
  if (!exit_code_.has_value()) exit_code_ = AwaitExit({pid_, pid_fd_}, timeout);
  return exit_code_;
}

std::string Process::Log() const { return ReadAll(log_); }

bool WaitUntil(absl::Duration limit, const std::function<bool()>& predicate) {
  const absl::Time deadline = absl::Now() + limit;
  while (!predicate()) {
    if (absl::Now() >= deadline) return false;
    absl::SleepFor(kPollInterval);
  }
  return true;
}

}  // namespace fairlead::lab
