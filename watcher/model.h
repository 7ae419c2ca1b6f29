// The objects that Service rules read, normalised: parsed, validated, and nothing that no rule
// looks at. They are plain values; a source makes them, the feed carries them, the planner reads
// them.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "ipvs/ip_address.h"
#include "ipvs/types.h"
#include "watcher/rare.h"
#include "watcher/shared_text.h"

namespace fairlead {

// Namespace and name of a namespaced object.
struct ObjectName {
  SharedText name_space;
  SharedText name;

  // "shop/cart".
  std::string Format() const { return absl::StrCat(name_space.view(), "/", name.view()); }

  auto operator<=>(const ObjectName&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const ObjectName& name) {
    return H::combine(std::move(state), name.name_space, name.name);
  }
};

enum class ServiceType : uint8_t { kClusterIp, kNodePort, kLoadBalancer, kExternalName };
enum class TrafficPolicy : uint8_t { kCluster, kLocal };

// The annotation that names a Service's scheduler.
inline constexpr char kSchedulerAnnotation[] = "fairlead.dev/scheduler";

// The annotations that say how long a Service's endpoints keep their connections when they leave:
// of TCP and SCTP, and of UDP.
inline constexpr char kDrainTimeoutAnnotation[] = "fairlead.dev/drain-timeout";
inline constexpr char kUdpDrainTimeoutAnnotation[] = "fairlead.dev/udp-drain-timeout";
// At most.
inline constexpr absl::Duration kMaxDrainTimeout = absl::Hours(7 * 24);

struct ServicePort {
  std::string name;  // Empty is a name like any other.
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;
  uint16_t port = 0;       // Never 0.
  uint16_t node_port = 0;  // 0: none.

  friend bool operator==(const ServicePort&, const ServicePort&) = default;
};

// A v1 Service. An address list holds no address twice.
struct Service {
  ObjectName name;
  ServiceType type = ServiceType::kClusterIp;
  // metadata.creationTimestamp, InfinitePast where it is not known: of two Services that want the
  // same address and port the older one has it.
  absl::Time created = absl::InfinitePast();
  // Labels that make a Service invisible to a proxy, or to all but the named one.
  bool headless_label = false;
  std::optional<std::string> proxy_name_label;
  // At most one of each family; none for a headless Service.
  std::vector<IpAddress> cluster_ips;
  std::vector<IpAddress> external_ips;
  // status.loadBalancer.ingress[].ip, without those of ipMode Proxy.
  std::vector<IpAddress> load_balancer_ips;
  // loadBalancerSourceRanges, both families; empty: any source.
  std::vector<IpPrefix> load_balancer_source_ranges;
  TrafficPolicy internal_traffic_policy = TrafficPolicy::kCluster;
  TrafficPolicy external_traffic_policy = TrafficPolicy::kCluster;
  // Set for sessionAffinity ClientIP: its timeout, whole seconds from 1 to 86400.
  std::optional<absl::Duration> affinity_timeout;
  uint16_t health_check_node_port = 0;  // 0: none.
  std::vector<ServicePort> ports;
  // Of kSchedulerAnnotation, as written; empty where there is none.
  std::string scheduler;
  // Of kDrainTimeoutAnnotation and kUdpDrainTimeoutAnnotation: whole milliseconds, from zero to
  // kMaxDrainTimeout; unset where there is none.
  std::optional<absl::Duration> drain_timeout;
  std::optional<absl::Duration> udp_drain_timeout;

  friend bool operator==(const Service&, const Service&) = default;
};

// Of a slice; one without a port number is not kept.
struct EndpointPort {
  std::string name;
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;
  uint16_t port = 0;  // Never 0.

  friend bool operator==(const EndpointPort&, const EndpointPort&) = default;
};

// The zones and nodes whose clients an endpoint is for.
struct EndpointHints {
  std::vector<std::string> zones;
  std::vector<std::string> nodes;

  friend bool operator==(const EndpointHints&, const EndpointHints&) = default;
};

// Conditions have their defaults applied.
struct Endpoint {
  IpAddress address;
  bool ready = true;
  bool serving = true;
  bool terminating = false;
  SharedText node_name;  // Empty: not known.
  SharedText zone;
  Rare<EndpointHints> hints;
  // Name of the object behind the endpoint, a Pod as a rule; for people, no rule reads it.
  SharedText target_name;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// A discovery.k8s.io/v1 EndpointSlice; every endpoint is of its family.
struct EndpointSlice {
  ObjectName name;
  // The Service it belongs to (label kubernetes.io/service-name), in the same namespace.
  SharedText service_name;
  // Labels that make a slice invisible to a proxy, or to all but the named one.
  bool headless_label = false;
  std::optional<std::string> proxy_name_label;
  IpFamily family = IpFamily::kIpv4;
  std::vector<EndpointPort> ports;
  std::vector<Endpoint> endpoints;

  ObjectName service() const { return {name.name_space, service_name}; }

  friend bool operator==(const EndpointSlice&, const EndpointSlice&) = default;
};

// What the rules read of a v1 Node.
struct Node {
  std::string name;
  // InternalIP addresses, in the Node's order.
  std::vector<IpAddress> internal_ips;
  std::vector<IpPrefix> pod_cidrs;
  std::string zone;  // Label topology.kubernetes.io/zone.
  // A deletion timestamp, or the taint ToBeDeletedByClusterAutoscaler.
  bool being_removed = false;

  friend bool operator==(const Node&, const Node&) = default;
};

enum class ObjectKind : uint8_t { kService, kEndpointSlice, kNode };

// "Service", "EndpointSlice" or "Node".
absl::string_view FormatKind(ObjectKind kind);

// Identity of an object in the feed. A Node's namespace is empty.
struct ObjectId {
  ObjectKind kind = ObjectKind::kService;
  ObjectName name;

  // "Service shop/cart", "Node n1".
  std::string Format() const;

  auto operator<=>(const ObjectId&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const ObjectId& id) {
    return H::combine(std::move(state), id.kind, id.name);
  }
};

// Objects are immutable once made, and shared.
using Object = std::variant<std::shared_ptr<const Service>, std::shared_ptr<const EndpointSlice>,
                            std::shared_ptr<const Node>>;

ObjectId IdOf(const Object& object);

// Whether the two objects are of one kind and have the same value.
bool SameValue(const Object& a, const Object& b);

// All objects of a source at one moment.
using Picture = std::map<ObjectId, Object>;

}  // namespace fairlead
