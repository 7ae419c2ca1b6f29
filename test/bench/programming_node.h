// A node of the programming benchmark: a network namespace, a proxy in it, and what can be seen of
// both from outside, the same for all proxies.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "ipvs/kernel_table.h"
#include "test/bench/programming_counters.h"
#include "test/bench/programming_objects.h"
#include "test/lab/net_namespace.h"
#include "test/lab/process.h"

namespace fairlead::bench {

enum class Backend { kIpvs, kNftables };

// How a proxy is started, and what it leaves in the kernel.
struct ProxyKind {
  std::string name;
  Backend backend = Backend::kIpvs;
  bool fairlead = false;
  bool from_api = false;
  std::vector<std::string> words;
};

// What a phase has cost the proxy and its children.
struct PhaseCost {
  KernelCounts counts;
  absl::Duration cpu;
};

// Throws std::runtime_error where the environment fails. Not thread-safe.
class BenchNode {
 public:
  static constexpr char kAddress[] = "172.18.0.11";
  // The other end, in this process' namespace, by which the node reaches everything.
  static constexpr char kGateway[] = "172.18.0.1";

  // A fresh one; that of before is gone when this returns, as far as names are concerned.
  explicit BenchNode(KernelCounters& counters);
  ~BenchNode();
  BenchNode(const BenchNode&) = delete;
  BenchNode& operator=(const BenchNode&) = delete;

  const lab::NetNamespace& net() const { return *net_; }

  // Returns when it was, by the clock of KernelCounters::Monotonic().
  absl::Duration Start(const ProxyKind& kind, const std::string& log);
  // SIGTERM, and its end.
  void Stop();
  bool running() { return process_ != nullptr && process_->running(); }

  // From here to EndPhase.
  void BeginPhase();
  PhaseCost EndPhase() const;

  // Of the proxy alone, without children.
  int64_t ResidentBytes() const;
  // The body of an answer with code 200, else empty.
  std::string Ask(int port, const std::string& path) const;
  // The sum of a metric's values over its labels; -1 if it is not there.
  double Metric(const std::string& name) const;

  // IPv4 virtual servers.
  int VirtualServers() const;
  // Whether IPVS sends new connections to the service's ready endpoints, and to nobody else.
  bool Balances(const BenchService& service) const;
  bool HasServer(const BenchService& service) const;

 private:
  KernelCounters& counters_;
  std::unique_ptr<lab::NetNamespace> net_;
  std::unique_ptr<ipvs::KernelTable> table_;
  int ipvs_socket_ = -1;
  std::unique_ptr<lab::Process> process_;
  absl::Duration phase_cpu_;
};

// Hears of what transactions of nf_tables in a namespace have made.
class NftWatch {
 public:
  explicit NftWatch(const lab::NetNamespace& net);
  ~NftWatch();
  NftWatch(const NftWatch&) = delete;
  NftWatch& operator=(const NftWatch&) = delete;

  // Waits for an element whose value is the endpoint at this address; when it was heard of, by the
  // clock of KernelCounters::Monotonic(), or infinitely late.
  absl::Duration Await(const IpAddress& endpoint, absl::Duration limit);

 private:
  int fd_ = -1;
  std::string buffer_;
};

}  // namespace fairlead::bench
