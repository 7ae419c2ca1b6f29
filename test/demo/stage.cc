#include "test/demo/stage.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"

namespace fairlead::demo {
namespace {

// Written beside and renamed, so that no reader sees half of it.
absl::Status WriteFile(const std::string& path, const std::string& text) {
  const std::string beside = absl::StrCat(path, ".new");
  std::ofstream(beside) << text;
  std::error_code error;
  std::filesystem::rename(beside, path, error);
  if (error) return absl::InternalError(absl::StrCat(path, ": ", error.message()));
  return absl::OkStatus();
}

std::string FormatAddedService(const std::string& name, const WorkloadService& like,
                               const std::string& more_metadata, const std::string& more_spec) {
  std::string text = absl::StrCat("---\napiVersion: v1\nkind: Service\nmetadata:\n  name: ", name,
                                  "\n  namespace: ", like.name_space, "\n", more_metadata,
                                  "spec:\n", more_spec, "  selector:\n");
  for (const auto& [key, value] : like.selector) {
    absl::StrAppend(&text, "    \"", key, "\": \"", value, "\"\n");
  }
  absl::StrAppend(&text, "  ports:\n  - port: ", like.port, "\n    targetPort: ", like.target_port,
                  "\n");
  return text;
}

bool HasLabels(const PodStatus& pod, const std::map<std::string, std::string>& selector) {
  for (const auto& [key, value] : selector) {
    auto it = pod.labels.find(key);
    if (it == pod.labels.end() || it->second != value) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Stage>> Stage::Build(const StageOptions& options) {
  auto stage = std::unique_ptr<Stage>(new Stage(options));
  absl::StatusOr<Workload> workload = ReadWorkload(options.manifest);
  if (!workload.ok()) return workload.status();
  stage->workload_ = std::move(*workload);
  auto cluster = lab::Cluster::Create();
  if (!cluster.ok()) return cluster.status();
  stage->cluster_ = std::move(*cluster);
  stage->responder_ = std::make_unique<lab::Responder>();

  int first_node = 0;
  for (const Deployment& deployment : stage->workload_.deployments) {
    absl::Status status = stage->StartPods(deployment, first_node++);
    if (!status.ok()) return status;
  }
  if (absl::Status status = stage->ChooseCast(); !status.ok()) return status;
  std::filesystem::create_directories(absl::StrCat(options.folder, "/manifests"));
  if (absl::Status status = stage->WritePods(); !status.ok()) return status;
  std::string nodes;
  for (int number = 1; number <= stage->cluster_->node_count(); ++number) {
    const lab::Node& node = stage->cluster_->node(number);
    absl::StrAppend(&nodes, FormatNode(node.name, {node.ipv4, node.ipv6}));
  }
  absl::Status status = WriteFile(absl::StrCat(options.folder, "/manifests/nodes.yaml"), nodes);
  if (!status.ok()) return status;
  return stage;
}

absl::Status Stage::StartPods(const Deployment& deployment, int first_node) {
  const int replicas = deployment.replicas > 0 ? deployment.replicas : options_.replicas;
  for (int i = 0; i < replicas; ++i) {
    const int node = (first_node + i) % cluster_->node_count() + 1;
    PodStatus pod{.name = absl::StrCat(deployment.name, "-", i + 1),
                  .name_space = deployment.name_space,
                  .labels = deployment.labels,
                  .ports = deployment.ports,
                  .node = cluster_->node(node).name,
                  .addresses = {}};
    absl::StatusOr<const lab::Pod*> made = cluster_->AddPod(pod.name, node);
    if (!made.ok()) return made.status();
    pod.addresses = {(*made)->ipv4, (*made)->ipv6};
    for (const ContainerPort& port : deployment.ports) {
      auto id = responder_->AddHttp(*(*made)->net, port.port, pod.name);
      if (!id.ok()) return id.status();
    }
    pods_.push_back(std::move(pod));
  }
  return absl::OkStatus();
}

absl::Status Stage::ChooseCast() {
  const WorkloadService* chosen = nullptr;
  for (const WorkloadService& service : workload_.services) {
    int pods = 0;
    for (const PodStatus& pod : pods_) {
      if (pod.name_space == service.name_space && HasLabels(pod, service.selector)) ++pods;
    }
    if (pods < 2) continue;
    if (chosen == nullptr || (chosen->type == "ClusterIP" && service.type != "ClusterIP")) {
      chosen = &service;
    }
  }
  if (chosen == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(options_.manifest, " has no Service that selects two Pods of a Deployment"));
  }
  web_selector_ = chosen->selector;
  web_namespace_ = chosen->name_space;
  const std::string prefix = absl::StrCat(chosen->name_space, "/");
  cast_ = {.web = prefix + chosen->name,
           .local = prefix + "added-local",
           .cluster = prefix + "added-cluster",
           .least_connections = prefix + "added-least-connections"};
  return WriteFile(
      absl::StrCat(options_.folder, "/added-services.yaml"),
      absl::StrCat(FormatAddedService("added-local", *chosen, "",
                                      "  type: NodePort\n  externalTrafficPolicy: Local\n"),
                   FormatAddedService("added-cluster", *chosen, "", "  type: NodePort\n"),
                   FormatAddedService("added-least-connections", *chosen,
                                      "  annotations:\n    fairlead.dev/scheduler: lc\n", "")));
}

std::vector<PodStatus> Stage::WebPods() const {
  std::vector<PodStatus> pods;
  for (const PodStatus& pod : pods_) {
    if (pod.name_space == web_namespace_ && HasLabels(pod, web_selector_)) pods.push_back(pod);
  }
  return pods;
}

absl::Status Stage::WritePods() const {
  return WriteFile(absl::StrCat(options_.folder, "/manifests/pods.yaml"), FormatPods(pods_));
}

absl::Status Stage::SetReady(const std::string& pod, bool ready) {
  for (PodStatus& status : pods_) {
    if (status.name == pod) status.ready = ready;
  }
  return WritePods();
}

absl::Status Stage::StartAgents() {
  const lab::AgentOptions options{
      .program = options_.program,
      .manifests = {options_.manifest, absl::StrCat(options_.folder, "/added-services.yaml"),
                    absl::StrCat(options_.folder, "/manifests")},
      .folder = options_.folder};
  for (int number = 1; number <= cluster_->node_count(); ++number) {
    auto agent = lab::Agent::Start(cluster_->node(number), options);
    if (!agent.ok()) return agent.status();
    agents_.push_back(std::move(*agent));
  }
  const size_t wanted = WebPods().size();
  for (const auto& agent : agents_) {
    auto list = agent->ListUntil([&](const nlohmann::json& list) {
      for (const std::string& service : {cast_.web, cast_.least_connections}) {
        const nlohmann::json server = lab::FindServer(list, service, "ClusterIP");
        if (server.is_null() || server.at("realServers").size() != wanted) return false;
      }
      return list.at("failures").empty();
    });
    if (!list.ok()) return list.status();
  }
  return absl::OkStatus();
}

}  // namespace fairlead::demo
