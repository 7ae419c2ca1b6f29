#include "watcher/manifest/endpoints.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "watcher/manifest/field.h"
#include "watcher/manifest/pools.h"

namespace fairlead::manifest {
namespace {

bool HasLabels(const PodManifest& pod, const std::map<std::string, std::string>& selector) {
  return std::all_of(selector.begin(), selector.end(), [&](const auto& label) {
    auto it = pod.labels.find(label.first);
    return it != pod.labels.end() && it->second == label.second;
  });
}

// 0 where the Pod has no such port.
uint16_t FindPort(const PodManifest& pod, const TargetPort& target, ipvs::Protocol protocol) {
  if (target.name.empty()) return target.number;
  for (const ContainerPort& port : pod.ports) {
    if (port.name == target.name && port.protocol == protocol) return port.number;
  }
  return 0;
}

// Port sets sort and compare by these.
using PortTuple = std::tuple<std::string, ipvs::Protocol, uint16_t>;

// Families that the Service's endpoints have: those of its addresses; where it has none, those that
// it asks for, or both.
bool WantsFamily(const ServiceManifest& manifest, const Service& service, IpFamily family) {
  if (!service.cluster_ips.empty()) {
    return std::any_of(service.cluster_ips.begin(), service.cluster_ips.end(),
                       [&](const IpAddress& address) { return address.family() == family; });
  }
  return manifest.families.empty() ||
         std::count(manifest.families.begin(), manifest.families.end(), family) > 0;
}

Endpoint MakeEndpoint(const PodManifest& pod, const IpAddress& address, bool publish_not_ready,
                      const NodeZones& zones) {
  Endpoint endpoint{.address = address,
                    .ready = publish_not_ready || (pod.ready && !pod.terminating),
                    .serving = pod.ready,
                    .terminating = pod.terminating,
                    .node_name = SharedText::Common(pod.node_name),
                    .target_name = pod.name.name};
  if (auto it = zones.find(pod.node_name); it != zones.end())
    endpoint.zone = SharedText::Common(it->second);
  return endpoint;
}

// "cart-pods-ipv4-0123456789abcdef".
std::string SliceName(const Service& service, IpFamily family,
                      const std::vector<PortTuple>& ports) {
  std::string text;
  for (const auto& [name, protocol, number] : ports) {
    absl::StrAppend(&text, name, "/", ipvs::FormatProtocol(protocol), "/", number, " ");
  }
  return absl::StrCat(service.name.name.view(),
                      family == IpFamily::kIpv4 ? "-pods-ipv4-" : "-pods-ipv6-",
                      absl::Hex(StableHash(text), absl::kZeroPad16));
}

// Which Pods lack a port of the Service. They are counted, since a mistake in a Service is one
// however many Pods it has.
struct MissingPort {
  std::string first_pod;
  int others = 0;
};

Problem MakeProblem(const ManifestObject& object, size_t index, const MissingPort& missing) {
  const auto& manifest = object.As<ServiceManifest>();
  const ServicePort& port = manifest.service.ports[index];
  std::string message = absl::StrCat(
      "Pod ", manifest.service.name.name_space.view(), "/", missing.first_pod, " has no ",
      ipvs::FormatProtocol(port.protocol), " port ", Quote(manifest.target_ports[index].name));
  if (missing.others > 0) {
    absl::StrAppend(&message, ", nor have ", missing.others, " more of the Service's Pods");
  }
  absl::StrAppend(&message, ": no endpoint for port ", port.port);
  return {Severity::kWarning,
          object.file,
          manifest.port_lines[index],
          object.key.Format(),
          absl::StrCat("spec.ports[", index, "].targetPort"),
          std::move(message)};
}

}  // namespace

void PodIndex::Add(const PodManifest& pod) {
  auto& pods = pods_[pod.name.name_space.str()];
  for (const auto& label : pod.labels) pods[label].push_back(&pod);
}

std::vector<const PodManifest*> PodIndex::Select(
    const std::string& name_space, const std::map<std::string, std::string>& selector) const {
  std::vector<const PodManifest*> selected;
  const auto pods = pods_.find(name_space);
  if (pods == pods_.end() || selector.empty()) return selected;
  const std::vector<const PodManifest*>* rarest = nullptr;
  for (const auto& label : selector) {
    const auto it = pods->second.find(label);
    if (it == pods->second.end()) return selected;
    if (rarest == nullptr || it->second.size() < rarest->size()) rarest = &it->second;
  }
  for (const PodManifest* pod : *rarest) {
    if (HasLabels(*pod, selector)) selected.push_back(pod);
  }
  std::sort(selected.begin(), selected.end(),
            [](const PodManifest* a, const PodManifest* b) { return a->name < b->name; });
  return selected;
}

std::vector<EndpointSlice> MakeEndpointSlices(const ManifestObject& object, const Service& service,
                                              const PodIndex& pods, const NodeZones& zones,
                                              std::vector<Problem>* problems) {
  const auto& manifest = object.As<ServiceManifest>();
  std::map<std::pair<IpFamily, std::vector<PortTuple>>, EndpointSlice> slices;
  std::map<size_t, MissingPort> missing;
  if (service.type == ServiceType::kExternalName) return {};
  for (const PodManifest* pod : pods.Select(service.name.name_space.str(), manifest.selector)) {
    if (pod->finished || pod->addresses.empty()) continue;
    std::vector<PortTuple> ports;
    for (size_t i = 0; i < service.ports.size(); ++i) {
      const ServicePort& port = service.ports[i];
      const uint16_t number = FindPort(*pod, manifest.target_ports[i], port.protocol);
      if (number != 0) {
        ports.emplace_back(port.name, port.protocol, number);
      } else if (auto [it, first] = missing.try_emplace(i, MissingPort{pod->name.name.str()});
                 !first) {
        ++it->second.others;
      }
    }
    if (ports.empty()) continue;
    for (const IpAddress& address : pod->addresses) {
      if (!WantsFamily(manifest, service, address.family())) continue;
      EndpointSlice& slice = slices[{address.family(), ports}];
      slice.endpoints.push_back(MakeEndpoint(*pod, address, manifest.publish_not_ready, zones));
    }
  }
  for (const auto& [index, pod] : missing) problems->push_back(MakeProblem(object, index, pod));
  std::vector<EndpointSlice> result;
  for (auto& [key, slice] : slices) {
    const auto& [family, ports] = key;
    slice.name = {service.name.name_space, SliceName(service, family, ports)};
    slice.service_name = service.name.name;
    slice.family = family;
    for (const auto& [name, protocol, number] : ports) {
      slice.ports.push_back({.name = name, .protocol = protocol, .port = number});
    }
    result.push_back(std::move(slice));
  }
  return result;
}

}  // namespace fairlead::manifest
