#include <algorithm>

#include "absl/strings/str_cat.h"
#include "watcher/manifest/decode.h"

namespace fairlead::manifest {
namespace {

// Names of zones or nodes: the `name` of each item.
std::vector<std::string> DecodeHints(const Field& list) {
  std::vector<std::string> names;
  for (const Field& field : list.Items()) {
    if (!field.IsMap()) continue;
    if (std::optional<std::string> name = field.Get("name").String()) {
      names.push_back(*std::move(name));
    }
  }
  return names;
}

std::optional<EndpointPort> DecodeEndpointPort(const Field& field) {
  if (!field.IsMap()) return std::nullopt;
  const Field name_field = field.Get("name");
  const Field number = field.Get("port");
  const std::optional<std::string> name = ReadPortName(name_field);
  const std::optional<ipvs::Protocol> protocol = ReadProtocol(field.Get("protocol"));
  // A nil name, or a nil or zero port, is allowed, and matches no port of a Service.
  if (!name_field.present() || !number.present() || number.Integer() == 0) return std::nullopt;
  const std::optional<uint16_t> port = ReadPort(number);
  if (!name.has_value() || !protocol.has_value() || !port.has_value()) return std::nullopt;
  return EndpointPort{.name = *name, .protocol = *protocol, .port = *port};
}

std::optional<Endpoint> DecodeEndpoint(const Field& field, IpFamily family) {
  if (!field.IsMap()) return std::nullopt;
  Endpoint endpoint;
  const Field addresses = field.Get("addresses");
  const std::vector<Field> address_fields = addresses.Items();
  if (address_fields.empty()) {
    addresses.Error("holds no address");
    return std::nullopt;
  }
  const Field& address_field = address_fields[0];
  if (!address_field.present()) address_field.Error("is missing");
  const std::optional<IpAddress> address = ReadUnicastAddress(address_field, Severity::kError);
  if (!address.has_value()) return std::nullopt;
  if (address->family() != family) {
    address_field.Error(
        absl::StrCat(address->Format(), " is not of addressType ", FormatFamily(family)));
  }
  endpoint.address = *address;
  if (const Field conditions = field.Get("conditions"); conditions.IsMap()) {
    endpoint.ready = conditions.Get("ready").Bool().value_or(true);
    endpoint.serving = conditions.Get("serving").Bool().value_or(true);
    endpoint.terminating = conditions.Get("terminating").Bool().value_or(false);
  }
  endpoint.node_name = SharedText::Common(field.Get("nodeName").String().value_or(""));
  endpoint.zone = SharedText::Common(field.Get("zone").String().value_or(""));
  if (const Field hints = field.Get("hints"); hints.IsMap()) {
    endpoint.hints = EndpointHints{.zones = DecodeHints(hints.Get("forZones")),
                                   .nodes = DecodeHints(hints.Get("forNodes"))};
  }
  if (const Field target = field.Get("targetRef"); target.IsMap()) {
    endpoint.target_name = target.Get("name").String().value_or("");
  }
  return endpoint;
}

}  // namespace

std::optional<EndpointSlice> DecodeEndpointSlice(const Field& object, const Metadata& metadata) {
  const Field type = object.Get("addressType");
  const std::optional<std::string> type_text = type.String();
  if (type_text == "FQDN") return std::nullopt;
  const auto label = metadata.labels.find(kServiceNameLabel);
  if (label == metadata.labels.end() || label->second.empty()) {
    const Field field = object.Get("metadata").Get("labels");
    field.Warn(absl::StrCat("the label ", kServiceNameLabel, " is missing: the slice is ignored"));
    return std::nullopt;
  }
  EndpointSlice slice{.name = metadata.name, .service_name = label->second};
  ReadProxyLabels(metadata, &slice.headless_label, &slice.proxy_name_label);
  if (!type.present()) {
    type.Error("is missing");
  } else if (type_text == "IPv6") {
    slice.family = IpFamily::kIpv6;
  } else if (type_text.has_value() && type_text != "IPv4") {
    type.Error(absl::StrCat(Quote(*type_text), " is not one of IPv4, IPv6, FQDN"));
    return slice;
  }
  for (const Field& field : object.Get("ports").Items()) {
    if (auto port = DecodeEndpointPort(field)) slice.ports.push_back(*std::move(port));
  }
  for (const Field& field : object.Get("endpoints").Items()) {
    if (auto endpoint = DecodeEndpoint(field, slice.family)) {
      slice.endpoints.push_back(*std::move(endpoint));
    }
  }
  return slice;
}

}  // namespace fairlead::manifest
