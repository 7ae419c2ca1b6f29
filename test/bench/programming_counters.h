// What the programs of a cgroup ask of the kernel, counted by the kernel itself: BPF programs on
// the functions that take a system call or carry out one netlink message. Children count too, and
// those that have ended.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace fairlead::bench {

// Counts since the last Reset.
struct KernelCounts {
  int64_t system_calls = 0;
  // To the kernel: each request counts once, of a batch each message within it. Answers, and the
  // begin and the end of a batch of nf_tables, are not counted.
  int64_t messages = 0;
  // Of those, the ones that change something. IPVS of other network namespaces is not counted as
  // changed: there Fairlead tries out schedulers.
  int64_t ipvs_writes = 0;
  int64_t route_writes = 0;  // And addresses.
  int64_t nft_writes = 0;
  int64_t ipset_writes = 0;
  int64_t nft_commits = 0;

  int64_t writes() const { return ipvs_writes + route_writes + nft_writes + ipset_writes; }
};

// Where a program is counted, and the counters. Needs root, cgroup v2 and BPF; the time that a
// probe takes is the counted program's (the benchmark says how much). Not thread-safe.
class KernelCounters {
 public:
  // Makes the cgroup `name`. Throws std::runtime_error, with the reason.
  explicit KernelCounters(const std::string& name);
  ~KernelCounters();
  KernelCounters(const KernelCounters&) = delete;
  KernelCounters& operator=(const KernelCounters&) = delete;

  // Write a process id into it.
  std::string procs_file() const { return folder_ + "/cgroup.procs"; }

  // The calling thread's network namespace is the one whose IPVS counts.
  void FollowThisNamespace();

  void Reset();
  KernelCounts Read() const;
  // By the clock of Monotonic(): of the first and the last change since Reset; infinitely long ago
  // where there was none. A transaction of nf_tables counts when it is committed.
  absl::Duration first_write() const;
  absl::Duration last_write() const;

  // Processor time of all that ever ran in it, from its beginning on.
  absl::Duration Cpu() const;

  // CLOCK_MONOTONIC.
  static absl::Duration Monotonic();

 private:
  struct Slot {
    uint64_t count;
    uint64_t last;
    uint64_t first;
  };
  enum Counter : int;

  void Attach(Counter counter, bool timed, const std::string& function, bool at_return,
              bool optional);
  int Load(Counter counter, bool timed, bool tracepoint) const;
  int LoadIpvsWrites() const;
  Slot Get(Counter counter) const;

  std::string folder_;
  uint64_t cgroup_ = 0;
  int net_offset_ = 0;  // Of the namespace in the kernel's struct genl_info.
  int map_ = -1;
  volatile uint64_t* memory_ = nullptr;
  std::vector<int> fds_;
};

}  // namespace fairlead::bench
