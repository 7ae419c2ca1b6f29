#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "watcher/manifest/decode.h"

namespace fairlead::manifest {
namespace {

// The API server's default and limit for sessionAffinityConfig.clientIP.timeoutSeconds.
constexpr int kDefaultAffinitySeconds = 10800;
constexpr int kMaxAffinitySeconds = 86400;
constexpr size_t kMaxPodPortName = 15;  // RFC 6335.

template <typename T>
struct Choice {
  absl::string_view text;
  T value;
};

// One of the choices; the first one where the field is absent or empty.
template <typename T, size_t N>
T ReadChoice(const Field& field, const Choice<T> (&choices)[N]) {
  const std::optional<std::string> text = field.String();
  if (!text.has_value() || text->empty()) return choices[0].value;
  for (const Choice<T>& choice : choices) {
    if (choice.text == *text) return choice.value;
  }
  const auto append = [](std::string* out, const Choice<T>& choice) {
    absl::StrAppend(out, choice.text);
  };
  field.Error(absl::StrCat(Quote(*text), " is not one of ", absl::StrJoin(choices, ", ", append)));
  return choices[0].value;
}

constexpr Choice<ServiceType> kTypes[] = {{"ClusterIP", ServiceType::kClusterIp},
                                          {"NodePort", ServiceType::kNodePort},
                                          {"LoadBalancer", ServiceType::kLoadBalancer},
                                          {"ExternalName", ServiceType::kExternalName}};
constexpr Choice<TrafficPolicy> kTrafficPolicies[] = {{"Cluster", TrafficPolicy::kCluster},
                                                      {"Local", TrafficPolicy::kLocal}};
constexpr Choice<bool> kAffinities[] = {{"None", false}, {"ClientIP", true}};
constexpr Choice<IpFamily> kFamilies[] = {{"IPv4", IpFamily::kIpv4}, {"IPv6", IpFamily::kIpv6}};
constexpr Choice<FamilyPolicy> kFamilyPolicies[] = {
    {"SingleStack", FamilyPolicy::kSingleStack},
    {"PreferDualStack", FamilyPolicy::kPreferDualStack},
    {"RequireDualStack", FamilyPolicy::kRequireDualStack}};

// Reads the fields of one Service into a manifest.
class ServiceDecoder {
 public:
  ServiceDecoder(const Field& object, const Metadata& metadata, ServiceManifest* manifest)
      : annotations_(object.Get("metadata").Get("annotations")),
        spec_(object.Get("spec")),
        status_(object.Get("status")),
        metadata_(metadata),
        manifest_(*manifest),
        service_(manifest->service) {}

  void Decode();

 private:
  std::optional<absl::Duration> DecodeTimeout(const char* annotation);
  void DecodeFamilies();
  void DecodeClusterIps();
  void CheckFamilies(const Field& field);
  void DecodePorts();
  void DecodePort(const Field& field);
  std::optional<TargetPort> DecodeTargetPort(const Field& field, uint16_t port);
  void CheckPortsDiffer(const Field& ports);
  void DecodeAddresses();
  void DecodeSourceRanges();
  void DecodePolicies();
  void DecodeAffinity();
  void DecodeHealthCheckPort();

