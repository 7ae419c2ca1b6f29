#include "proxy/plan/plan.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "proxy/plan/endpoint_sets.h"

namespace fairlead {
namespace {

// Whether Kubernetes wants this proxy to do anything for the Service.
bool IsForwarded(const Service& service, const NodeConfig& node) {
  if (service.type == ServiceType::kExternalName || service.headless_label) return false;
  return !service.proxy_name_label.has_value() ||
         service.proxy_name_label == node.service_proxy_name;
}

bool HasNodePorts(const Service& service) {
  return service.type == ServiceType::kNodePort || service.type == ServiceType::kLoadBalancer;
}

bool Contains(const std::vector<IpAddress>& addresses, const IpAddress& address) {
  return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

// Why an address must not become a VIP; empty where it may. The guard closes a VIP but for the
// ports of Services: on an address of the node's own that would cut the node off.
absl::string_view UnfitForVip(const IpAddress& address, const NodeConfig& node) {
  if (Contains(node.node_ips, address) || Contains(node.node_port_addresses, address)) {
    return "an address of this node";
  }
  if (address.IsLoopback()) return "a loopback address";
  if (address.IsMulticast()) return "a multicast address";
  if (address.IsUnspecified()) return "the unspecified address";
  return "";
}

Masquerade ClusterIpMasquerade(const NodeConfig& node) {
  if (node.masquerade_all) return Masquerade::kAlways;
  // Without prefixes nobody can be told to be an outsider.
  return node.cluster_cidrs.empty() ? Masquerade::kNever : Masquerade::kOutsiders;
}

// Policy Local keeps the client's address: the reply leaves from the node that the packet came to.
Masquerade ExternalMasquerade(TrafficPolicy policy) {
  return policy == TrafficPolicy::kLocal ? Masquerade::kNever : Masquerade::kAlways;
}

PlannedRealServer PlanRealServer(const PortEndpoint& port_endpoint) {
  const Endpoint& endpoint = *port_endpoint.endpoint;
  PlannedRealServer real_server;
  real_server.key = {endpoint.address, port_endpoint.port};
  real_server.config.forwarding = ipvs::ForwardingMethod::kMasquerade;
  real_server.config.weight = 1;
  real_server.local = port_endpoint.local;
  real_server.state = endpoint.ready ? EndpointState::kReady : EndpointState::kTerminating;
  real_server.node_name = endpoint.node_name;
  real_server.zone = endpoint.zone;
  real_server.target_name = endpoint.target_name;
  return real_server;
}

// Makes the plan of one Service.
class Builder {
 public:
  Builder(const Service& service, const Snapshot::Slices& slices, const NodeConfig& node)
      : service_(service), slices_(slices), node_(node) {
    plan_.service = service.name;
    plan_.created = service.created;
  }

  ServicePlan Build() {
    if (!IsForwarded(service_, node_) || service_.cluster_ips.empty()) return std::move(plan_);
    scheduler_ = ChooseScheduler();
    SelectVips();
    for (const ServicePort& port : service_.ports) AddPort(port);
    std::sort(plan_.virtual_servers.begin(), plan_.virtual_servers.end(),
              [](const auto& a, const auto& b) { return a.key < b.key; });
    return std::move(plan_);
  }

 private:
  template <typename... Parts>
  void Warn(const Parts&... parts) {
    plan_.warnings.push_back(absl::StrCat("Service ", service_.name.Format(), ": ", parts...));
  }

  std::string ChooseScheduler() {
    const std::string& wanted = service_.scheduler;
    if (wanted.empty() || node_.schedulers.count(wanted) > 0) {
      return wanted.empty() ? node_.default_scheduler : wanted;
    }
    if (wanted != node_.default_scheduler) {
      Warn("annotation ", kSchedulerAnnotation, ": no scheduler \"", absl::CHexEscape(wanted),
           "\" on this node, \"", node_.default_scheduler, "\" is used");
    }
    return node_.default_scheduler;
  }

  void SelectVips() {
    for (const IpAddress& address : service_.cluster_ips) {
      const absl::string_view unfit = UnfitForVip(address, node_);
      if (unfit.empty()) {
        vips_.push_back(address);
      } else {
        Warn("clusterIPs: ", address.Format(), " is ", unfit, " and is not served");
      }
    }
  }

  void AddPort(const ServicePort& port) {
    const bool serve_vips = Claim(ports_, port, "port", port.port);
    const bool serve_node_port = HasNodePorts(service_) && port.node_port != 0 &&
                                 Claim(node_ports_, port, "nodePort", port.node_port);
    for (const IpAddress& cluster_ip : service_.cluster_ips) {
      const IpFamily family = cluster_ip.family();
      const EndpointSets sets = SelectEndpoints(
          MergeEndpoints(slices_, family, port, node_.node_name), node_.node_name, node_.zone);
      if (serve_vips && Contains(vips_, cluster_ip)) {
        AddVirtualServer(AddressKind::kClusterIp, cluster_ip, port, sets);
      }
      if (!serve_node_port) continue;
      for (const IpAddress& address : node_.node_port_addresses) {
        if (address.family() != family) continue;
        AddVirtualServer(AddressKind::kNodePort, address, port, sets);
      }
    }
  }

  // False, with a warning, where an earlier port of the Service has the number already.
  using PortNumbers = std::set<std::pair<ipvs::Protocol, uint16_t>>;
  bool Claim(PortNumbers& taken, const ServicePort& port, absl::string_view field,
             uint16_t number) {
    if (taken.emplace(port.protocol, number).second) return true;
    Warn("port \"", absl::CHexEscape(port.name), "\": ", field, " ", number, " ",
         ipvs::FormatProtocol(port.protocol), " is another port's already");
    return false;
  }

  void AddVirtualServer(AddressKind kind, const IpAddress& address, const ServicePort& port,
                        const EndpointSets& sets) {
    const bool vip = kind == AddressKind::kClusterIp;
    PlannedVirtualServer server;
    server.key = ipvs::VirtualServerKey::ForAddress(port.protocol, address,
                                                    vip ? port.port : port.node_port);
    server.config = Config(address.family());
    server.service = service_.name;
    server.port_name = port.name;
    server.kind = kind;
    server.policy = vip ? service_.internal_traffic_policy : service_.external_traffic_policy;
    server.masquerade = vip ? ClusterIpMasquerade(node_) : ExternalMasquerade(server.policy);
    const std::vector<PortEndpoint>& chosen =
        server.policy == TrafficPolicy::kLocal ? sets.local : sets.cluster;
    if (chosen.empty()) {
      server.verdict = sets.any() ? Verdict::kDrop : Verdict::kReject;
    }
    server.real_servers.reserve(chosen.size());
    for (const PortEndpoint& endpoint : chosen) {
      server.real_servers.push_back(PlanRealServer(endpoint));
    }
    plan_.virtual_servers.push_back(std::move(server));
  }

  ipvs::VirtualServerConfig Config(IpFamily family) const {
    ipvs::VirtualServerConfig config = ipvs::VirtualServerConfig::ForFamily(family, scheduler_);
    if (service_.affinity_timeout.has_value()) {
      config.flags |= ipvs::kFlagPersistent;
      config.persistence_timeout = absl::Trunc(*service_.affinity_timeout, absl::Seconds(1));
    }
    return config;
  }

  const Service& service_;
  const Snapshot::Slices& slices_;
  const NodeConfig& node_;
  ServicePlan plan_;
  std::string scheduler_;
  std::vector<IpAddress> vips_;  // The clusterIPs that can be served.
  PortNumbers ports_;
  PortNumbers node_ports_;
};

}  // namespace

const std::set<std::string>& KnownSchedulers() {
  static const auto& schedulers =
      *new std::set<std::string>{"dh",  "fo", "lblc", "lblcr", "lc",   "mh",  "nq",
                                 "ovf", "rr", "sed",  "sh",    "twos", "wlc", "wrr"};
  return schedulers;
}

absl::string_view FormatAddressKind(AddressKind kind) {
  switch (kind) {
    case AddressKind::kClusterIp:
      return "ClusterIP";
    case AddressKind::kNodePort:
      return "NodePort";
  }
  return "unknown kind";
}

absl::string_view FormatVerdict(Verdict verdict) {
  switch (verdict) {
    case Verdict::kBalance:
      return "balance";
    case Verdict::kReject:
      return "reject";
    case Verdict::kDrop:
      return "drop";
  }
  return "unknown verdict";
}

absl::string_view FormatMasquerade(Masquerade masquerade) {
  switch (masquerade) {
    case Masquerade::kNever:
      return "never";
    case Masquerade::kOutsiders:
      return "outsiders";
    case Masquerade::kAlways:
      return "always";
  }
  return "unknown masquerade";
}

absl::string_view FormatEndpointState(EndpointState state) {
  switch (state) {
    case EndpointState::kReady:
      return "ready";
    case EndpointState::kTerminating:
      return "terminating";
  }
  return "unknown state";
}

absl::string_view FormatPolicy(TrafficPolicy policy) {
  switch (policy) {
    case TrafficPolicy::kCluster:
      return "Cluster";
    case TrafficPolicy::kLocal:
      return "Local";
  }
  return "unknown policy";
}

Verdict PlannedVirtualServer::without_endpoints() const {
  if (verdict != Verdict::kBalance) return verdict;
  return policy == TrafficPolicy::kLocal ? Verdict::kDrop : Verdict::kReject;
}

ServicePlan PlanService(const Service& service, const Snapshot::Slices& slices,
                        const NodeConfig& node) {
  return Builder(service, slices, node).Build();
}

}  // namespace fairlead
