// What one Service asks of one node's kernel.
//
// PlanService is a pure function: the same inputs give the same plan, whatever happened before. It
// reads no clock, no kernel and no file.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "ipvs/types.h"
#include "proxy/plan/marks.h"
#include "proxy/plan/pod_detector.h"
#include "watcher/model.h"
#include "watcher/snapshot.h"

namespace fairlead {

// What the rules have to know of the node and of the agent's flags.
struct NodeConfig {
  std::string node_name;
  // Label topology.kubernetes.io/zone of the Node; empty: not known.
  std::string zone;
  // The node's own address, at most one of each family: source of the node's packets to VIPs. A
  // family without one is served all the same, the kernel then chooses the source.
  std::vector<IpAddress> node_ips;
  // Addresses on which node ports are served, sorted, both families.
  std::vector<IpAddress> node_port_addresses;
  // Every address of the node's devices that others can reach, sorted, both families: a Service's
  // address that is among them is served without a route and without closing its other ports.
  std::vector<IpAddress> own_addresses;
  PodDetector pods;
  // Masquerade everything that goes to a cluster IP.
  bool masquerade_all = false;
  std::string default_scheduler = "rr";
  // For what the kernel's persistence cannot do: one that hashes the client's address.
  std::string affinity_scheduler = "mh";
  // The schedulers that can be used; an annotation with another name is ignored with a warning.
  std::set<std::string> schedulers;
  // Marks for the virtual servers of pods and the node, see PlannedVirtualServer::mark.
  MarkRange marks;
  // The value of the label service.kubernetes.io/service-proxy-name this agent answers to; unset:
  // none, and a Service with the label is not for it.
  std::optional<std::string> service_proxy_name;

  friend bool operator==(const NodeConfig&, const NodeConfig&) = default;
};

// The schedulers of Linux 6.12, for where no kernel is at hand to be asked.
const std::set<std::string>& KnownSchedulers();

enum class AddressKind : uint8_t {
  kClusterIp,
  kNodePort,
  kExternalIp,
  kLoadBalancer,
  // No address: what pods and the node send to a node port, an external IP or a load balancer's
  // address of a Service with external policy Local.
  kInternal,
};

// What a new connection meets.
enum class Verdict : uint8_t {
  kBalance,
  kReject,  // No usable endpoint anywhere: refused at once.
  kDrop,    // The policy leaves none, though there are some elsewhere: silence.
};

// Whose source address is replaced by the node's.
enum class Masquerade : uint8_t {
  kNever,
  kOutsiders,  // All but pods.
  kAlways,
};

enum class EndpointState : uint8_t {
  kReady,
  kTerminating,  // Serving while it terminates; used because no ready one is left.
};

// "ClusterIP", "NodePort", "ExternalIP", "LoadBalancer", "Internal"
absl::string_view FormatAddressKind(AddressKind kind);
absl::string_view FormatVerdict(Verdict verdict);            // "balance", "reject", "drop"
absl::string_view FormatMasquerade(Masquerade masquerade);   // "never", "outsiders", "always"
absl::string_view FormatEndpointState(EndpointState state);  // "ready", "terminating"
absl::string_view FormatPolicy(TrafficPolicy policy);        // "Cluster", "Local"

struct PlannedRealServer {
  ipvs::RealServerKey key;
  ipvs::RealServerConfig config;
  bool local = false;  // On this node.
  EndpointState state = EndpointState::kReady;
  SharedText node_name;
  SharedText zone;
  SharedText target_name;

  friend bool operator==(const PlannedRealServer&, const PlannedRealServer&) = default;
};

struct PlannedVirtualServer {
  ipvs::VirtualServerKey key;
  ipvs::VirtualServerConfig config;
  ObjectName service;
  std::string port_name;
  // Of the Service's port: that of the key, but for kInternal.
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;
  AddressKind kind = AddressKind::kClusterIp;
  // Whether the address is held by a local route and closed but for the ports of Services. The
  // node's own addresses are not.
  bool vip = false;
  TrafficPolicy policy = TrafficPolicy::kCluster;
  Verdict verdict = Verdict::kBalance;
  Masquerade masquerade = Masquerade::kNever;
  std::vector<PlannedRealServer> real_servers;  // Sorted by key; empty unless kBalance.
  // The firewall mark that packets of pods and of the node to this address get, which leads them to
  // the virtual server of kind kInternal; 0: none.
  uint32_t mark = 0;
  // The only sources that are let in, sorted and disjoint; empty: all.
  std::vector<IpPrefix> sources;
  // How long an endpoint that leaves keeps its connections; unset: as the node has it.
  std::optional<absl::Duration> drain_timeout;

  // What a client meets here without endpoints, never kBalance: the verdict where there are none,
  // otherwise what it would be with endpoints left on other nodes only (policy Local) or none
  // (Cluster).
  Verdict without_endpoints() const;

  friend bool operator==(const PlannedVirtualServer&, const PlannedVirtualServer&) = default;
};

// What a load balancer's health check is told of a Service.
struct PlannedHealthCheck {
  uint16_t port = 0;  // 0: there is none.
  // Distinct addresses of ready endpoints on this node, over all ports; of the families that the
  // Service has.
  std::map<IpFamily, int> local_endpoints;

  friend bool operator==(const PlannedHealthCheck&, const PlannedHealthCheck&) = default;
};

struct ServicePlan {
  ObjectName service;
  absl::Time created = absl::InfinitePast();
  // Sorted by key, no key twice.
  std::vector<PlannedVirtualServer> virtual_servers;
  PlannedHealthCheck health_check;
  // Each names the object and the field.
  std::vector<std::string> warnings;

  bool empty() const {
    return virtual_servers.empty() && warnings.empty() && health_check.port == 0;
  }

  friend bool operator==(const ServicePlan&, const ServicePlan&) = default;
};

// Whether this proxy serves the Service at all: by its labels and its type.
bool IsServed(const Service& service, const NodeConfig& node);

// The externalTrafficPolicy that counts: Cluster where nothing of the Service is external.
TrafficPolicy ExternalPolicy(const Service& service);

// The slices of a Service, without those that are not for this proxy by their labels.
Snapshot::Slices VisibleSlices(const Snapshot::Slices& slices, const NodeConfig& node);

// The ports of the Service that need a firewall mark on this node, with what is marked.
MarkAllocator::Wanted WantedMarks(const Service& service, const NodeConfig& node);

// The plan of a Service: empty for one that is invisible, headless or of type ExternalName. A part
// that cannot be served (a port twice, a clusterIP that is the node's own address or loopback) is
// left out with a warning, and the rest is planned. `marks` are those of WantedMarks; a port that
// has none of them gets along with one set of endpoints, with a warning.
ServicePlan PlanService(const Service& service, const Snapshot::Slices& slices,
                        const NodeConfig& node, const ServiceMarks& marks);

}  // namespace fairlead
