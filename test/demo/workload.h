// The workload of a manifest: what a scheduler and a kubelet would make of its Deployments.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fairlead::demo {

struct ContainerPort {
  std::string name;  // May be empty.
  int port = 0;
};

struct Deployment {
  std::string name;
  std::string name_space = "default";
  int replicas = 0;  // 0: the manifest does not say.
  std::map<std::string, std::string> labels;
  std::vector<ContainerPort> ports;
};

struct WorkloadService {
  std::string name;
  std::string name_space = "default";
  std::string type = "ClusterIP";
  std::map<std::string, std::string> selector;
  int port = 0;             // The first one.
  std::string target_port;  // As written; the port's number where it is not.
};

struct Workload {
  std::vector<Deployment> deployments;
  std::vector<WorkloadService> services;  // Those with a selector and a port.
};

// Reads Deployments and Services; other kinds are passed over.
absl::StatusOr<Workload> ReadWorkload(const std::string& file);

// Whether the Service selects the Deployment's Pods.
bool Selects(const WorkloadService& service, const Deployment& deployment);

// A Pod as a kubelet reports it.
struct PodStatus {
  std::string name;
  std::string name_space;
  std::map<std::string, std::string> labels;
  std::vector<ContainerPort> ports;
  std::string node;
  std::vector<std::string> addresses;
  bool ready = true;
};

// Manifests, as `kubectl get -o yaml` would show them.
std::string FormatPods(const std::vector<PodStatus>& pods);
std::string FormatNode(const std::string& name, const std::vector<std::string>& addresses);

}  // namespace fairlead::demo
