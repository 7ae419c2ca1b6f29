// A TCP connection between a program and its server that can be cut and frozen.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

namespace fairlead::lab {

// Listens on a port of 127.0.0.1 and passes each connection on to another one. Thread-safe.
class Relay {
 public:
  static absl::StatusOr<std::unique_ptr<Relay>> Start(int target_port);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  int port() const { return port_; }

  // Ends all connections, and every new one at once, until Resume.
  void Cut();
  // The connections there are carry nothing any more and stay open, as those to a machine that has
  // gone; new ones are as before.
  void Freeze();
  void Resume();

  // Connections that were passed on so far.
  int64_t connections() const;

 private:
  struct Pipe {
    int client = -1;
    int server = -1;
    bool frozen = false;
  };

  Relay(int listener, int wake, int port, int target_port)
      : listener_(listener), wake_(wake), port_(port), target_port_(target_port) {}

  void Run();
  void Accept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake() const;
  static void Close(const Pipe& pipe);

  const int listener_;
  const int wake_;  // An eventfd: something was changed.
  const int port_;
  const int target_port_;
  mutable std::mutex mutex_;
  std::list<Pipe> pipes_ ABSL_GUARDED_BY(mutex_);
  bool cut_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  // Calls of Cut and Freeze: what was polled before one of them is of no meaning after it.
  int64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t connections_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace fairlead::lab
