// How fast a large cluster is in the journal. The figures are printed, not judged: they are the API
// server's as much as the source's.
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/kubernetes/harness.h"
#include "test/kubernetes/objects.h"

namespace fairlead::lab {
namespace {

constexpr int kServices = 1000;
constexpr int kPodsPerService = 10;
constexpr absl::Duration kPatience = absl::Minutes(10);

std::string Since(absl::Time start) {
  return absl::FormatDuration(absl::Trunc(absl::Now() - start, absl::Milliseconds(1)));
}

// Real servers in the plan.
int CountEndpoints(const Follower& follower) {
  int count = 0;
  for (const PlannedVirtualServer& server : follower.Servers()) {
    count += static_cast<int>(server.real_servers.size());
  }
  return count;
}

TEST_CASE("1,000 Services with 10,000 endpoints are in the journal") {
  auto cluster = StartCluster();
  ApiClient& api = cluster->admin();
  MakeNodes(api);
  auto follower = StartFollower(cluster->fairlead_kubeconfig());
  std::vector<ApiRequest> services;
  std::vector<ApiRequest> pods;
  std::vector<ApiRequest> statuses;
  for (int i = 0; i < kServices; ++i) {
    const std::string name = absl::StrCat("s", i);
    services.push_back(
        {"POST", kServicesPath, ServiceObject(name, {{"ipFamilyPolicy", "SingleStack"}})});
    for (int j = 0; j < kPodsPerService; ++j) {
      const PodSpec pod = {.name = absl::StrCat(name, "-", j),
                           .app = name,
                           .node = absl::StrCat("n", 1 + j % 2),
                           .ips = {absl::StrCat("10.244.", i / 25, ".", i % 25 * 10 + j + 1)}};
      pods.push_back({"POST", kPodsPath, PodObject(pod)});
      statuses.push_back(
          {"PATCH", absl::StrCat(kPodsPath, "/", pod.name, "/status"), PodStatus(pod)});
    }
  }
  const absl::Time start = absl::Now();
  for (const auto* requests : {&services, &pods, &statuses}) {
    const absl::Status sent = SendAll(api.options(), *requests);
    INFO(sent);
    REQUIRE(sent.ok());
  }
  const absl::Time sent = absl::Now();
  const std::string creation = Since(start);
  CHECK(WaitUntil(kPatience, [&] {
    follower->Read();
    return CountEndpoints(*follower) == kServices * kPodsPerService + 1;
  }));
  WARN("21,000 requests took " << creation << ", the plan was right " << Since(sent)
                               << " after the last of them, with "
                               << follower->journal().head_revision() << " changes");
  CHECK(follower->AwaitPlan(*cluster) == "");

  const absl::Time list_start = absl::Now();
  auto second = StartFollower(cluster->fairlead_kubeconfig());
  const std::string list = Since(list_start);
  const absl::Time plan_start = absl::Now();
  second->Read();
  WARN("A second source had it all after " << list << ", the plan took " << Since(plan_start));
  CHECK(second->Servers() == follower->Servers());

  const absl::Time change_start = absl::Now();
  REQUIRE(api.MergePatch(absl::StrCat(kServicesPath, "/s500"),
                         {{"spec", {{"externalIPs", {"198.51.100.1"}}}}})
              .ok());
  CHECK(WaitUntil(kPatience, [&] { return second->Read().size() == 1; }));
  WARN("One change was in the plan after " << Since(change_start));
  for (const auto& [name, bytes] : cluster->ResidentMemory()) {
    WARN(name << " has " << bytes / 1'000'000 << " MB");
  }
}

}  // namespace
}  // namespace fairlead::lab
