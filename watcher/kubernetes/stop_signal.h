// How threads that wait for the network or a program are told to stop.
#pragma once

#include "absl/time/time.h"

namespace fairlead::kubernetes {

// Raised once. Thread-safe.
class StopSignal {
 public:
  // The kernel having no file descriptor left is fatal.
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  void Raise();
  bool raised() const;
  // Readable once it is raised, for those who wait for other things too.
  int fd() const { return fd_; }
  // Waits that long, or less if it is raised; whether it is.
  bool WaitFor(absl::Duration time) const;

 private:
  const int fd_;
};

// As poll(2) wants it: rounded up, -1 for an infinite duration, 0 for a negative one.
int PollMilliseconds(absl::Duration time);

}  // namespace fairlead::kubernetes
