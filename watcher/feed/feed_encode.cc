#include <google/protobuf/stubs/common.h>

#include <algorithm>
#include <memory>

#include "watcher/feed/feed_codec.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

using google::protobuf::RepeatedPtrField;

std::string Bytes(const IpAddress& address) { return std::string(address.bytes()); }

void EncodeAddresses(const std::vector<IpAddress>& addresses, RepeatedPtrField<std::string>* out) {
  for (const IpAddress& address : addresses) *out->Add() = Bytes(address);
}

void EncodePrefixes(const std::vector<IpPrefix>& prefixes, RepeatedPtrField<v1::Prefix>* out) {
  for (const IpPrefix& prefix : prefixes) {
    v1::Prefix* message = out->Add();
    message->set_address(Bytes(prefix.address()));
    message->set_length(static_cast<uint32_t>(prefix.length()));
  }
}

bool IsFinite(absl::Time time) {
  return time != absl::InfinitePast() && time != absl::InfiniteFuture();
}

v1::Protocol EncodeProtocol(ipvs::Protocol protocol) {
  switch (protocol) {
    case ipvs::Protocol::kTcp:
      return v1::TCP;
    case ipvs::Protocol::kUdp:
      return v1::UDP;
    case ipvs::Protocol::kSctp:
      return v1::SCTP;
  }
  return v1::PROTOCOL_UNSPECIFIED;
}

v1::Service::Type EncodeType(ServiceType type) {
  switch (type) {
    case ServiceType::kClusterIp:
      return v1::Service::CLUSTER_IP;
    case ServiceType::kNodePort:
      return v1::Service::NODE_PORT;
    case ServiceType::kLoadBalancer:
      return v1::Service::LOAD_BALANCER;
    case ServiceType::kExternalName:
      return v1::Service::EXTERNAL_NAME;
  }
  return v1::Service::TYPE_UNSPECIFIED;
}

v1::Service::TrafficPolicy EncodePolicy(TrafficPolicy policy) {
  return policy == TrafficPolicy::kLocal ? v1::Service::LOCAL : v1::Service::CLUSTER;
}

uint32_t EncodeMilliseconds(absl::Duration duration) {
  return static_cast<uint32_t>(absl::ToInt64Milliseconds(duration));
}

void EncodeService(const Service& service, v1::Service* out) {
  out->set_namespace_(EncodeText(service.name.name_space));
  out->set_name(EncodeText(service.name.name));
  out->set_type(EncodeType(service.type));
  if (IsFinite(service.created)) EncodeTime(service.created, out->mutable_creation_timestamp());
  out->set_headless_label(service.headless_label);
  if (service.proxy_name_label) out->set_service_proxy_name(EncodeText(*service.proxy_name_label));
  EncodeAddresses(service.cluster_ips, out->mutable_cluster_ips());
  EncodeAddresses(service.external_ips, out->mutable_external_ips());
  EncodeAddresses(service.load_balancer_ips, out->mutable_load_balancer_ips());
  EncodePrefixes(service.load_balancer_source_ranges, out->mutable_load_balancer_source_ranges());
  out->set_internal_traffic_policy(EncodePolicy(service.internal_traffic_policy));
  out->set_external_traffic_policy(EncodePolicy(service.external_traffic_policy));
  if (service.affinity_timeout) {
    out->set_affinity_timeout_seconds(
        static_cast<uint32_t>(absl::ToInt64Seconds(*service.affinity_timeout)));
  }
  out->set_health_check_node_port(service.health_check_node_port);
  for (const ServicePort& port : service.ports) {
    v1::ServicePort* message = out->add_ports();
    message->set_name(EncodeText(port.name));
    message->set_protocol(EncodeProtocol(port.protocol));
    message->set_port(port.port);
    message->set_node_port(port.node_port);
  }
  // An annotation may be long; one that is cut is as unknown a scheduler as before.
  out->set_scheduler(EncodeText(service.scheduler, kMaxTextLength));
  if (service.drain_timeout) {
    out->set_drain_timeout_milliseconds(EncodeMilliseconds(*service.drain_timeout));
  }
  if (service.udp_drain_timeout) {
    out->set_udp_drain_timeout_milliseconds(EncodeMilliseconds(*service.udp_drain_timeout));
  }
}

