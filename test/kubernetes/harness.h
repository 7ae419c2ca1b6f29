// What the tests share.
#pragma once

#include <memory>
#include <string>

#include "test/kubernetes/api_cluster.h"
#include "test/kubernetes/follower.h"

namespace fairlead::lab {

// These end the test case where they fail.
std::unique_ptr<ApiServerCluster> StartCluster(const ApiClusterOptions& options = {});
// Nodes n1 and n2.
void MakeNodes(ApiClient& api);
// With a complete journal.
std::unique_ptr<Follower> StartFollower(const std::string& kubeconfig,
                                        const KubernetesSourceOptions& options = FastOptions());

// "services: cannot …" for each resource that has an error.
std::string Errors(const Follower& follower);

}  // namespace fairlead::lab
