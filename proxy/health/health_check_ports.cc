#include "proxy/health/health_check_ports.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

using Json = nlohmann::ordered_json;

std::string Problem(const ObjectName& service, absl::string_view reason) {
  return absl::StrCat("Service ", service.Format(), ", healthCheckNodePort: ", reason);
}

}  // namespace

HttpResponse AnswerHealthCheck(const ObjectName& service, int local_ready_endpoints,
                               bool agent_is_healthy) {
  const Json body = {
      {"service", {{"namespace", service.name_space.view()}, {"name", service.name.view()}}},
      {"localEndpoints", local_ready_endpoints},
      {"serviceProxyHealthy", agent_is_healthy},
  };
  return {local_ready_endpoints > 0 && agent_is_healthy ? 200 : 503,
          {{"Content-Type", "application/json"},
           {"X-Content-Type-Options", "nosniff"},
           {"X-Load-Balancing-Endpoint-Weight", absl::StrCat(local_ready_endpoints)}},
          // Indented by tabs, as kube-proxy's. A name that is not UTF-8 is no reason to throw.
          body.dump(1, '\t', false, Json::error_handler_t::replace)};
}

HealthCheckPorts::HealthCheckPorts(HttpListeners& listeners, std::function<bool()> agent_is_healthy)
    : listeners_(listeners), agent_is_healthy_(std::move(agent_is_healthy)) {}

HealthCheckPorts::~HealthCheckPorts() { SetAddresses({}); }

void HealthCheckPorts::SetService(const ObjectName& service, uint16_t port,
                                  Endpoints local_ready_endpoints) {
  const auto earlier = ports_.find(service);
  if (earlier != ports_.end() && earlier->second != port) RemoveService(service);
  if (port == 0) return;
  ports_[service] = port;
  bool is_new = false;
  {
    std::lock_guard lock(mutex_);
    std::map<ObjectName, Endpoints>& claims = claims_[port];
    is_new = claims.empty();
    claims[service] = std::move(local_ready_endpoints);
  }
  if (!is_new) return;
  for (const IpAddress& address : addresses_) Open({address, port}, absl::InfinitePast());
}

void HealthCheckPorts::RemoveService(const ObjectName& service) {
  const auto found = ports_.find(service);
  if (found == ports_.end()) return;
  const uint16_t port = found->second;
  ports_.erase(found);
  {
    std::lock_guard lock(mutex_);
    std::map<ObjectName, Endpoints>& claims = claims_[port];
    if (claims.size() > 1) {
      claims.erase(service);
      return;
    }
  }
  // Closed before it is forgotten, and without the lock: a handler that runs needs both.
  for (const IpAddress& address : addresses_) Close({address, port});
  std::lock_guard lock(mutex_);
  claims_.erase(port);
}

void HealthCheckPorts::SetAddresses(const std::vector<IpAddress>& addresses) {
  const std::set<IpAddress> wanted(addresses.begin(), addresses.end());
  std::set<uint16_t> ports;
  for (const auto& [service, port] : ports_) ports.insert(port);
  // What goes first: it may be in the way of what comes, as 0.0.0.0 is of any IPv4 address.
  for (const IpAddress& address : addresses_) {
    if (wanted.contains(address)) continue;
    for (const uint16_t port : ports) Close({address, port});
  }
  for (const IpAddress& address : wanted) {
    if (addresses_.contains(address)) continue;
    for (const uint16_t port : ports) Open({address, port}, absl::InfinitePast());
  }
  addresses_ = wanted;
}

void HealthCheckPorts::Retry(absl::Time now) {
  const std::set<Place> due = retries_.TakeDue(now);
  for (const Place& place : due) Open(place, now);
}

void HealthCheckPorts::Open(const Place& place, absl::Time now) {
  const auto& [address, port] = place;
  const absl::StatusOr<uint16_t> opened =
      listeners_.Listen(address, port, [this, place](const HttpRequest&) {
        const auto [service, endpoints] = OwnerOf(place.second);
        const auto count = endpoints.find(place.first.family());
        return AnswerHealthCheck(service, count == endpoints.end() ? 0 : count->second,
                                 agent_is_healthy_());
      });
  if (opened.ok()) {
    open_.insert(place);
    retries_.Succeeded(place);
  } else {
    retries_.Failed(place, std::string(opened.status().message()), now);
  }
}

void HealthCheckPorts::Close(const Place& place) {
  if (open_.erase(place) > 0) listeners_.Close(place.first, place.second);
  retries_.Succeeded(place);
}

std::pair<ObjectName, HealthCheckPorts::Endpoints> HealthCheckPorts::OwnerOf(uint16_t port) const {
  std::lock_guard lock(mutex_);
  return *claims_.at(port).begin();
}

std::vector<std::string> HealthCheckPorts::Problems() const {
  std::vector<std::string> problems;
  for (auto& [problem, service] : ServicesWithProblems()) problems.push_back(problem);
  return problems;
}

std::map<std::string, ObjectName> HealthCheckPorts::ServicesWithProblems() const {
  std::map<std::string, ObjectName> problems;
  for (const auto& [place, reason] : retries_.Reasons()) {
    const ObjectName owner = OwnerOf(place.second).first;
    problems.emplace(Problem(owner, reason), owner);
  }
  for (const auto& [service, port] : ports_) {
    const ObjectName owner = OwnerOf(port).first;
    if (owner == service) continue;
    problems.emplace(Problem(service, absl::StrCat("port ", port, " belongs to Service ",
                                                   owner.Format(), ", whose name sorts first")),
                     service);
  }
  return problems;
}

}  // namespace fairlead
