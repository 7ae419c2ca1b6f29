#include "test_agent.h"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace fairlead::testing {
namespace {

ObjectName ParseName(const std::string& name) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(name, '/');
  return {parts.first, parts.second};
}

}  // namespace

TestAgent::TestAgent(NodeSettings settings, MemoryKernel kernel, Life life)
    : kernel(std::move(kernel)),
      addresses(std::vector<NodeAddress>{{Address("192.168.1.1"), "eth0"}}),
      schedulers({{"rr", absl::OkStatus()}, {"lc", absl::OkStatus()}, {"mh", absl::OkStatus()}}),
      reconciler(this->kernel.table, this->kernel.firewall, this->kernel.routes,
                 this->kernel.conntrack, {}),
      agent(std::move(settings), MakeEnvironment(life), reconciler,
            {.health = health, .health_checks = health_checks_, .metrics = metrics}) {
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_)));
  spdlog::set_pattern("%l: %v");
}

TestAgent::~TestAgent() { spdlog::set_default_logger(std::make_shared<spdlog::logger>("none")); }

AgentEnvironment TestAgent::MakeEnvironment(Life life) {
  AgentEnvironment environment{
      .now = [this] { return real_clock ? absl::Now() : now; },
      .take_update =
          [this] {
            const std::lock_guard lock(mutex_);
            return std::exchange(update_, std::nullopt);
          },
      .acknowledge =
          [this](const FeedPosition& position, absl::Duration took,
                 const std::vector<ObjectFailure>& failures) {
            acknowledgements_.push_back({position, took, failures});
            on_acknowledge();
          },
      .local_addresses = [this] { return addresses; },
      .probe_scheduler =
          [this](const std::string& name) {
            probes.push_back(name);
            const auto it = schedulers.find(name);
            return it == schedulers.end() ? absl::NotFoundError("no module") : it->second;
          },
      .prepare = [this] { ++prepared; },
      .release_memory = [this] { ++memory_releases; },
  };
  if (life == Life::kQuiet) return environment;
  environment.repair_settings = [this](DriftReport& drift) {
    if (setting == "1") return;
    drift.Add(DriftKind::kSysctl, [&] { return absl::StrCat("a.setting was ", setting); });
    setting = "1";
  };
  environment.take_over = [this] {
    ++take_overs;
    return take_over_failures-- <= 0;
  };
  environment.uptime = [this] { return now - absl::UnixEpoch() - clock_step; };
  environment.load_drains = [this] { return saved_drains; };
  environment.save_drains = [this](const std::vector<DrainingServer>& drains) {
    ++drain_saves;
    if (drain_saves_fail) return false;
    saved_drains = drains;
    return true;
  };
  return environment;
}

void TestAgent::Put(FeedUpdate update) {
  const std::lock_guard lock(mutex_);
  update_ = std::move(update);
}

void TestAgent::Feed(uint64_t revision, std::vector<Object> objects) {
  const std::lock_guard lock(mutex_);
  update_.emplace();
  update_->position = {"epoch", revision};
  update_->snapshot = true;
  update_->upserts = std::move(objects);
  update_->received = real_clock ? absl::Now() : now;
}

void TestAgent::FeedAndPass(uint64_t revision, std::vector<Object> objects) {
  Feed(revision, std::move(objects));
  agent.Pass();
}

std::vector<Acknowledgement> TestAgent::TakeAcknowledgements() {
  return std::exchange(acknowledgements_, {});
}

Lines TestAgent::Measured(const std::string& text) const {
  const std::string rendered = metrics.Render();
  Lines lines;
  for (absl::string_view line : absl::StrSplit(rendered, '\n')) {
    if (absl::StartsWith(line, text)) lines.emplace_back(line);
  }
  std::sort(lines.begin(), lines.end());  // The registry has no order.
  return lines;
}

Lines TestAgent::Logged(const std::string& text) const {
  Lines lines;
  const std::string log = log_.str();
  for (absl::string_view line : absl::StrSplit(log, '\n')) {
    if (absl::StrContains(line, text)) lines.emplace_back(line);
  }
  return lines;
}

std::shared_ptr<Service> MakeService(const std::string& name, const std::string& cluster_ip,
                                     uint16_t node_port) {
  auto service = std::make_shared<Service>();
  service->name = ParseName(name);
  service->type = node_port == 0 ? ServiceType::kClusterIp : ServiceType::kNodePort;
  service->cluster_ips = {Address(cluster_ip)};
  service->ports = {{.name = "http", .port = 80, .node_port = node_port}};
  return service;
}

std::shared_ptr<Service> MakeLocalService(const std::string& name, const std::string& cluster_ip,
                                          uint16_t node_port, const std::string& balancer_ip,
                                          uint16_t health_check_port) {
  std::shared_ptr<Service> service = MakeService(name, cluster_ip, node_port);
  service->type = ServiceType::kLoadBalancer;
  service->load_balancer_ips = {Address(balancer_ip)};
  service->external_traffic_policy = TrafficPolicy::kLocal;
  service->health_check_node_port = health_check_port;
  return service;
}

std::shared_ptr<EndpointSlice> MakeSlice(const std::string& service, const Lines& endpoints) {
  auto slice = std::make_shared<EndpointSlice>();
  const ObjectName name = ParseName(service);
  slice->name = {name.name_space, absl::StrCat(name.name.view(), "-1")};
  slice->service_name = name.name;
  slice->ports = {{.name = "http", .port = 8080}};
  for (const std::string& text : endpoints) {
    const std::vector<std::string> words = absl::StrSplit(text, ' ');
    const std::pair<std::string, std::string> place = absl::StrSplit(words[0], '@');
    Endpoint endpoint;
    endpoint.address = Address(place.first);
    endpoint.node_name = place.second;
    if (words.size() > 1) endpoint.hints = EndpointHints{.zones = {words[1]}};
    slice->endpoints.push_back(endpoint);
  }
  return slice;
}

std::shared_ptr<Node> MakeNode(const std::string& zone, const std::string& address) {
  auto node = std::make_shared<Node>();
  node->name = "n1";
  node->zone = zone;
  node->internal_ips = {Address(address)};
  return node;
}

}  // namespace fairlead::testing
