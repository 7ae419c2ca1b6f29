#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/feed/field_decoder.h"

namespace fairlead {
namespace {

using google::protobuf::RepeatedPtrField;

ServiceType DecodeType(v1::Service::Type type, FieldDecoder& fields) {
  switch (type) {
    case v1::Service::CLUSTER_IP:
      return ServiceType::kClusterIp;
    case v1::Service::NODE_PORT:
      return ServiceType::kNodePort;
    case v1::Service::LOAD_BALANCER:
      return ServiceType::kLoadBalancer;
    case v1::Service::EXTERNAL_NAME:
      return ServiceType::kExternalName;
    default:
      fields.Fail({"type"}, absl::StrCat(static_cast<int>(type), " is not a type"));
      return ServiceType::kClusterIp;
  }
}

TrafficPolicy DecodePolicy(absl::string_view field, v1::Service::TrafficPolicy policy,
                           FieldDecoder& fields) {
  if (policy == v1::Service::CLUSTER) return TrafficPolicy::kCluster;
  if (policy == v1::Service::LOCAL) return TrafficPolicy::kLocal;
  fields.Fail({field}, absl::StrCat(static_cast<int>(policy), " is not a traffic policy"));
  return TrafficPolicy::kCluster;
}

std::vector<ServicePort> DecodePorts(const RepeatedPtrField<v1::ServicePort>& list,
                                     FieldDecoder& fields) {
  std::vector<ServicePort> result;
  result.reserve(list.size());
  for (int i = 0; i < list.size() && fields.ok(); ++i) {
    result.push_back(
        {.name = fields.Text({"ports", i, "name"}, list[i].name()),
         .protocol = fields.Protocol({"ports", i, "protocol"}, list[i].protocol()),
         .port = fields.Port({"ports", i, "port"}, list[i].port()),
         .node_port = fields.OptionalPort({"ports", i, "node_port"}, list[i].node_port())});
  }
  return result;
}

std::vector<IpAddress> DecodeClusterIps(const RepeatedPtrField<std::string>& list,
                                        FieldDecoder& fields) {
  std::vector<IpAddress> result = fields.Addresses("cluster_ips", list);
  if (result.size() > 2 || (result.size() == 2 && result[0].family() == result[1].family())) {
    fields.Fail({"cluster_ips"}, "more than one address of a family");
  }
  return result;
}

// Seconds of an affinity: a day at most, as the Kubernetes API has it.
constexpr uint32_t kMaxAffinitySeconds = 86400;

std::shared_ptr<const Service> DecodeService(const v1::Service& in, FieldDecoder& fields) {
  auto service = std::make_shared<Service>();
  service->name = {SharedText::Common(fields.Name({"namespace"}, in.namespace_())),
                   fields.Name({"name"}, in.name())};
  service->type = DecodeType(in.type(), fields);
  if (in.has_creation_timestamp()) {
    service->created = fields.Timestamp({"creation_timestamp"}, in.creation_timestamp());
  }
  service->headless_label = in.headless_label();
  if (in.has_service_proxy_name()) {
    service->proxy_name_label = fields.Text({"service_proxy_name"}, in.service_proxy_name());
  }
  service->cluster_ips = DecodeClusterIps(in.cluster_ips(), fields);
  service->external_ips = fields.Addresses("external_ips", in.external_ips());
  service->load_balancer_ips = fields.Addresses("load_balancer_ips", in.load_balancer_ips());
  service->load_balancer_source_ranges =
      fields.Prefixes("load_balancer_source_ranges", in.load_balancer_source_ranges());
  service->internal_traffic_policy =
      DecodePolicy("internal_traffic_policy", in.internal_traffic_policy(), fields);
  service->external_traffic_policy =
      DecodePolicy("external_traffic_policy", in.external_traffic_policy(), fields);
  if (in.has_affinity_timeout_seconds()) {
    service->affinity_timeout = absl::Seconds(fields.InRange(
        {"affinity_timeout_seconds"}, in.affinity_timeout_seconds(), 1, kMaxAffinitySeconds));
  }
  service->health_check_node_port =
      fields.OptionalPort({"health_check_node_port"}, in.health_check_node_port());
  service->ports = DecodePorts(in.ports(), fields);
  service->scheduler = fields.Text({"scheduler"}, in.scheduler());
  const auto max_drain = static_cast<uint32_t>(absl::ToInt64Milliseconds(kMaxDrainTimeout));
  if (in.has_drain_timeout_milliseconds()) {
    service->drain_timeout = absl::Milliseconds(fields.InRange(
        {"drain_timeout_milliseconds"}, in.drain_timeout_milliseconds(), 0, max_drain));
  }
  if (in.has_udp_drain_timeout_milliseconds()) {
    service->udp_drain_timeout = absl::Milliseconds(fields.InRange(
        {"udp_drain_timeout_milliseconds"}, in.udp_drain_timeout_milliseconds(), 0, max_drain));
  }
  return service;
}

std::vector<EndpointPort> DecodePorts(const RepeatedPtrField<v1::EndpointPort>& list,
                                      FieldDecoder& fields) {
  std::vector<EndpointPort> result;
  result.reserve(list.size());
  for (int i = 0; i < list.size() && fields.ok(); ++i) {
    result.push_back({.name = fields.Text({"ports", i, "name"}, list[i].name()),
                      .protocol = fields.Protocol({"ports", i, "protocol"}, list[i].protocol()),
                      .port = fields.Port({"ports", i, "port"}, list[i].port())});
  }
  return result;
}

Endpoint DecodeEndpoint(const v1::Endpoint& in, int index, IpFamily family, FieldDecoder& fields) {
  Endpoint endpoint;
  endpoint.address = fields.Address({"endpoints", index, "address"}, in.address());
  if (endpoint.address.family() != family) {
    fields.Fail({"endpoints", index, "address"},
                absl::StrCat("is ", FormatFamily(endpoint.address.family()), " in a slice of ",
                             FormatFamily(family)));
  }
  endpoint.ready = in.ready();
  endpoint.serving = in.serving();
  endpoint.terminating = in.terminating();
  endpoint.node_name =
      SharedText::Common(fields.Text({"endpoints", index, "node_name"}, in.node_name()));
  endpoint.zone = SharedText::Common(fields.Text({"endpoints", index, "zone"}, in.zone()));
  endpoint.hints =
      EndpointHints{.zones = fields.Texts({"endpoints", index, "zone_hints"}, in.zone_hints()),
                    .nodes = fields.Texts({"endpoints", index, "node_hints"}, in.node_hints())};
  endpoint.target_name = fields.Text({"endpoints", index, "target_name"}, in.target_name());
  return endpoint;
}

std::shared_ptr<const EndpointSlice> DecodeSlice(const v1::EndpointSlice& in,
                                                 FieldDecoder& fields) {
  auto slice = std::make_shared<EndpointSlice>();
  slice->name = {SharedText::Common(fields.Name({"namespace"}, in.namespace_())),
                 fields.Name({"name"}, in.name())};
  slice->service_name = fields.Name({"service_name"}, in.service_name());
  slice->family = fields.Family({"family"}, in.family());
  slice->headless_label = in.headless_label();
  if (in.has_service_proxy_name()) {
    slice->proxy_name_label = fields.Text({"service_proxy_name"}, in.service_proxy_name());
  }
  slice->ports = DecodePorts(in.ports(), fields);
  slice->endpoints.reserve(in.endpoints_size());
  for (int i = 0; i < in.endpoints_size() && fields.ok(); ++i) {
    slice->endpoints.push_back(DecodeEndpoint(in.endpoints(i), i, slice->family, fields));
  }
  return slice;
}

std::shared_ptr<const Node> DecodeNode(const v1::Node& in, FieldDecoder& fields) {
  auto node = std::make_shared<Node>();
  node->name = fields.Name({"name"}, in.name());
  node->internal_ips = fields.Addresses("internal_ips", in.internal_ips());
  node->pod_cidrs = fields.Prefixes("pod_cidrs", in.pod_cidrs());
  node->zone = fields.Text({"zone"}, in.zone());
  node->being_removed = in.being_removed();
  return node;
}

// The id that a change claims, valid or not.
std::optional<ObjectId> ClaimedId(const v1::Change& change) {
  switch (change.kind_case()) {
    case v1::Change::kService:
      return ObjectId{ObjectKind::kService,
                      {change.service().namespace_(), change.service().name()}};
    case v1::Change::kEndpointSlice:
      return ObjectId{ObjectKind::kEndpointSlice,
                      {change.endpoint_slice().namespace_(), change.endpoint_slice().name()}};
    case v1::Change::kNode:
      return ObjectId{ObjectKind::kNode, {"", change.node().name()}};
    default:
      return std::nullopt;
  }
}

}  // namespace

absl::StatusOr<DecodedChange> DecodeChange(const v1::Change& change) {
  DecodedChange result;
  result.revision = change.revision();
  if (change.kind_case() == v1::Change::kRemoved) {
    absl::StatusOr<ObjectId> id = DecodeRef(change.removed());
    if (!id.ok()) return id.status();
    result.id = *std::move(id);
  }
  FieldDecoder fields;
  if (change.has_triggered()) {
    result.triggered = fields.Timestamp({"triggered"}, change.triggered());
  }
  switch (change.kind_case()) {
    case v1::Change::kService:
      result.object = DecodeService(change.service(), fields);
      break;
    case v1::Change::kEndpointSlice:
      result.object = DecodeSlice(change.endpoint_slice(), fields);
      break;
    case v1::Change::kNode:
      result.object = DecodeNode(change.node(), fields);
      break;
    case v1::Change::kRemoved:
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("the change of revision ", change.revision(), " has no known kind"));
  }
  if (result.object) result.id = *ClaimedId(change);
  if (absl::Status status = fields.StatusOf(result.id); !status.ok()) return status;
  return result;
}

