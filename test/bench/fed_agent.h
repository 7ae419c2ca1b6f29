// A real agent with many Services, for benchmarks in the lab: `fairlead proxy` in a node's
// namespace, fed by a journal of this process.
#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "ipvs/types.h"
#include "test/lab/agent.h"
#include "test/lab/cluster.h"
#include "watcher/feed/feed_server.h"
#include "watcher/feed/journal.h"
#include "watcher/model.h"

namespace fairlead::bench {

// Services "bench/service-N", N from 0: TCP port 80, endpoints where nobody is.
struct ServiceCrowd {
  int services = 10'000;
  int endpoints = 10;
  // So many of them, the first, have a node port too.
  int node_ports = 2'000;
};

// Its cluster IP.
ipvs::VirtualServerKey CrowdKey(int number);
// The Service's slice, with its first `endpoints` endpoints.
std::shared_ptr<const EndpointSlice> CrowdSlice(const ServiceCrowd& crowd, int number,
                                                int endpoints);
// The address and port of an endpoint of it, counted from 0.
ipvs::RealServerKey CrowdEndpoint(const ServiceCrowd& crowd, int number, int endpoint);

// build/fairlead, as the environment names it (FAIRLEAD_BIN).
std::string Program();

// Not thread-safe. What fails throws std::runtime_error.
class FedAgent {
 public:
  // How long a first sync may take on an emulated machine.
  static constexpr absl::Duration kSyncPatience = absl::Minutes(5);

  // The feed, without the agent. `node` outlives it. The journal has no object and is not complete.
  explicit FedAgent(const lab::Node& node);
  ~FedAgent();
  FedAgent(const FedAgent&) = delete;
  FedAgent& operator=(const FedAgent&) = delete;

  Journal& journal() { return journal_; }
  void Add(const ServiceCrowd& crowd);

  // Starts the agent with more flags, and waits for its first sync.
  void Start(const std::vector<std::string>& flags = {});
  // Asks it to end and waits for that. What it has written stays in the kernel.
  void Stop();

  // What the running agent has used of the processors since it was started.
  absl::Duration Cpu() const;
  // Its Unix socket, for commands.
  std::string Socket() const;

 private:
  const lab::Node& node_;
  const std::string folder_;
  Journal journal_;
  FeedServer feed_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::unique_ptr<lab::Agent> agent_;
};

}  // namespace fairlead::bench
