// An Agent with a kernel in memory and a world that a test has in its hands.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "memory_kernel.h"
#include "proxy/agent/agent.h"
#include "test/proxy/health/memory_listeners.h"

namespace fairlead::testing {

struct Acknowledgement {
  FeedPosition position;
  absl::Duration programming_time;
  std::vector<ObjectFailure> failures;

  friend bool operator==(const Acknowledgement&, const Acknowledgement&) = default;
};

// Node n1 at 192.168.1.1, whose kernel has rr, lc and mh. Log messages go to `log`.
class TestAgent {
 public:
  // What it is given of the life of a node: none, so that it has nothing to do by itself, or
  // settings to repair and a place for its drains.
  enum class Life { kQuiet, kFull };

  // Over what a kernel has already.
  explicit TestAgent(NodeSettings settings = {.node_name = "n1"},
                     MemoryKernel kernel = MemoryKernel(), Life life = Life::kQuiet);
  ~TestAgent();

  // For the next pass.
  void Put(FeedUpdate update);
  // A picture for the next pass, received now. `objects` are all there is.
  void Feed(uint64_t revision, std::vector<Object> objects);
  // A picture, and a pass.
  void FeedAndPass(uint64_t revision, std::vector<Object> objects);
  std::vector<Acknowledgement> TakeAcknowledgements();
  // Lines of the metrics that start with the text, sorted.
  Lines Measured(const std::string& text) const;
  // Lines of the log that contain the text.
  Lines Logged(const std::string& text) const;

  MemoryKernel kernel;
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  absl::StatusOr<std::vector<NodeAddress>> addresses;
  std::map<std::string, absl::Status> schedulers;  // Those not in here are not found.
  Lines probes;
  int prepared = 0;
  std::atomic<int> memory_releases = 0;
  bool real_clock = false;
  // The one kernel setting, which has to be "1".
  std::string setting = "1";
  std::vector<DrainingServer> saved_drains;
  int drain_saves = 0;
  bool drain_saves_fail = false;
  // By how much `now` was set.
  absl::Duration clock_step;
  // Attempts to take over that are still to fail, and those that were made.
  int take_over_failures = 0;
  int take_overs = 0;
  NodeHealth health{absl::Seconds(30)};
  AgentMetrics metrics;
  MemoryListeners listeners{{Address("192.168.1.1")}};
  std::function<void()> on_acknowledge = [] {};

 private:
  AgentEnvironment MakeEnvironment(Life life);

  std::mutex mutex_;
  std::optional<FeedUpdate> update_;
  std::vector<Acknowledgement> acknowledgements_;
  std::ostringstream log_;

  HealthCheckPorts health_checks_{listeners, [this] { return health.Check(now).healthy; }};

 public:
  Reconciler reconciler;
  Agent agent;
};

// Of type NodePort, port "http" TCP 80 and node port `node_port`, or a ClusterIP where that is 0.
// `name` is "shop/cart".
std::shared_ptr<Service> MakeService(const std::string& name, const std::string& cluster_ip,
                                     uint16_t node_port = 0);
// Of type LoadBalancer at the address, with policy Local and a health check; otherwise as above.
std::shared_ptr<Service> MakeLocalService(const std::string& name, const std::string& cluster_ip,
                                          uint16_t node_port, const std::string& balancer_ip,
                                          uint16_t health_check_port);
// "10.244.1.2@n1 a": on node n1, with a hint for zone a; both may be left out.
std::shared_ptr<EndpointSlice> MakeSlice(const std::string& service, const Lines& endpoints);
std::shared_ptr<Node> MakeNode(const std::string& zone, const std::string& address);

}  // namespace fairlead::testing
