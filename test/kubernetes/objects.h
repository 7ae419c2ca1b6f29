// Objects of the Kubernetes API, written briefly.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "test/kubernetes/api_client.h"

namespace fairlead::lab {

inline constexpr char kServicesPath[] = "/api/v1/namespaces/default/services";
inline constexpr char kPodsPath[] = "/api/v1/namespaces/default/pods";
inline constexpr char kNodesPath[] = "/api/v1/nodes";

// A ClusterIP Service of both families that selects Pods with the label app: NAME, port "http" TCP
// 80 to 8080. `spec` is merged into its spec.
nlohmann::json ServiceObject(const std::string& name, const nlohmann::json& spec = {});

struct PodSpec {
  std::string name;
  std::string app;
  std::string node = "n1";
  std::vector<std::string> ips;
  bool ready = true;
};

nlohmann::json PodObject(const PodSpec& pod);
// The merge patch that a kubelet would send to /status.
nlohmann::json PodStatus(const PodSpec& pod);

// Creates it and gives it its status.
absl::Status CreatePod(ApiClient& api, const PodSpec& pod);
absl::Status SetPodReady(ApiClient& api, const std::string& name, bool ready);

// Node NAME with these addresses, in the zone.
nlohmann::json NodeObject(const std::string& name, const std::vector<std::string>& ips,
                          const std::string& zone);

}  // namespace fairlead::lab
