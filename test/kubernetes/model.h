// What a node's plan has to be, said by the API's Services, Pods and Nodes: the tests' own account
// of the rules, which knows neither EndpointSlices nor the feed.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proxy/plan/plan.h"
#include "test/kubernetes/api_client.h"

namespace fairlead::lab {

// Of Services with traffic policy Cluster; sorted by key. `node` is the name of this node. The
// Service `kubernetes` has the one endpoint `api_server`.
absl::StatusOr<std::vector<PlannedVirtualServer>> ExpectedServers(
    ApiClient& api, const std::string& node, const ipvs::RealServerKey& api_server);

// "TCP 10.96.0.1:80 ClusterIP shop/cart http rr balance: 10.244.1.2:8080 10.244.1.3:8080".
std::string Describe(const PlannedVirtualServer& server);

// The servers that are in one of the two lists alone, or differ, each with "planned" or "expected";
// empty where the lists are equal.
std::string Difference(const std::vector<PlannedVirtualServer>& planned,
                       const std::vector<PlannedVirtualServer>& expected);

}  // namespace fairlead::lab
