// What an API server and the way to it do to a watch.
#include <algorithm>
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "test/kubernetes/harness.h"
#include "test/kubernetes/objects.h"
#include "test/kubernetes/relay.h"

namespace fairlead::lab {
namespace {

using nlohmann::json;
using Changes = std::vector<std::string>;

// A cluster with three Services of two Pods each, and a source that reaches it through a relay.
struct Stage {
  std::unique_ptr<ApiServerCluster> cluster;
  std::unique_ptr<Relay> relay;
  std::unique_ptr<Follower> follower;

  ApiClient& api() const { return cluster->admin(); }
};

std::string ServicePath(const std::string& name) { return absl::StrCat(kServicesPath, "/", name); }

Stage MakeStage(const ApiClusterOptions& cluster_options = {},
                const KubernetesSourceOptions& options = FastOptions()) {
  Stage stage;
  stage.cluster = StartCluster(cluster_options);
  MakeNodes(stage.api());
  for (const int i : {1, 2, 3}) {
    const std::string name = absl::StrCat("s", i);
    REQUIRE(stage.api().Post(kServicesPath, ServiceObject(name)).ok());
    for (const int pod : {1, 2}) {
      REQUIRE(CreatePod(stage.api(), {.name = absl::StrCat(name, "-", pod),
                                      .app = name,
                                      .node = absl::StrCat("n", pod),
                                      .ips = {absl::StrCat("10.244.", pod, ".", i)}})
                  .ok());
    }
  }
  auto relay = Relay::Start(stage.cluster->port());
  REQUIRE(relay.ok());
  stage.relay = *std::move(relay);
  auto kubeconfig = stage.cluster->WriteKubeconfig(
      "relayed", absl::StrCat("https://127.0.0.1:", stage.relay->port()),
      {{"tokenFile", stage.cluster->token_file()}});
  REQUIRE(kubeconfig.ok());
  stage.follower = StartFollower(*kubeconfig, options);
  REQUIRE(stage.follower->AwaitPlan(*stage.cluster) == "");
  stage.follower->Read();
  return stage;
}

// Waits until every resource is watched again.
bool AwaitWatching(const Follower& follower) {
  return WaitUntil(Follower::kPatience, [&] {
    for (const KubernetesResourceStatus& status : follower.Status()) {
      if (!status.watching) return false;
    }
    return true;
  });
}

// Something of every kind of change; each leaves the plan different.
void ChangeThings(ApiClient& api) {
  REQUIRE(api.Post(kServicesPath, ServiceObject("s4", {{"selector", {{"app", "s1"}}}})).ok());
  REQUIRE(api.MergePatch(ServicePath("s1"), {{"spec", {{"externalIPs", {"198.51.100.1"}}}}}).ok());
  REQUIRE(api.Delete(ServicePath("s2")).ok());
  REQUIRE(SetPodReady(api, "s3-1", false).ok());
}

const Changes kServiceChanges = {"+Service default/s1", "+Service default/s4",
                                 "-Service default/s2"};

// Of Services, sorted: the controller's slices come when they come.
Changes OfServices(Changes changes) {
  changes.erase(
      std::remove_if(changes.begin(), changes.end(),
                     [](const std::string& change) { return change.find("Service ") != 1; }),
      changes.end());
  std::sort(changes.begin(), changes.end());
  return changes;
}

TEST_CASE("A watch that was cut goes on where it was, without a new list") {
  Stage stage = MakeStage();
  stage.relay->Cut();
  ChangeThings(stage.api());
  const uint64_t before = stage.follower->journal().head_revision();
  stage.relay->Resume();

  CHECK(stage.follower->AwaitPlan(*stage.cluster) == "");
  CHECK(stage.follower->journal().head_revision() > before);
  for (const KubernetesResourceStatus& status : stage.follower->Status()) {
    INFO(status.resource);
    CHECK(status.lists == 1);
    CHECK(status.watches >= 2);
  }
}

TEST_CASE("After a compaction the source lists again, and only differences become changes") {
  Stage stage = MakeStage({.watch_cache = false});
  stage.relay->Cut();
  ChangeThings(stage.api());
  REQUIRE(stage.cluster->Compact().ok());
  CHECK(stage.follower->Read() == Changes{});
  stage.relay->Resume();

  Changes changes;
  CHECK(WaitUntil(Follower::kPatience, [&] {
    for (std::string& change : stage.follower->Read()) changes.push_back(std::move(change));
    return OfServices(changes) == kServiceChanges;
  }));
  CHECK(OfServices(changes) == kServiceChanges);
  CHECK(stage.follower->AwaitPlan(*stage.cluster) == "");
  CHECK(stage.follower->StatusOf("services").lists == 2);
}

TEST_CASE("While the API server is dead nothing leaves the journal, and later changes arrive") {
  const bool etcd_too = GENERATE(false, true);
  CAPTURE(etcd_too);
  Stage stage = MakeStage();
  const uint64_t before = stage.follower->journal().head_revision();
  const std::vector<PlannedVirtualServer> plan = stage.follower->Servers();

  stage.cluster->KillApiServer();
  if (etcd_too) stage.cluster->KillEtcd();
  REQUIRE(WaitUntil(Follower::kPatience, [&] {
    return stage.follower->StatusOf("services").last_error != "" &&
           !stage.follower->StatusOf("services").watching;
  }));
  if (etcd_too) REQUIRE(stage.cluster->StartEtcd().ok());
  REQUIRE(stage.cluster->StartApiServer().ok());
  REQUIRE(AwaitWatching(*stage.follower));

  CHECK(stage.follower->journal().head_revision() == before);
  CHECK(stage.follower->Read() == Changes{});
  CHECK(stage.follower->Servers() == plan);

  ChangeThings(stage.api());
  CHECK(stage.follower->AwaitPlan(*stage.cluster) == "");
}

TEST_CASE("What was deleted while the API server was away is deleted after the next list") {
  Stage stage = MakeStage();
  stage.relay->Cut();
  ChangeThings(stage.api());
  // Its cache is empty then: versions before its start are gone.
  REQUIRE(stage.cluster->StartApiServer().ok());
  CHECK(stage.follower->Read() == Changes{});
  stage.relay->Resume();

  CHECK(stage.follower->AwaitPlan(*stage.cluster) == "");
  CHECK(stage.follower->StatusOf("services").lists == 2);
}

TEST_CASE("A connection whose other end has gone in silence is given up") {
  KubernetesSourceOptions options = FastOptions();
  options.silence_timeout = absl::Seconds(2);
  Stage stage = MakeStage({}, options);
  stage.relay->Freeze();
  ChangeThings(stage.api());

  CHECK(stage.follower->AwaitPlan(*stage.cluster) == "");
  for (const KubernetesResourceStatus& status : stage.follower->Status()) {
    INFO(status.resource);
    CHECK(status.lists == 1);
  }
}

TEST_CASE("A watch that the API server ends is begun again, without an error and without a list") {
  KubernetesSourceOptions options = FastOptions();
  options.watch_timeout = absl::Seconds(1);
  Stage stage = MakeStage({}, options);

  CHECK(WaitUntil(Follower::kPatience,
                  [&] { return stage.follower->StatusOf("nodes").watches >= 3; }));
  ChangeThings(stage.api());
  CHECK(stage.follower->AwaitPlan(*stage.cluster) == "");
  CHECK(Errors(*stage.follower) == "");
  CHECK(stage.follower->StatusOf("services").lists == 1);
}

}  // namespace
}  // namespace fairlead::lab