  const Field annotations_;
  const Field spec_;
  const Field status_;
  const Metadata& metadata_;
  ServiceManifest& manifest_;
  Service& service_;
};

void ServiceDecoder::Decode() {
  service_.name = metadata_.name;
  service_.created = metadata_.created.value_or(absl::InfinitePast());
  ReadProxyLabels(metadata_, &service_.headless_label, &service_.proxy_name_label);
  if (auto it = metadata_.annotations.find(kSchedulerAnnotation);
      it != metadata_.annotations.end()) {
    service_.scheduler = it->second;
  }
  service_.drain_timeout = DecodeTimeout(kDrainTimeoutAnnotation);
  service_.udp_drain_timeout = DecodeTimeout(kUdpDrainTimeoutAnnotation);
  if (!spec_.IsMap()) {
    if (!spec_.present()) spec_.Error("is missing");
    return;
  }
  service_.type = ReadChoice(spec_.Get("type"), kTypes);
  manifest_.selector = spec_.Get("selector").StringMap();
  manifest_.publish_not_ready = spec_.Get("publishNotReadyAddresses").Bool().value_or(false);
  manifest_.allocate_node_ports = spec_.Get("allocateLoadBalancerNodePorts").Bool().value_or(true);
  DecodeFamilies();
  DecodeClusterIps();
  DecodePorts();
  DecodeAddresses();
  DecodeSourceRanges();
  DecodePolicies();
  DecodeAffinity();
  DecodeHealthCheckPort();
}

std::optional<absl::Duration> ServiceDecoder::DecodeTimeout(const char* annotation) {
  const auto it = metadata_.annotations.find(annotation);
  if (it == metadata_.annotations.end()) return std::nullopt;
  absl::Duration timeout;
  if (!absl::ParseDuration(it->second, &timeout) || timeout < absl::ZeroDuration() ||
      timeout > kMaxDrainTimeout) {
    annotations_.Get(annotation)
        .Warn(absl::StrCat(Quote(it->second), " is not a duration from 0s to ",
                           absl::FormatDuration(kMaxDrainTimeout), ", as \"90s\": ignored"));
    return std::nullopt;
  }
  return absl::Ceil(timeout, absl::Milliseconds(1));
}

void ServiceDecoder::DecodeFamilies() {
  const Field field = spec_.Get("ipFamilies");
  for (const Field& item : field.Items()) {
    const IpFamily family = ReadChoice(item, kFamilies);
    if (std::count(manifest_.families.begin(), manifest_.families.end(), family) > 0) {
      item.Error(absl::StrCat(FormatFamily(family), " is given twice"));
      continue;
    }
    manifest_.families.push_back(family);
  }
  if (spec_.Get("ipFamilyPolicy").present()) {
    manifest_.family_policy = ReadChoice(spec_.Get("ipFamilyPolicy"), kFamilyPolicies);
  }
}

void ServiceDecoder::DecodeClusterIps() {
  const Field single = spec_.Get("clusterIP");
  const Field list = spec_.Get("clusterIPs");
  const std::string first = single.String().value_or("");
  std::vector<Field> fields = list.Items();
  if (!fields.empty() && !first.empty() && fields[0].String().value_or(first) != first) {
    list.Error(absl::StrCat("begins with another address than spec.clusterIP, ", Quote(first)));
    return;
  }
  if (fields.empty() && !first.empty()) fields.push_back(single);
  if (fields.empty()) return;
  manifest_.cluster_ip_line = fields[0].line();
  if (service_.type == ServiceType::kExternalName) {
    return fields[0].Warn("ignored: a Service of type ExternalName has no address");
  }
  if (fields[0].String() == "None") {
    manifest_.headless = true;
    if (fields.size() > 1) list.Error("None must stand alone");
    if (service_.type != ServiceType::kClusterIp) {
      fields[0].Error("None is only possible for type ClusterIP");
    }
    return;
  }
  for (const Field& field : fields) {
    if (field.String() == "") {
      field.Error("is empty");
      continue;
    }
    const std::optional<IpAddress> address = ReadUnicastAddress(field, Severity::kError);
    if (!address.has_value()) continue;
    for (const IpAddress& other : service_.cluster_ips) {
      if (other.family() == address->family()) {
        return field.Error(absl::StrCat("is a second ", FormatFamily(other.family()), " address"));
      }
    }
    service_.cluster_ips.push_back(*address);
  }
  CheckFamilies(list.present() ? list : single);
}

void ServiceDecoder::CheckFamilies(const Field& field) {
  for (size_t i = 0; i < service_.cluster_ips.size(); ++i) {
    const IpFamily family = service_.cluster_ips[i].family();
    if (i >= manifest_.families.size()) {
      manifest_.families.push_back(family);
    } else if (manifest_.families[i] != family) {
      return field.Error(absl::StrCat(service_.cluster_ips[i].Format(),
                                      " is not of spec.ipFamilies[", i, "], ",
                                      FormatFamily(manifest_.families[i])));
    }
  }
  if (service_.cluster_ips.size() == 2 && manifest_.family_policy == FamilyPolicy::kSingleStack) {
    field.Error("has two addresses, but spec.ipFamilyPolicy is SingleStack");
  }
}

void ServiceDecoder::DecodePorts() {
  const Field ports = spec_.Get("ports");
  for (const Field& field : ports.Items()) DecodePort(field);
  const bool may_have_none = manifest_.headless || service_.type == ServiceType::kExternalName;
  if (!ports.present() && !may_have_none) ports.Error("is missing");
  if (ports.IsEmptyList() && !may_have_none) ports.Error("is empty");
  CheckPortsDiffer(ports);
}

void ServiceDecoder::DecodePort(const Field& field) {
  if (!field.IsMap()) {
    if (!field.present()) field.Error("is missing");
    return;
  }
  const Field number = field.Get("port");
  const std::optional<std::string> name = ReadPortName(field.Get("name"));
  const std::optional<ipvs::Protocol> protocol = ReadProtocol(field.Get("protocol"));
  const std::optional<uint16_t> port = ReadPort(number);
  if (!number.present()) number.Error("is missing");
  const std::optional<TargetPort> target =
      DecodeTargetPort(field.Get("targetPort"), port.value_or(0));
  const Field node_port_field = field.Get("nodePort");
  uint16_t node_port = 0;
  // The API server takes 0 for "none".
  if (node_port_field.present() && node_port_field.Integer().value_or(0) != 0) {
    node_port = ReadPort(node_port_field).value_or(0);
    if (service_.type != ServiceType::kNodePort && service_.type != ServiceType::kLoadBalancer) {
      node_port_field.Warn("ignored: only types NodePort and LoadBalancer have node ports");
      node_port = 0;
    }
  }
  service_.ports.push_back({.name = name.value_or(""),
                            .protocol = protocol.value_or(ipvs::Protocol::kTcp),
                            .port = port.value_or(0),
                            .node_port = node_port});
  manifest_.target_ports.push_back(target.value_or(TargetPort{}));
  manifest_.port_lines.push_back(node_port_field.present() ? node_port_field.line() : field.line());
}

std::optional<TargetPort> ServiceDecoder::DecodeTargetPort(const Field& field, uint16_t port) {
  if (!field.present()) return TargetPort{.number = port};
  if (field.IsNumber()) {
    if (field.Integer() == 0) return TargetPort{.number = port};
    const std::optional<uint16_t> number = ReadPort(field);
    return number.has_value() ? std::make_optional(TargetPort{.number = *number}) : std::nullopt;
  }
  const std::optional<std::string> name = ReadPortName(field);
  if (!name.has_value()) return std::nullopt;
  if (name->empty()) return TargetPort{.number = port};
  if (name->size() > kMaxPodPortName ||
      std::none_of(name->begin(), name->end(), [](char c) { return absl::ascii_islower(c); })) {
    field.Error(absl::StrCat("the string ", Quote(*name),
                             " is not the name of a Pod's port (at most ", kMaxPodPortName,
                             " characters, at least one of them a letter)"));
    return std::nullopt;
  }
  return TargetPort{.name = *name};
}

// Faulty ones have port 0 and are spoken of already.
void ServiceDecoder::CheckPortsDiffer(const Field& ports) {
  const std::vector<Field> fields = ports.Items();
  if (fields.size() != service_.ports.size()) return;
  std::set<std::pair<uint16_t, ipvs::Protocol>> seen;
  std::set<std::pair<uint16_t, ipvs::Protocol>> seen_node_ports;
  std::set<std::string> names;
  for (size_t i = 0; i < fields.size(); ++i) {
    const ServicePort& port = service_.ports[i];
    const absl::string_view protocol = ipvs::FormatProtocol(port.protocol);
    if (port.port != 0 && !seen.insert({port.port, port.protocol}).second) {
      fields[i].Get("port").Error(absl::StrCat(port.port, "/", protocol, " is given twice"));
    }
    if (port.node_port != 0 && !seen_node_ports.insert({port.node_port, port.protocol}).second) {
      fields[i]
          .Get("nodePort")
          .Error(absl::StrCat(port.node_port, "/", protocol, " is given twice"));
    }
    if (port.name.empty() && fields.size() > 1 && !fields[i].Get("name").present()) {
      fields[i].Get("name").Error("is missing, which is only possible for a single port");
    } else if (!names.insert(port.name).second && !port.name.empty()) {
      fields[i].Get("name").Error(absl::StrCat(Quote(port.name), " is given twice"));
    }
  }
}

void ServiceDecoder::DecodeAddresses() {
  const auto add = [](const Field& field, std::vector<IpAddress>* addresses) {
    const std::optional<IpAddress> address = ReadUnicastAddress(field, Severity::kWarning);
    if (!address.has_value()) return;
    if (std::count(addresses->begin(), addresses->end(), *address) == 0) {
      addresses->push_back(*address);
    }
  };
  for (const Field& field : spec_.Get("externalIPs").Items()) add(field, &service_.external_ips);
  if (!status_.IsMap()) return;
  const Field load_balancer = status_.Get("loadBalancer");
  if (!load_balancer.IsMap()) return;
  for (const Field& field : load_balancer.Get("ingress").Items()) {
    if (!field.IsMap()) continue;
    const Field mode = field.Get("ipMode");
    const std::string mode_text = mode.String().value_or("VIP");
    if (mode_text == "Proxy" || field.Get("ip").String().value_or("").empty()) continue;
    if (mode_text != "VIP" && !mode_text.empty()) {
      mode.Warn(absl::StrCat(Quote(mode_text), " is not one of VIP, Proxy: address ignored"));
      continue;
    }
    add(field.Get("ip"), &service_.load_balancer_ips);
  }
}

void ServiceDecoder::DecodeSourceRanges() {
  const Field list = spec_.Get("loadBalancerSourceRanges");
  const std::vector<Field> fields = list.Items();
  std::vector<IpPrefix>& ranges = service_.load_balancer_source_ranges;
  for (const Field& field : fields) {
    const std::optional<std::string> text = field.String();
    if (!text.has_value()) continue;
    absl::StatusOr<IpPrefix> range = IpPrefix::Parse(absl::StripAsciiWhitespace(*text));
    if (!range.ok()) {
      field.Warn(absl::StrCat(Quote(*text), " is not an address range: ignored"));
    } else if (std::count(ranges.begin(), ranges.end(), *range) == 0) {
      ranges.push_back(*range);
    }
  }
  // No range at all would let everybody in, where somebody wanted to let few in.
  if (!fields.empty() && ranges.empty()) list.Error("holds no address range that can be used");
}

void ServiceDecoder::DecodePolicies() {
  service_.internal_traffic_policy =
      ReadChoice(spec_.Get("internalTrafficPolicy"), kTrafficPolicies);
  service_.external_traffic_policy =
      ReadChoice(spec_.Get("externalTrafficPolicy"), kTrafficPolicies);
}

void ServiceDecoder::DecodeAffinity() {
  if (!ReadChoice(spec_.Get("sessionAffinity"), kAffinities)) return;
  service_.affinity_timeout = absl::Seconds(kDefaultAffinitySeconds);
  const Field config = spec_.Get("sessionAffinityConfig");
  if (!config.IsMap()) return;
  const Field client_ip = config.Get("clientIP");
  if (!client_ip.IsMap()) return;
  const Field timeout = client_ip.Get("timeoutSeconds");
  const std::optional<int64_t> seconds = timeout.Integer();
  if (!seconds.has_value()) return;
  if (*seconds < 1 || *seconds > kMaxAffinitySeconds) {
    return timeout.Error(
        absl::StrCat(*seconds, " is not a number of seconds from 1 to ", kMaxAffinitySeconds));
  }
  service_.affinity_timeout = absl::Seconds(*seconds);
}

void ServiceDecoder::DecodeHealthCheckPort() {
  const Field field = spec_.Get("healthCheckNodePort");
  if (!field.present() || field.Integer().value_or(0) == 0) return;
  const std::optional<uint16_t> port = ReadPort(field);
  if (!port.has_value()) return;
  if (service_.type != ServiceType::kLoadBalancer ||
      service_.external_traffic_policy != TrafficPolicy::kLocal) {
    return field.Warn("ignored: only type LoadBalancer with externalTrafficPolicy Local has one");
  }
  service_.health_check_node_port = *port;
}

}  // namespace

ServiceManifest DecodeService(const Field& object, const Metadata& metadata) {
  ServiceManifest manifest;
  ServiceDecoder(object, metadata, &manifest).Decode();
  return manifest;
}

}  // namespace fairlead::manifest