std::optional<ObjectId> IdentifyChange(const v1::Change& change) {
  if (change.kind_case() == v1::Change::kRemoved) {
    const absl::StatusOr<ObjectId> id = DecodeRef(change.removed());
    return id.ok() ? std::make_optional(*id) : std::nullopt;
  }
  std::optional<ObjectId> id = ClaimedId(change);
  if (!id) return id;
  // An id is one that DecodeRef would accept.
  const absl::StatusOr<ObjectId> checked = DecodeRef(EncodeRef(*id));
  return checked.ok() ? id : std::nullopt;
}

absl::StatusOr<ObjectId> DecodeRef(const v1::ObjectRef& ref) {
  ObjectId id;
  switch (ref.kind()) {
    case v1::ObjectRef::SERVICE:
      id.kind = ObjectKind::kService;
      break;
    case v1::ObjectRef::ENDPOINT_SLICE:
      id.kind = ObjectKind::kEndpointSlice;
      break;
    case v1::ObjectRef::NODE:
      id.kind = ObjectKind::kNode;
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("reference to ", ref.namespace_(), "/", ref.name(),
                       ": kind: ", static_cast<int>(ref.kind()), " is not a kind"));
  }
  id.name = {ref.namespace_(), ref.name()};
  FieldDecoder fields;
  fields.Name({"name"}, ref.name());
  if (id.kind != ObjectKind::kNode) {
    fields.Name({"namespace"}, ref.namespace_());
  } else if (!ref.namespace_().empty()) {
    fields.Fail({"namespace"}, "a Node has none");
  }
  if (absl::Status status = fields.StatusOf(id); !status.ok()) return status;
  return id;
}

}  // namespace fairlead
