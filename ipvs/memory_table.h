// An IPVS table in memory that behaves as the kernel's does: for tests, and for planning offline.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipvs/table.h"

namespace fairlead::ipvs {

// Has the kernel's semantics, errors included; test/ipvs compares the two. What it does not do: no
// packets, so that statistics and connections are zero but for SetConnections and SetStatistics,
// and no knowledge of the machine's own addresses (the kernel refuses a real server on a broadcast
// address of one of its devices). Thread-compatible.
class MemoryTable : public Table {
 public:
  // What this "kernel" has. "none", which schedules nothing, is always there, as in the kernel.
  struct Options {
    absl::flat_hash_set<std::string> schedulers = {"rr",  "wrr",  "lc",    "wlc", "fo",
                                                   "ovf", "lblc", "lblcr", "dh",  "sh",
                                                   "mh",  "sed",  "nq",    "twos"};
    absl::flat_hash_set<std::string> persistence_engines = {"sip"};
  };

  MemoryTable() : MemoryTable(Options()) {}
  explicit MemoryTable(Options options) : options_(std::move(options)) {}

  absl::StatusOr<std::vector<VirtualServer>> Dump() override;
  absl::StatusOr<VirtualServer> Get(const VirtualServerKey& key) override;
  std::vector<absl::Status> Apply(absl::Span<const Operation> operations) override;

  // Every operation that Apply was given since the last ClearOperations, in order, whatever its
  // status: empty means that nothing was written.
  const std::vector<Operation>& operations() const { return operations_; }
  void ClearOperations() { operations_.clear(); }

  // A failure to be had on demand.
  struct Failure {
    absl::Status status;
    // Whether the operation happens all the same, as with a lost reply.
    bool happens = false;
  };

  // Fails the operation that follows `skipped` further ones.
  void FailNext(Failure failure, int skipped = 0);
  // Fails each operation for which `matches`, until ClearFailures.
  void FailWhen(std::function<bool(const Operation&)> matches, Failure failure);
  // Fails each Dump and Get, until ClearFailures.
  void FailReads(absl::Status status) { read_status_ = std::move(status); }
  void ClearFailures();

  // Sets what a real server counts; NOT_FOUND if there is none.
  absl::Status SetConnections(const VirtualServerKey& key, const RealServerKey& real_server,
                              uint32_t active, uint32_t inactive, uint32_t persistent = 0);

  // The same for statistics, of a virtual server and of a real server in it.
  absl::Status SetStatistics(const VirtualServerKey& key, const Statistics& statistics);
  absl::Status SetStatistics(const VirtualServerKey& key, const RealServerKey& real_server,
                             const Statistics& statistics);

 private:
  struct Entry {
    VirtualServerConfig config;
    std::map<RealServerKey, RealServer> real_servers;
    Statistics statistics;
  };

  static VirtualServer MakeVirtualServer(const VirtualServerKey& key, const Entry& entry);

  absl::Status ApplyOne(const Operation& operation);
  const Failure* TakeFailure(const Operation& operation);

  // Each carries out an operation and returns the errno with which the kernel would answer.
  int Carry(const Operation& operation);
  int WriteVirtualServer(const Operation& operation);
  int WriteRealServer(const Operation& operation, Entry* entry);

  const Options options_;
  std::map<VirtualServerKey, Entry> entries_;
  std::vector<Operation> operations_;
  std::map<uint64_t, Failure> failures_by_number_;
  std::vector<std::pair<std::function<bool(const Operation&)>, Failure>> failures_;
  Failure taken_;
  uint64_t next_number_ = 0;
  absl::Status read_status_;
};

}  // namespace fairlead::ipvs
