#include "test/kubernetes/harness.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "test/kubernetes/objects.h"

namespace fairlead::lab {

std::unique_ptr<ApiServerCluster> StartCluster(const ApiClusterOptions& options) {
  auto cluster = ApiServerCluster::Start(options);
  INFO(cluster.status());
  REQUIRE(cluster.ok());
  return *std::move(cluster);
}

void MakeNodes(ApiClient& api) {
  REQUIRE(api.Post(kNodesPath, NodeObject("n1", {"192.168.1.1", "fd00:1::1"}, "a")).ok());
  REQUIRE(api.Post(kNodesPath, NodeObject("n2", {"192.168.1.2", "fd00:1::2"}, "b")).ok());
}

std::unique_ptr<Follower> StartFollower(const std::string& kubeconfig,
                                        const KubernetesSourceOptions& options) {
  auto follower = Follower::Start(kubeconfig, options);
  INFO(follower.status());
  REQUIRE(follower.ok());
  const bool complete = (*follower)->AwaitComplete();
  INFO(Errors(**follower));
  REQUIRE(complete);
  return *std::move(follower);
}

std::string Errors(const Follower& follower) {
  std::string text;
  for (const KubernetesResourceStatus& status : follower.Status()) {
    if (status.last_error.empty()) continue;
    absl::StrAppend(&text, status.resource, ": ", status.last_error, "\n");
  }
  return text;
}

}  // namespace fairlead::lab
