// What a cloud's load balancers ask: whether this node has ready endpoints of a Service.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "ipvs/ip_address.h"
#include "proxy/health/http.h"
#include "proxy/reconcile/retry_queue.h"
#include "watcher/model.h"

namespace fairlead {

// The answer for any path: 200 if the node has ready endpoints and the agent is healthy, else 503.
HttpResponse AnswerHealthCheck(const ObjectName& service, int local_ready_endpoints,
                               bool agent_is_healthy);

// Serves the healthCheckNodePort of Services on the addresses of node ports. Where two Services
// have the same port, the one whose name sorts first has it, and the other takes over when it goes.
// A port that cannot be listened on is a problem, and tried again until it can.
//
// Confined to one thread, but for the handlers, which the listeners call on theirs.
class HealthCheckPorts {
 public:
  // `listeners` outlives this. `agent_is_healthy` is called on the listeners' thread.
  HealthCheckPorts(HttpListeners& listeners, std::function<bool()> agent_is_healthy);
  // Closes everything.
  ~HealthCheckPorts();
  HealthCheckPorts(const HealthCheckPorts&) = delete;
  HealthCheckPorts& operator=(const HealthCheckPorts&) = delete;

  // `local_ready_endpoints` is the number of distinct addresses of each family: what is asked at an
  // IPv6 address is about IPv6 endpoints. A family that is not in it has none. A port other than
  // the Service's earlier one is opened in its place; a new number only changes the answer. Port 0:
  // as RemoveService.
  using Endpoints = std::map<IpFamily, int>;
  void SetService(const ObjectName& service, uint16_t port, Endpoints local_ready_endpoints);
  void RemoveService(const ObjectName& service);

  // Where all ports are served; at first nowhere. Opens and closes only what differs.
  void SetAddresses(const std::vector<IpAddress>& addresses);

  // Tries again what is due. The waits are those of RetryQueue.
  void Retry(absl::Time now);
  // When Retry has something to do; InfinitePast, which is at once, for what failed just now;
  // InfiniteFuture if nothing is amiss.
  absl::Time NextRetry() const { return retries_.NextDue(); }

  // "Service shop/cart, healthCheckNodePort: cannot listen on 10.0.0.1:30000: Address already in
  // use", or "… port 30000 belongs to Service shop/a, whose name sorts first". Sorted.
  std::vector<std::string> Problems() const;
  // The same, each with its Service.
  std::map<std::string, ObjectName> ServicesWithProblems() const;

 private:
  using Place = std::pair<IpAddress, uint16_t>;

  // At InfinitePast where the time is not known: NextRetry tells.
  void Open(const Place& place, absl::Time now);
  void Close(const Place& place);
  // The Service that has the port, and its numbers of endpoints.
  std::pair<ObjectName, Endpoints> OwnerOf(uint16_t port) const;

  HttpListeners& listeners_;
  const std::function<bool()> agent_is_healthy_;
  std::set<IpAddress> addresses_;
  std::map<ObjectName, uint16_t> ports_;
  std::set<Place> open_;
  // Places that are wanted and not open.
  RetryQueue<Place> retries_;

  mutable std::mutex mutex_;
  // By port, the Services that have it with their numbers of endpoints. The first one's are served;
  // a port is here for as long as it has a listener.
  std::map<uint16_t, std::map<ObjectName, Endpoints>> claims_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fairlead
