#include "scene.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proxy/plan/plan_output.h"

namespace fairlead::testing {

Scene::Scene(const std::vector<std::shared_ptr<const ServicePlan>>& plans) {
  for (const auto& plan : plans) desired.Update(plan);
  wanted.complete = true;
  wanted.plans = plans;
  wanted.servers = desired.VirtualServers();
  wanted.elements = desired.Elements();
  std::sort(wanted.elements.begin(), wanted.elements.end());
  for (const IpAddress& vip : desired.Vips()) {
    wanted.routes.push_back({vip, Address(vip.is_v4() ? "192.168.1.1" : "fd00:1::1")});
  }
  std::sort(wanted.routes.begin(), wanted.routes.end(),
            [](const VipRoute& a, const VipRoute& b) { return a.vip < b.vip; });
  wanted.ruleset = RulesetText({});
  for (const PlannedVirtualServer* server : wanted.servers) wanted.owned.push_back(server->key);

  kernel.servers = ToVirtualServers(desired);
  kernel.elements = wanted.elements;
  kernel.routes = wanted.routes;
  kernel.ruleset = ShapeOf(wanted.ruleset).value();
  kernel.sysctls = {
      {{.name = "net.ipv4.ip_forward", .value = "1", .reason = ""}, "1"},
      {{.name = "net.ipv4.conf.all.arp_ignore", .value = "1", .reason = "", .minimum = true}, "2"}};
}

ipvs::VirtualServer& Scene::Server(const ipvs::VirtualServerKey& key) {
  return *std::find_if(kernel.servers.begin(), kernel.servers.end(),
                       [&](const ipvs::VirtualServer& server) { return server.key == key; });
}

ipvs::RealServer& Scene::Real(const ipvs::VirtualServerKey& key, absl::string_view address) {
  std::vector<ipvs::RealServer>& servers = Server(key).real_servers;
  return *std::find_if(servers.begin(), servers.end(),
                       [&](const ipvs::RealServer& real) { return real.key == Pod(address); });
}

void Scene::AddReal(const ipvs::VirtualServerKey& key, absl::string_view address, int32_t weight) {
  ipvs::RealServer real;
  real.key = Pod(address);
  real.config.weight = weight;
  std::vector<ipvs::RealServer>& servers = Server(key).real_servers;
  servers.insert(std::upper_bound(servers.begin(), servers.end(), real,
                                  [](const auto& a, const auto& b) { return a.key < b.key; }),
                 real);
}

void Scene::AddServer(const ipvs::VirtualServerKey& key, const Lines& pods, int32_t weight) {
  ipvs::VirtualServer server;
  server.key = key;
  server.config = ipvs::VirtualServerConfig::ForFamily(key.family, "rr");
  kernel.servers.insert(
      std::upper_bound(kernel.servers.begin(), kernel.servers.end(), server,
                       [](const auto& a, const auto& b) { return a.key < b.key; }),
      server);
  for (const std::string& pod : pods) AddReal(key, pod, weight);
}

void Scene::AddElement(const Element& element) {
  kernel.elements.insert(std::upper_bound(kernel.elements.begin(), kernel.elements.end(), element),
                         element);
}

void Scene::AddRoute(const VipRoute& route) {
  kernel.routes.insert(std::upper_bound(kernel.routes.begin(), kernel.routes.end(), route,
                                        [](const auto& a, const auto& b) { return a.vip < b.vip; }),
                       route);
}

Lines Scene::Compare() const { return Format(CompareWithKernel(wanted, kernel)); }

Lines Format(const std::vector<Difference>& differences) {
  Lines lines;
  for (const Difference& difference : differences) {
    lines.push_back(absl::StrCat(FormatDriftKind(difference.kind), " ", difference.object, " (",
                                 difference.service, ")"));
    for (const std::string& line : difference.wanted) lines.push_back(absl::StrCat("-", line));
    for (const std::string& line : difference.found) lines.push_back(absl::StrCat("+", line));
  }
  return lines;
}

}  // namespace fairlead::testing
