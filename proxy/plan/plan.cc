#include "proxy/plan/plan.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "proxy/plan/endpoint_sets.h"
#include "proxy/plan/service_addresses.h"

namespace fairlead {
namespace {

// Labels that both Services and slices carry.
bool IsVisible(bool headless_label, const std::optional<std::string>& proxy_name_label,
               const NodeConfig& node) {
  return !headless_label &&
         (!proxy_name_label.has_value() || proxy_name_label == node.service_proxy_name);
}

Masquerade MasqueradeOf(const ServiceAddress& address, const NodeConfig& node) {
  if (address.kind == AddressKind::kClusterIp) {
    if (node.masquerade_all) return Masquerade::kAlways;
    // Where pods cannot be told from others nobody is an outsider.
    return node.pods.Detects(address.address.family()) ? Masquerade::kOutsiders
                                                       : Masquerade::kNever;
  }
  // Policy Local keeps the client's address: the reply leaves from the node that the packet came
  // to.
  return address.policy == TrafficPolicy::kLocal ? Masquerade::kNever : Masquerade::kAlways;
}

// Whether the address is reached by two sets of endpoints.
bool HasTwoSets(const ServiceAddress& address) {
  return address.kind != AddressKind::kClusterIp && address.policy == TrafficPolicy::kLocal;
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
  Builder(const Service& service, const Snapshot::Slices& slices, const NodeConfig& node,
          const ServiceMarks& marks)
      : service_(service), slices_(slices), node_(node), marks_(marks) {
    plan_.service = service.name;
    plan_.created = service.created;
  }

  ServicePlan Build() {
    ServiceAddresses addresses = SelectAddresses(service_, node_);
    if (!IsServed(service_, node_) || service_.cluster_ips.empty()) return std::move(plan_);
    scheduler_ = ChooseScheduler();
    addresses_ = std::move(addresses.served);
    for (const std::string& problem : addresses.problems) Warn(problem);
    for (const ServicePort& port : service_.ports) AddPort(port);
    std::sort(plan_.virtual_servers.begin(), plan_.virtual_servers.end(),
              [](const auto& a, const auto& b) { return a.key < b.key; });
    PlanHealthCheck();
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

  void AddPort(const ServicePort& port) {
    const bool serve_port = Claim(ports_, port, "port", port.port);
    const bool serve_node_port =
        port.node_port != 0 && Claim(node_ports_, port, "nodePort", port.node_port);
    for (const IpAddress& cluster_ip : service_.cluster_ips) {
      const IpFamily family = cluster_ip.family();
      const EndpointSets sets = SelectEndpoints(
          MergeEndpoints(slices_, family, port, node_.node_name), node_.node_name, node_.zone);
      for (const PortEndpoint& endpoint : sets.local) {
        if (endpoint.endpoint->ready) local_ready_.insert(endpoint.endpoint->address);
      }
      uint32_t mark = 0;
      bool two_sets = false;
      for (const ServiceAddress& address : addresses_) {
        const bool node_port = address.kind == AddressKind::kNodePort;
        if (address.address.family() != family) continue;
        if (!(node_port ? serve_node_port : serve_port)) continue;
        if (HasTwoSets(address)) {
          two_sets = true;
          mark = MarkOf(port);
        }
        AddVirtualServer(address, port, sets, HasTwoSets(address) ? mark : 0);
      }
      if (mark != 0) AddInternalServer(family, mark, port, sets);
      if (two_sets && mark == 0) WarnOfMark(port);
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

  uint32_t MarkOf(const ServicePort& port) const {
    auto it = marks_.find({port.name, port.protocol});
    return it == marks_.end() ? 0 : it->second;
  }

  void WarnOfMark(const ServicePort& port) {
    const std::string warning = absl::StrCat(
        "Service ", service_.name.Format(), ": port \"", absl::CHexEscape(port.name),
        "\": no firewall mark of ", node_.marks.Format(),
        " is free: pods and the node reach only local endpoints through external addresses");
    // Once for both families.
    if (plan_.warnings.empty() || plan_.warnings.back() != warning) {
      plan_.warnings.push_back(warning);
    }
  }

  PlannedVirtualServer MakeServer(AddressKind kind, const ServicePort& port, TrafficPolicy policy,
                                  const EndpointSets& sets) const {
    PlannedVirtualServer server;
    server.service = service_.name;
    server.port_name = port.name;
    server.protocol = port.protocol;
    server.kind = kind;
    server.policy = policy;
    server.drain_timeout =
        port.protocol == ipvs::Protocol::kUdp ? service_.udp_drain_timeout : service_.drain_timeout;
    const std::vector<PortEndpoint>& chosen =
        policy == TrafficPolicy::kLocal ? sets.local : sets.cluster;
    if (chosen.empty()) server.verdict = sets.any() ? Verdict::kDrop : Verdict::kReject;
    server.real_servers.reserve(chosen.size());
    for (const PortEndpoint& endpoint : chosen) {
      server.real_servers.push_back(PlanRealServer(endpoint));
    }
    return server;
  }

  void AddVirtualServer(const ServiceAddress& address, const ServicePort& port,
                        const EndpointSets& sets, uint32_t mark) {
    const uint16_t number = address.PortOf(port);
    const auto key = ipvs::VirtualServerKey::ForAddress(port.protocol, address.address, number);
    if (!keys_.insert(key).second) {
      Warn("port \"", absl::CHexEscape(port.name), "\": ", key.Format(),
           " is another port's of the Service already");
      return;
    }
    PlannedVirtualServer server = MakeServer(address.kind, port, address.policy, sets);
    server.key = key;
    server.config = Config(address.address.family());
    server.masquerade = MasqueradeOf(address, node_);
    server.vip = address.vip;
    server.mark = mark;
    server.sources = address.sources;
    plan_.virtual_servers.push_back(std::move(server));
  }

  // What pods and the node reach through external addresses of policy Local.
  void AddInternalServer(IpFamily family, uint32_t mark, const ServicePort& port,
                         const EndpointSets& sets) {
    PlannedVirtualServer server =
        MakeServer(AddressKind::kInternal, port, TrafficPolicy::kCluster, sets);
    server.key = ipvs::VirtualServerKey::ForMark(family, mark);
    // Ports of one name and protocol have one mark, and the same endpoints.
    if (!keys_.insert(server.key).second) return;
    server.config = Config(family);
    if (server.config.persistent()) {
      // The kernel does not translate the port where persistence is by mark (ip_vs_sched_persist),
      // so that affinity is by a hash of the client's address.
      server.config = ipvs::VirtualServerConfig::ForFamily(family, node_.affinity_scheduler);
      server.config.flags = ipvs::kFlagScheduler1;  // Past servers of weight 0.
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

  void PlanHealthCheck() {
    if (service_.type != ServiceType::kLoadBalancer || service_.health_check_node_port == 0 ||
        ExternalPolicy(service_) != TrafficPolicy::kLocal) {
      return;
    }
    plan_.health_check.port = service_.health_check_node_port;
    for (const IpAddress& cluster_ip : service_.cluster_ips) {
      plan_.health_check.local_endpoints[cluster_ip.family()] = 0;
    }
    for (const IpAddress& address : local_ready_) {
      ++plan_.health_check.local_endpoints[address.family()];
    }
  }

  const Service& service_;
  const Snapshot::Slices& slices_;
  const NodeConfig& node_;
  const ServiceMarks& marks_;
  ServicePlan plan_;
  std::string scheduler_;
  std::vector<ServiceAddress> addresses_;
  PortNumbers ports_;
  PortNumbers node_ports_;
  std::set<ipvs::VirtualServerKey> keys_;
  std::set<IpAddress> local_ready_;
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
    case AddressKind::kExternalIp:
      return "ExternalIP";
    case AddressKind::kLoadBalancer:
      return "LoadBalancer";
    case AddressKind::kInternal:
      return "Internal";
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

bool IsServed(const Service& service, const NodeConfig& node) {
  return service.type != ServiceType::kExternalName &&
         IsVisible(service.headless_label, service.proxy_name_label, node);
}

TrafficPolicy ExternalPolicy(const Service& service) {
  const bool external = service.type == ServiceType::kNodePort ||
                        service.type == ServiceType::kLoadBalancer || !service.external_ips.empty();
  return external ? service.external_traffic_policy : TrafficPolicy::kCluster;
}

Snapshot::Slices VisibleSlices(const Snapshot::Slices& slices, const NodeConfig& node) {
  Snapshot::Slices visible;
  for (const auto& [name, slice] : slices) {
    if (IsVisible(slice->headless_label, slice->proxy_name_label, node)) {
      visible.emplace(name, slice);
    }
  }
  return visible;
}

MarkAllocator::Wanted WantedMarks(const Service& service, const NodeConfig& node) {
  MarkAllocator::Wanted wanted;
  if (ExternalPolicy(service) != TrafficPolicy::kLocal) return wanted;
  const ServiceAddresses addresses = SelectAddresses(service, node);
  for (const ServicePort& port : service.ports) {
    for (const ServiceAddress& address : addresses.served) {
      const uint16_t number = address.PortOf(port);
      if (number == 0 || !HasTwoSets(address)) continue;
      wanted[{port.name, port.protocol}].push_back(
          ipvs::VirtualServerKey::ForAddress(port.protocol, address.address, number));
    }
  }
  return wanted;
}

ServicePlan PlanService(const Service& service, const Snapshot::Slices& slices,
                        const NodeConfig& node, const ServiceMarks& marks) {
  return Builder(service, VisibleSlices(slices, node), node, marks).Build();
}

}  // namespace fairlead
