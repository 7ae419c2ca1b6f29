#include "watcher/kubernetes/stop_signal.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace fairlead::kubernetes {
namespace {

int OpenEventFd() {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd >= 0) return fd;
  std::perror("eventfd");
  std::abort();
}

}  // namespace

StopSignal::StopSignal() : fd_(OpenEventFd()) {}
StopSignal::~StopSignal() { close(fd_); }

void StopSignal::Raise() { eventfd_write(fd_, 1); }

bool StopSignal::raised() const { return WaitFor(absl::ZeroDuration()); }

bool StopSignal::WaitFor(absl::Duration time) const {
  const auto start = std::chrono::steady_clock::now();
  absl::Duration left = time;
  for (;;) {
    pollfd waiting{.fd = fd_, .events = POLLIN};
    const int ready = poll(&waiting, 1, PollMilliseconds(left));
    if (ready >= 0 || errno != EINTR) return ready > 0;
    left = time - absl::FromChrono(std::chrono::steady_clock::now() - start);
  }
}

int PollMilliseconds(absl::Duration time) {
  if (time == absl::InfiniteDuration()) return -1;
  const int64_t milliseconds = absl::ToInt64Milliseconds(absl::Ceil(time, absl::Milliseconds(1)));
  return static_cast<int>(std::clamp<int64_t>(milliseconds, 0, std::numeric_limits<int>::max()));
}

}  // namespace fairlead::kubernetes
