#include "proxy/plan/plan_output.h"

#include <map>

#include "ipvs/save_format.h"
#include "nlohmann/json.hpp"
#include "proxy/kernel/routes.h"
#include "proxy/plan/element.h"

namespace fairlead {
namespace {

using Json = nlohmann::ordered_json;

constexpr SetName kAllSets[] = {
    SetName::kOwned,
    SetName::kOwnedMark,
    SetName::kServed,
    SetName::kOpen,
    SetName::kGuarded,
    SetName::kMasqueradeAlways,
    SetName::kMasqueradeOutsiders,
    SetName::kHairpin,
    SetName::kLimited,
    SetName::kAllowed,
    SetName::kMark,
    SetName::kDrop,
    SetName::kReject,
};
static_assert(std::size(kAllSets) == kSetNames);

std::string Text(absl::string_view text) { return std::string(text); }

Json ToJson(const PlannedRealServer& server) {
  return {
      {"address", server.key.address.Format()},
      {"port", server.key.port},
      {"weight", server.config.weight},
      {"forwarding", Text(ipvs::FormatForwardingMethod(server.config.forwarding))},
      {"node", server.node_name.str()},
      {"zone", server.zone.str()},
      {"state", Text(FormatEndpointState(server.state))},
      {"local", server.local},
      {"pod", server.target_name.str()},
  };
}

Json ToJson(const PlannedVirtualServer& server) {
  Json real_servers = Json::array();
  for (const PlannedRealServer& real_server : server.real_servers) {
    real_servers.push_back(ToJson(real_server));
  }
  Json sources = Json::array();
  for (const IpPrefix& prefix : server.sources) sources.push_back(prefix.Format());
  const bool is_mark = server.key.is_mark();
  return {
      {"address", is_mark ? Json(nullptr) : Json(server.key.address.Format())},
      {"port", is_mark ? Json(nullptr) : Json(server.key.port)},
      {"protocol", Text(ipvs::FormatProtocol(server.protocol))},
      {"firewallMark", is_mark ? Json(server.key.firewall_mark) : Json(nullptr)},
      {"family", Text(FormatFamily(server.key.family))},
      {"service", server.service.Format()},
      {"portName", server.port_name},
      {"kind", Text(FormatAddressKind(server.kind))},
      {"policy", Text(FormatPolicy(server.policy))},
      {"verdict", Text(FormatVerdict(server.verdict))},
      {"withoutEndpoints", Text(FormatVerdict(server.without_endpoints()))},
      {"scheduler", server.config.scheduler},
      {"persistenceTimeoutSeconds", absl::ToInt64Seconds(server.config.persistence_timeout)},
      {"masquerade", Text(FormatMasquerade(server.masquerade))},
      {"internalMark", server.mark == 0 ? Json(nullptr) : Json(server.mark)},
      {"sources", std::move(sources)},
      {"realServers", std::move(real_servers)},
  };
}

Json RouteToJson(const IpAddress& vip, const NodeConfig& node) {
  Json source = nullptr;
  for (const IpAddress& address : node.node_ips) {
    if (address.family() == vip.family()) source = address.Format();
  }
  return {{"vip", vip.Format()},
          {"source", std::move(source)},
          {"device", "lo"},
          {"protocol", kRouteProtocol}};
}

Json ElementsToJson(const std::vector<Element>& elements) {
  Json sets = Json::object();
  for (const SetName set : kAllSets) {
    for (const IpAddress& any : {IpAddress::V4(0), IpAddress::V6({})}) {
      sets[Element{set, any}.FormatKernelSet()] = Json::array();
    }
  }
  for (const Element& element : elements) {
    sets[element.FormatKernelSet()].push_back(element.FormatValue());
  }
  return sets;
}

Json ToJson(const Conflict& conflict) {
  return {{"address", conflict.key.address.Format()},
          {"port", conflict.key.port},
          {"protocol", Text(ipvs::FormatProtocol(conflict.key.protocol))},
          {"winner", conflict.winner.Format()},
          {"loser", conflict.loser.Format()},
          {"message", conflict.Format()}};
}

Json HealthChecksToJson(const DesiredState& desired) {
  Json checks = Json::array();
  for (const auto& [name, plan] : desired.plans()) {
    if (plan->health_check.port == 0) continue;
    Json endpoints = Json::object();
    for (const auto& [family, count] : plan->health_check.local_endpoints) {
      endpoints[Text(FormatFamily(family))] = count;
    }
    checks.push_back({{"service", name.Format()},
                      {"port", plan->health_check.port},
                      {"localEndpoints", std::move(endpoints)}});
  }
  return checks;
}

}  // namespace

std::vector<ipvs::VirtualServer> ToVirtualServers(const DesiredState& desired) {
  std::vector<ipvs::VirtualServer> servers;
  for (const PlannedVirtualServer* planned : desired.VirtualServers()) {
    ipvs::VirtualServer& server = servers.emplace_back();
    server.key = planned->key;
    server.config = planned->config;
    server.real_servers.reserve(planned->real_servers.size());
    for (const PlannedRealServer& real_server : planned->real_servers) {
      ipvs::RealServer& added = server.real_servers.emplace_back();
      added.key = real_server.key;
      added.config = real_server.config;
    }
  }
  return servers;
}

std::string FormatPlanSave(const DesiredState& desired) {
  return ipvs::FormatSave(ToVirtualServers(desired));
}

std::string FormatPlanJson(const DesiredState& desired, const NodeConfig& node) {
  Json virtual_servers = Json::array();
  for (const PlannedVirtualServer* server : desired.VirtualServers()) {
    virtual_servers.push_back(ToJson(*server));
  }
  Json routes = Json::array();
  for (const IpAddress& vip : desired.Vips()) routes.push_back(RouteToJson(vip, node));
  Json warnings = Json::array();
  for (const auto& [name, plan] : desired.plans()) {
    for (const std::string& warning : plan->warnings) warnings.push_back(warning);
  }
  Json conflicts = Json::array();
  for (const Conflict& conflict : desired.Conflicts()) conflicts.push_back(ToJson(conflict));
  const Json plan = {
      {"node", node.node_name},
      {"virtualServers", std::move(virtual_servers)},
      {"routes", std::move(routes)},
      {"elements", ElementsToJson(desired.Elements())},
      {"healthChecks", HealthChecksToJson(desired)},
      {"warnings", std::move(warnings)},
      {"conflicts", std::move(conflicts)},
  };
  // Names come from outside: text that is not UTF-8 must not throw.
  return plan.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fairlead
