// The agent's numbers, as Prometheus reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proxy/health/node_health.h"
#include "watcher/model.h"

namespace fairlead {

// How much of a Service another Service has.
struct ServiceConflicts {
  ObjectName service;
  int addresses_and_ports = 0;

  friend bool operator==(const ServiceConflicts&, const ServiceConflicts&) = default;
};

// Since the agent's start.
struct KernelWrites {
  uint64_t ipvs = 0;      // Virtual servers and real servers.
  uint64_t elements = 0;  // Of the firewall's sets.
  uint64_t routes = 0;

  friend bool operator==(const KernelWrites&, const KernelWrites&) = default;
};

// Real servers that are no longer wanted, since the agent's start: those that have begun to drain,
// and of these the ones that no longer do, by why.
struct DrainTotals {
  uint64_t started = 0;
  uint64_t idle = 0;
  uint64_t timeout = 0;
  uint64_t at_once = 0;
  uint64_t command = 0;
  uint64_t returned = 0;
  uint64_t gone = 0;

  friend bool operator==(const DrainTotals&, const DrainTotals&) = default;
};

// What the agent has in the kernel, and whose it is.
struct TableSizes {
  size_t services = 0;
  size_t virtual_servers = 0;
  size_t real_servers = 0;
  size_t draining = 0;  // Real servers.

  friend bool operator==(const TableSizes&, const TableSizes&) = default;
};

// What a node waits for when an agent starts.
enum class FirstSync : uint8_t {
  kApiServer,   // default/kubernetes
  kDns,         // kube-system/kube-dns or kube-system/coredns
  kEverything,  // Every Service.
};

// "apiserver", "dns", "everything"
absl::string_view FormatFirstSync(FirstSync part);

// Counters are given as totals since the agent's start; one smaller than before changes nothing.
// Everything is 0 until it is set. Thread-safe.
class AgentMetrics {
 public:
  AgentMetrics();
  ~AgentMetrics();
  AgentMetrics(const AgentMetrics&) = delete;
  AgentMetrics& operator=(const AgentMetrics&) = delete;

  // All of them: the series of a Service that is not among them vanishes. One entry per Service.
  void SetConflicts(const std::vector<ServiceConflicts>& conflicts);
  // Of the node, for what kube-proxy has by family: a pass is for all of them. Before the first
  // call there are none.
  void SetFamilies(const std::set<IpFamily>& families);
  // Services and EndpointSlices that the feed has brought or removed, and that are to be carried
  // out now; ChangesDone: they are.
  void CountChanges(size_t services, size_t slices);
  void ChangesDone();
  // When the newest of them came.
  void SetLastQueued(absl::Time time);
  // When the kernel was last brought to what is wanted.
  void SetLastSync(absl::Time time);
  // A probe of "healthz" or "livez" was answered with this code of HTTP.
  void CountProbe(absl::string_view probe, int code);
  // Objects that are not in the kernel as planned.
  void SetSyncFailures(int failures);
  // A pass that brought the kernel to what is wanted took this long.
  void ObserveSync(absl::Duration took);
  // A change is in the kernel this long after its source learnt of it.
  void ObserveProgramming(absl::Duration took);
  // Works for the first time, so long after the start.
  void SetFirstSync(FirstSync part, absl::Duration after);
  // Found to be other than Fairlead had left it, and written again. `kind` is of FormatDriftKind.
  void CountRepairs(absl::string_view kind, uint64_t count);
  // A cycle of the audit took this long.
  void SetAuditCycle(absl::Duration took);
  // Of an agent that only looks: how the kernel differs from its plan. `kind` as above.
  void SetShadowDifferences(absl::string_view kind, size_t count);
  void SetTableSizes(const TableSizes& sizes);
  void SetFeed(const FeedFreshness& feed, absl::Time now);
  void SetKernelWrites(const KernelWrites& totals);
  void SetDrains(const DrainTotals& totals);
  void SetHealthCheckPortProblems(int problems);
  void SetConntrackFlowsDeleted(uint64_t total);

  // The text format, version 0.0.4.
  std::string Render() const;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead
