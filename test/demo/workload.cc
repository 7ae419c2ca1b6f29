#include "test/demo/workload.h"

#include <yaml-cpp/yaml.h>

#include "absl/strings/str_cat.h"

namespace fairlead::demo {
namespace {

std::map<std::string, std::string> ReadLabels(const YAML::Node& node) {
  std::map<std::string, std::string> labels;
  for (const auto& entry : node) {
    labels[entry.first.as<std::string>()] = entry.second.as<std::string>();
  }
  return labels;
}

Deployment ReadDeployment(const YAML::Node& document) {
  Deployment deployment;
  deployment.name = document["metadata"]["name"].as<std::string>();
  deployment.name_space = document["metadata"]["namespace"].as<std::string>("default");
  deployment.replicas = document["spec"]["replicas"].as<int>(0);
  const YAML::Node pod = document["spec"]["template"];
  deployment.labels = ReadLabels(pod["metadata"]["labels"]);
  for (const YAML::Node& container : pod["spec"]["containers"]) {
    for (const YAML::Node& port : container["ports"]) {
      deployment.ports.push_back(
          {port["name"].as<std::string>(""), port["containerPort"].as<int>()});
    }
  }
  return deployment;
}

WorkloadService ReadService(const YAML::Node& document) {
  WorkloadService service;
  service.name = document["metadata"]["name"].as<std::string>();
  service.name_space = document["metadata"]["namespace"].as<std::string>("default");
  service.type = document["spec"]["type"].as<std::string>("ClusterIP");
  service.selector = ReadLabels(document["spec"]["selector"]);
  for (const YAML::Node& port : document["spec"]["ports"]) {
    service.port = port["port"].as<int>();
    service.target_port = port["targetPort"].as<std::string>(absl::StrCat(service.port));
    break;
  }
  return service;
}

void AppendPod(const PodStatus& pod, std::string* out) {
  absl::StrAppend(out, "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: ", pod.name,
                  "\n  namespace: ", pod.name_space, "\n  labels:\n");
  for (const auto& [key, value] : pod.labels) {
    absl::StrAppend(out, "    \"", key, "\": \"", value, "\"\n");
  }
  absl::StrAppend(out, "spec:\n  nodeName: ", pod.node, "\n  containers:\n  - name: main\n");
  if (!pod.ports.empty()) absl::StrAppend(out, "    ports:\n");
  for (const ContainerPort& port : pod.ports) {
    absl::StrAppend(out, "    - containerPort: ", port.port, "\n");
    if (!port.name.empty()) absl::StrAppend(out, "      name: ", port.name, "\n");
  }
  absl::StrAppend(out, "status:\n  phase: Running\n  podIP: \"", pod.addresses.at(0),
                  "\"\n  podIPs:\n");
  for (const std::string& address : pod.addresses) {
    absl::StrAppend(out, "  - ip: \"", address, "\"\n");
  }
  absl::StrAppend(out, "  conditions:\n  - type: Ready\n    status: \"",
                  pod.ready ? "True" : "False", "\"\n");
}

}  // namespace

absl::StatusOr<Workload> ReadWorkload(const std::string& file) {
  Workload workload;
  try {
    for (const YAML::Node& document : YAML::LoadAllFromFile(file)) {
      if (!document.IsMap()) continue;
      const std::string kind = document["kind"].as<std::string>("");
      if (kind == "Deployment") workload.deployments.push_back(ReadDeployment(document));
      if (kind != "Service") continue;
      WorkloadService service = ReadService(document);
      if (!service.selector.empty() && service.port != 0) {
        workload.services.push_back(std::move(service));
      }
    }
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", error.what()));
  }
  return workload;
}

bool Selects(const WorkloadService& service, const Deployment& deployment) {
  if (service.name_space != deployment.name_space) return false;
  for (const auto& [key, value] : service.selector) {
    auto it = deployment.labels.find(key);
    if (it == deployment.labels.end() || it->second != value) return false;
  }
  return true;
}

std::string FormatPods(const std::vector<PodStatus>& pods) {
  std::string text;
  for (const PodStatus& pod : pods) AppendPod(pod, &text);
  return text;
}

std::string FormatNode(const std::string& name, const std::vector<std::string>& addresses) {
  std::string text = absl::StrCat("---\napiVersion: v1\nkind: Node\nmetadata:\n  name: ", name,
                                  "\nstatus:\n  addresses:\n");
  for (const std::string& address : addresses) {
    absl::StrAppend(&text, "  - type: InternalIP\n    address: \"", address, "\"\n");
  }
  return text;
}

}  // namespace fairlead::demo
