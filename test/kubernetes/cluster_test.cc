// The API server that the other tests stand on: that it is as they believe.
#include <signal.h>

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "test/kubernetes/harness.h"
#include "test/kubernetes/objects.h"

namespace fairlead::lab {
namespace {

using nlohmann::json;

std::string ResourceVersion(const json& object) {
  return object.at("metadata").at("resourceVersion");
}

// Status code of the first event of a watch of Services from there on; 0 if it is no error, -1 if
// there is no answer.
int FirstErrorOfWatch(ApiClient& api, const std::string& resource_version) {
  // A version that is too old is answered as such, or the watch begins and has it as its event.
  auto text = api.GetText(
      absl::StrCat(kServicesPath, "?watch=1&timeoutSeconds=2&resourceVersion=", resource_version));
  if (absl::IsOutOfRange(text.status())) return 410;
  if (!text.ok()) return -1;
  const json event = json::parse(text->substr(0, text->find('\n')), nullptr, false);
  return event.is_object() && event.value("type", "") == "ERROR"
             ? event.at("object").at("code").get<int>()
             : 0;
}

TEST_CASE("The controller makes slices of the Pods that a Service selects") {
  auto cluster = StartCluster();
  ApiClient& api = cluster->admin();
  MakeNodes(api);
  REQUIRE(api.Post(kServicesPath, ServiceObject("web")).ok());
  REQUIRE(
      CreatePod(api, {.name = "web-1", .app = "web", .ips = {"10.244.1.1", "fd00:244::1"}}).ok());

  std::string slices;
  CHECK(WaitUntil(ApiServerCluster::kPatience, [&] {
    slices =
        api.GetText("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices").value_or("");
    return absl::StrContains(slices, "10.244.1.1") && absl::StrContains(slices, "fd00:244::1");
  }));
  INFO(slices);
  for (const auto& [name, bytes] : cluster->ResidentMemory()) {
    WARN(name << " has " << bytes / 1'000'000 << " MB");
  }
}

TEST_CASE("The API server keeps its objects over its own end and that of etcd") {
  auto cluster = StartCluster();
  ApiClient& api = cluster->admin();
  REQUIRE(api.Post(kServicesPath, ServiceObject("web")).ok());
  const std::string path = absl::StrCat(kServicesPath, "/web");

  cluster->KillApiServer();
  CHECK(absl::IsUnavailable(api.Get(path).status()));
  cluster->KillEtcd();
  REQUIRE(cluster->StartEtcd().ok());
  REQUIRE(cluster->StartApiServer().ok());

  CHECK(api.Get(path).ok());
}

TEST_CASE("What was compacted is gone for watches without a cache, and after a restart with one") {
  const bool watch_cache = GENERATE(false, true);
  CAPTURE(watch_cache);
  auto cluster = StartCluster({.watch_cache = watch_cache});
  ApiClient& api = cluster->admin();
  const std::string first = ResourceVersion(api.Post(kServicesPath, ServiceObject("a")).value());
  for (const char* name : {"b", "c"}) REQUIRE(api.Post(kServicesPath, ServiceObject(name)).ok());
  CHECK(FirstErrorOfWatch(api, first) == 0);

  REQUIRE(cluster->Compact().ok());
  if (watch_cache) {
    CHECK(FirstErrorOfWatch(api, first) == 0);
    REQUIRE(cluster->StartApiServer().ok());
  }

  CHECK(FirstErrorOfWatch(api, first) == 410);
  const std::string head = ResourceVersion(api.Get(kServicesPath).value());
  CHECK(FirstErrorOfWatch(api, head) == 0);
}

TEST_CASE("Without the programs there is no cluster, and the reason is said") {
  const auto cluster = ApiServerCluster::Start({.tools = "/nonexistent"});

  CHECK(cluster.status() ==
        absl::FailedPreconditionError(
            "there is no program /nonexistent/etcd (test/tools/build makes it)"));
}

}  // namespace
}  // namespace fairlead::lab
