#include "test/kubernetes/model.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace fairlead::lab {
namespace {

using nlohmann::json;

struct ModelPod {
  std::string name;
  std::string node;
  json labels;
  std::vector<IpAddress> ips;
  bool ready = false;
  bool terminating = false;
};

// What there is in a cluster.
struct ModelCluster {
  std::vector<ModelPod> pods;
  std::map<std::string, std::string> zone_by_node;
  std::vector<IpAddress> node_ips;  // Of this node.
  std::string node;
  ipvs::RealServerKey api_server;
};

IpAddress Address(const json& text) { return *IpAddress::Parse(text.get<std::string>()); }

ModelPod ReadPod(const json& object) {
  ModelPod pod;
  pod.name = object.at("metadata").at("name");
  pod.node = object.at("spec").value("nodeName", "");
  pod.labels = object.at("metadata").value("labels", json::object());
  pod.terminating = object.at("metadata").contains("deletionTimestamp");
  const json status = object.value("status", json::object());
  for (const json& ip : status.value("podIPs", json::array())) {
    pod.ips.push_back(Address(ip.at("ip")));
  }
  for (const json& condition : status.value("conditions", json::array())) {
    if (condition.at("type") == "Ready") pod.ready = condition.at("status") == "True";
  }
  return pod;
}

bool Selects(const json& selector, const json& labels) {
  return std::all_of(selector.items().begin(), selector.items().end(), [&](const auto& item) {
    return labels.value(item.key(), "") == item.value();
  });
}

std::vector<PlannedRealServer> RealServers(const json& service, uint16_t port, IpFamily family,
                                           const ModelCluster& cluster) {
  std::vector<PlannedRealServer> servers;
  std::vector<PlannedRealServer> terminating;
  const json& spec = service.at("spec");
  if (!spec.contains("selector")) {
    // The one Service that is of no Pods.
    if (cluster.api_server.address.family() == family) {
      servers.emplace_back().key = cluster.api_server;
    }
    return servers;
  }
  for (const ModelPod& pod : cluster.pods) {
    if (!Selects(spec.at("selector"), pod.labels) || !pod.ready) continue;
    for (const IpAddress& ip : pod.ips) {
      if (ip.family() != family) continue;
      PlannedRealServer server;
      server.key = {ip, port};
      server.local = pod.node == cluster.node;
      server.state = pod.terminating ? EndpointState::kTerminating : EndpointState::kReady;
      server.node_name = pod.node;
      const auto zone = cluster.zone_by_node.find(pod.node);
      if (zone != cluster.zone_by_node.end()) server.zone = zone->second;
      server.target_name = pod.name;
      (pod.terminating ? terminating : servers).push_back(server);
    }
  }
  if (servers.empty()) servers = terminating;
  std::sort(servers.begin(), servers.end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  return servers;
}

// An address of the Service, with the port's number there.
PlannedVirtualServer VirtualServer(const json& service, const json& port, AddressKind kind,
                                   const IpAddress& address, const ModelCluster& cluster) {
  const json& spec = service.at("spec");
  PlannedVirtualServer server;
  server.protocol = *ipvs::ParseProtocol(port.at("protocol").get<std::string>());
  server.key = ipvs::VirtualServerKey::ForAddress(
      server.protocol, address, port.at(kind == AddressKind::kNodePort ? "nodePort" : "port"));
  const json annotations = service.at("metadata").value("annotations", json::object());
  server.config = ipvs::VirtualServerConfig::ForFamily(
      address.family(), annotations.value("fairlead.dev/scheduler", "rr"));
  if (spec.at("sessionAffinity") == "ClientIP") {
    server.config.flags = ipvs::kFlagPersistent;
    server.config.persistence_timeout = absl::Seconds(
        spec.at("sessionAffinityConfig").at("clientIP").at("timeoutSeconds").get<int>());
  }
  server.service = {service.at("metadata").at("namespace").get<std::string>(),
                    service.at("metadata").at("name").get<std::string>()};
  server.port_name = port.value("name", "");
  server.kind = kind;
  server.vip = kind != AddressKind::kNodePort;
  server.masquerade =
      kind == AddressKind::kClusterIp ? Masquerade::kOutsiders : Masquerade::kAlways;
  server.real_servers = RealServers(service, port.at("targetPort"), address.family(), cluster);
  if (server.real_servers.empty()) server.verdict = Verdict::kReject;
  return server;
}

void AddService(const json& service, const ModelCluster& cluster,
                std::vector<PlannedVirtualServer>& servers) {
  const json& spec = service.at("spec");
  if (spec.at("type") == "ExternalName" || spec.at("clusterIP") == "None") return;
  std::vector<std::pair<AddressKind, IpAddress>> addresses;
  std::vector<IpFamily> families;
  for (const json& ip : spec.at("clusterIPs")) {
    addresses.emplace_back(AddressKind::kClusterIp, Address(ip));
    families.push_back(addresses.back().second.family());
  }
  for (const json& ip : spec.value("externalIPs", json::array())) {
    addresses.emplace_back(AddressKind::kExternalIp, Address(ip));
  }
  const json balancer = service.value("status", json::object()).value("loadBalancer", json());
  if (balancer.is_object()) {
    for (const json& ingress : balancer.value("ingress", json::array())) {
      addresses.emplace_back(AddressKind::kLoadBalancer, Address(ingress.at("ip")));
    }
  }
  if (spec.at("type") != "ClusterIP") {
    for (const IpAddress& ip : cluster.node_ips) {
      addresses.emplace_back(AddressKind::kNodePort, ip);
    }
  }
  for (const auto& [kind, address] : addresses) {
    if (std::find(families.begin(), families.end(), address.family()) == families.end()) continue;
    for (const json& port : spec.at("ports")) {
      servers.push_back(VirtualServer(service, port, kind, address, cluster));
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<PlannedVirtualServer>> ExpectedServers(
    ApiClient& api, const std::string& node, const ipvs::RealServerKey& api_server) {
  auto services = api.Get("/api/v1/services");
  auto pods = api.Get("/api/v1/pods");
  auto nodes = api.Get("/api/v1/nodes");
  for (const auto& answer : {services, pods, nodes}) {
    if (!answer.ok()) return answer.status();
  }
  ModelCluster cluster;
  cluster.node = node;
  cluster.api_server = api_server;
  for (const json& pod : pods->at("items")) cluster.pods.push_back(ReadPod(pod));
  for (const json& object : nodes->at("items")) {
    const json& metadata = object.at("metadata");
    cluster.zone_by_node[metadata.at("name")] =
        metadata.at("labels").at("topology.kubernetes.io/zone");
    if (metadata.at("name") != node) continue;
    for (const json& address : object.at("status").at("addresses")) {
      cluster.node_ips.push_back(Address(address.at("address")));
    }
  }
  std::vector<PlannedVirtualServer> servers;
  for (const json& service : services->at("items")) AddService(service, cluster, servers);
  std::sort(servers.begin(), servers.end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  return servers;
}

std::string Describe(const PlannedVirtualServer& server) {
  std::string text = absl::StrCat(
      server.key.Format(), " ", FormatAddressKind(server.kind), " ", server.service.Format(), " ",
      server.port_name, " ", server.config.scheduler, server.vip ? " vip " : " ",
      server.config.persistent() ? absl::FormatDuration(server.config.persistence_timeout) + " "
                                 : "",
      FormatMasquerade(server.masquerade), " ", FormatVerdict(server.verdict), ":");
  for (const PlannedRealServer& real : server.real_servers) {
    absl::StrAppend(&text, " ", real.key.Format(), "(", real.target_name.view(), "@",
                    real.node_name.view(), "/", real.zone.view(), real.local ? " local" : "", " ",
                    FormatEndpointState(real.state), ")");
  }
  return text;
}

std::string Difference(const std::vector<PlannedVirtualServer>& planned,
                       const std::vector<PlannedVirtualServer>& expected) {
  std::string text;
  const auto append = [&text](const char* what, const auto& these, const auto& others) {
    for (const PlannedVirtualServer& server : these) {
      if (std::find(others.begin(), others.end(), server) != others.end()) continue;
      absl::StrAppend(&text, what, Describe(server), "\n");
    }
  };
  append("planned:  ", planned, expected);
  append("expected: ", expected, planned);
  return text;
}

}  // namespace fairlead::lab