void EncodeSlice(const EndpointSlice& slice, v1::EndpointSlice* out) {
  out->set_namespace_(EncodeText(slice.name.name_space));
  out->set_name(EncodeText(slice.name.name));
  out->set_service_name(EncodeText(slice.service_name));
  out->set_family(slice.family == IpFamily::kIpv4 ? v1::IPV4 : v1::IPV6);
  out->set_headless_label(slice.headless_label);
  if (slice.proxy_name_label) out->set_service_proxy_name(EncodeText(*slice.proxy_name_label));
  for (const EndpointPort& port : slice.ports) {
    v1::EndpointPort* message = out->add_ports();
    message->set_name(EncodeText(port.name));
    message->set_protocol(EncodeProtocol(port.protocol));
    message->set_port(port.port);
  }
  for (const Endpoint& endpoint : slice.endpoints) {
    v1::Endpoint* message = out->add_endpoints();
    message->set_address(Bytes(endpoint.address));
    message->set_ready(endpoint.ready);
    message->set_serving(endpoint.serving);
    message->set_terminating(endpoint.terminating);
    message->set_node_name(EncodeText(endpoint.node_name));
    message->set_zone(EncodeText(endpoint.zone));
    for (const std::string& hint : endpoint.hints->zones) message->add_zone_hints(EncodeText(hint));
    for (const std::string& hint : endpoint.hints->nodes) message->add_node_hints(EncodeText(hint));
    message->set_target_name(EncodeText(endpoint.target_name));
  }
}

void EncodeNode(const Node& node, v1::Node* out) {
  out->set_name(EncodeText(node.name));
  EncodeAddresses(node.internal_ips, out->mutable_internal_ips());
  EncodePrefixes(node.pod_cidrs, out->mutable_pod_cidrs());
  out->set_zone(EncodeText(node.zone));
  out->set_being_removed(node.being_removed);
}

void EncodeHeader(uint64_t revision, absl::Time triggered, v1::Change* out) {
  out->set_revision(revision);
  if (IsFinite(triggered)) EncodeTime(triggered, out->mutable_triggered());
}

}  // namespace

v1::Change EncodeChange(const Object& object, uint64_t revision, absl::Time triggered) {
  v1::Change change;
  EncodeHeader(revision, triggered, &change);
  if (const auto* service = std::get_if<std::shared_ptr<const Service>>(&object)) {
    EncodeService(**service, change.mutable_service());
  } else if (const auto* slice = std::get_if<std::shared_ptr<const EndpointSlice>>(&object)) {
    EncodeSlice(**slice, change.mutable_endpoint_slice());
  } else {
    EncodeNode(*std::get<std::shared_ptr<const Node>>(object), change.mutable_node());
  }
  return change;
}

v1::Change EncodeRemoval(const ObjectId& id, uint64_t revision, absl::Time triggered) {
  v1::Change change;
  EncodeHeader(revision, triggered, &change);
  *change.mutable_removed() = EncodeRef(id);
  return change;
}

std::string EncodeText(absl::string_view text, size_t max_length) {
  size_t length = std::min(text.size(), max_length);
  // Not in the middle of a character: back to a byte that begins one.
  while (length < text.size() && length > 0 && (text[length] & 0xc0) == 0x80) --length;
  std::string result(text.substr(0, length));
  if (!google::protobuf::internal::IsStructurallyValidUTF8(result.data(),
                                                           static_cast<int>(result.size()))) {
    std::replace_if(
        result.begin(), result.end(), [](char c) { return (c & 0x80) != 0; }, '?');
  }
  return result;
}

v1::ObjectRef EncodeRef(const ObjectId& id) {
  v1::ObjectRef ref;
  switch (id.kind) {
    case ObjectKind::kService:
      ref.set_kind(v1::ObjectRef::SERVICE);
      break;
    case ObjectKind::kEndpointSlice:
      ref.set_kind(v1::ObjectRef::ENDPOINT_SLICE);
      break;
    case ObjectKind::kNode:
      ref.set_kind(v1::ObjectRef::NODE);
      break;
  }
  ref.set_namespace_(EncodeText(id.name.name_space));
  ref.set_name(EncodeText(id.name.name));
  return ref;
}

}  // namespace fairlead
