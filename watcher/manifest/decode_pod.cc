#include <algorithm>

#include "absl/strings/str_cat.h"
#include "watcher/manifest/decode.h"

namespace fairlead::manifest {
namespace {

void DecodeContainers(const Field& list, bool init, std::vector<ContainerPort>* ports) {
  for (const Field& container : list.Items()) {
    if (!container.IsMap()) continue;
    // Of the init containers only those stay that are restarted: sidecars.
    if (init && container.Get("restartPolicy").String() != "Always") continue;
    for (const Field& field : container.Get("ports").Items()) {
      if (!field.IsMap()) continue;
      const Field number_field = field.Get("containerPort");
      const std::optional<std::string> name = ReadPortName(field.Get("name"));
      const std::optional<ipvs::Protocol> protocol = ReadProtocol(field.Get("protocol"));
      const std::optional<uint16_t> number = ReadPort(number_field);
      if (!number_field.present()) number_field.Error("is missing");
      if (!name.has_value() || !protocol.has_value() || !number.has_value()) continue;
      ports->push_back({.name = *name, .protocol = *protocol, .number = *number});
    }
  }
}

void AddAddress(const Field& field, PodManifest* pod) {
  if (field.String().value_or("").empty()) return;
  const std::optional<IpAddress> address = ReadUnicastAddress(field, Severity::kError);
  if (!address.has_value()) return;
  for (const IpAddress& other : pod->addresses) {
    if (other.family() == address->family()) return;
  }
  pod->addresses.push_back(*address);
}

// podIPs begins with podIP, or is missing in what was written by hand. A hostNetwork Pod has its
// node's address even before its own status says so.
void DecodeAddresses(const Field& status, bool host_network, PodManifest* pod) {
  AddAddress(status.Get("podIP"), pod);
  for (const Field& field : status.Get("podIPs").Items()) {
    if (field.IsMap()) AddAddress(field.Get("ip"), pod);
  }
  if (host_network && pod->addresses.empty()) AddAddress(status.Get("hostIP"), pod);
}

// Condition Ready where it is given. Without it, as in manifests that were written by hand, a Pod
// that runs, or of which no phase is given, is taken for ready.
bool DecodeReady(const Field& status, absl::string_view phase) {
  bool ready = phase.empty() || phase == "Running";
  for (const Field& condition : status.Get("conditions").Items()) {
    if (!condition.IsMap() || condition.Get("type").String() != "Ready") continue;
    ready = condition.Get("status").String() == "True";
  }
  return ready;
}

}  // namespace

PodManifest DecodePod(const Field& object, const Metadata& metadata) {
  PodManifest pod{
      .name = metadata.name, .labels = metadata.labels, .terminating = metadata.deleted};
  bool host_network = false;
  if (const Field spec = object.Get("spec"); spec.IsMap()) {
    pod.node_name = spec.Get("nodeName").String().value_or("");
    host_network = spec.Get("hostNetwork").Bool().value_or(false);
    DecodeContainers(spec.Get("containers"), /*init=*/false, &pod.ports);
    DecodeContainers(spec.Get("initContainers"), /*init=*/true, &pod.ports);
  }
  const Field status = object.Get("status");
  status.IsMap();
  const std::string phase = status.Get("phase").String().value_or("");
  pod.finished = phase == "Succeeded" || phase == "Failed";
  DecodeAddresses(status, host_network, &pod);
  pod.ready = DecodeReady(status, phase);
  return pod;
}

}  // namespace fairlead::manifest
