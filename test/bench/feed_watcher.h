// The watcher of the feed's benchmark: a process of its own, so that its memory and CPU are its.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace fairlead::bench {

struct WatcherScale {
  int services = 10'000;
  int endpoints_per_service = 10;
};

// What the process has used.
struct Usage {
  absl::Duration cpu;
  int64_t resident_bytes = 0;
};

// A change as the process made it.
struct MadeChange {
  absl::Time at;  // By the machine's clock, just before the journal was told.
  uint64_t revision = 0;
};

// Forks a process that serves a journal of that scale with the product's server. Throws
// std::runtime_error.
class WatcherProcess {
 public:
  // Before any thread of gRPC's is started. `certificates`: a folder with cert.pem, key.pem and
  // ca.pem; empty: plain text.
  WatcherProcess(const WatcherScale& scale, const std::string& certificates);
  // Ends it.
  ~WatcherProcess();
  WatcherProcess(const WatcherProcess&) = delete;
  WatcherProcess& operator=(const WatcherProcess&) = delete;

  // "127.0.0.1:PORT".
  const std::string& address() const { return address_; }
  uint64_t revision() const { return revision_; }

  // One endpoint of one Service gets another value.
  MadeChange Change();
  Usage Measure();

 private:
  template <typename Answer>
  Answer Ask(char command);

  pid_t pid_ = -1;
  int socket_ = -1;
  std::string address_;
  uint64_t revision_ = 0;
};

}  // namespace fairlead::bench
