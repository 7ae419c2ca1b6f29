// Objects of a real API server, as they come and go, against the plan.
#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "test/kubernetes/api_cluster.h"
#include "test/kubernetes/follower.h"
#include "test/kubernetes/harness.h"
#include "test/kubernetes/objects.h"

namespace fairlead::lab {
namespace {

using nlohmann::json;
using Changes = std::vector<std::string>;

TEST_CASE("The plan follows Services and Pods from their creation to their deletion") {
  auto cluster = StartCluster();
  ApiClient& api = cluster->admin();
  MakeNodes(api);
  auto follower = StartFollower(cluster->fairlead_kubeconfig());

  CHECK(follower->AwaitPlan(*cluster) == "");
  CHECK(follower->Servers().size() == 1);  // That of the Service `kubernetes`.

  // Each step is a change through the API; the plan has to be right after each of them.
  struct Step {
    const char* name;
    std::function<absl::Status()> change;
  };
  const auto patch = [&api](const std::string& path, const json& change) {
    return api.MergePatch(path, change).status();
  };
  const std::string web = absl::StrCat(kServicesPath, "/web");
  const Step steps[] = {
      {"a Service", [&] { return api.Post(kServicesPath, ServiceObject("web")).status(); }},
      {"its first Pod",
       [&] {
         return CreatePod(api,
                          {.name = "web-1", .app = "web", .ips = {"10.244.1.1", "fd00:244::1"}});
       }},
      {"a Pod on the other node, of one family",
       [&] {
         return CreatePod(api,
                          {.name = "web-2", .app = "web", .node = "n2", .ips = {"10.244.2.1"}});
       }},
      {"a Pod that is not ready",
       [&] {
         return CreatePod(api,
                          {.name = "web-3", .app = "web", .ips = {"10.244.1.3"}, .ready = false});
       }},
      {"it gets ready", [&] { return SetPodReady(api, "web-3", true); }},
      {"another gets unready", [&] { return SetPodReady(api, "web-1", false); }},
      {"a second port of both protocols",
       [&] {
         return patch(web, {{"spec",
                             {{"ports",
                               {{{"name", "http"}, {"port", 8000}, {"targetPort", 8081}},
                                {{"name", "dns"}, {"port", 53}, {"targetPort", 5353}},
                                {{"name", "dns-udp"},
                                 {"protocol", "UDP"},
                                 {"port", 53},
                                 {"targetPort", 5353}}}}}}});
       }},
      {"affinity, a scheduler and external addresses",
       [&] {
         return patch(
             web, {{"metadata", {{"annotations", {{"fairlead.dev/scheduler", "sh"}}}}},
                   {"spec", {{"sessionAffinity", "ClientIP"}, {"externalIPs", {"198.51.100.7"}}}}});
       }},
      {"type NodePort",
       [&] {
         return patch(web, {{"spec", {{"type", "NodePort"}}}});
       }},
      {"type LoadBalancer",
       [&] {
         return patch(web, {{"spec", {{"type", "LoadBalancer"}}}});
       }},
      {"a load balancer's addresses",
       [&] {
         return patch(web + "/status",
                      {{"status",
                        {{"loadBalancer",
                          {{"ingress", {{{"ip", "203.0.113.7"}}, {{"ip", "2001:db8::7"}}}}}}}}});
       }},
      {"back to ClusterIP",
       [&] {
         return patch(
             web,
             {{"metadata", {{"annotations", nullptr}}},
              {"spec",
               {{"type", "ClusterIP"}, {"sessionAffinity", "None"}, {"externalIPs", nullptr}}}});
       }},
      {"a second Service of one family with the same Pods",
       [&] {
         return api
             .Post(kServicesPath, ServiceObject("web6", {{"ipFamilyPolicy", "SingleStack"},
                                                         {"ipFamilies", {"IPv6"}},
                                                         {"selector", {{"app", "web"}}}}))
             .status();
       }},
      {"a headless Service",
       [&] {
         return api
             .Post(kServicesPath, ServiceObject("web-headless", {{"clusterIP", "None"},
                                                                 {"selector", {{"app", "web"}}}}))
             .status();
       }},
      {"an ExternalName",
       [&] {
         return api
             .Post(kServicesPath,
                   {{"metadata", {{"name", "elsewhere"}}},
                    {"spec", {{"type", "ExternalName"}, {"externalName", "example.com"}}}})
             .status();
       }},
      {"a Pod loses the label",
       [&] {
         return patch(absl::StrCat(kPodsPath, "/web-2"),
                      {{"metadata", {{"labels", {{"app", "other"}}}}}});
       }},
      {"a Pod is deleted", [&] { return api.Delete(absl::StrCat(kPodsPath, "/web-3")).status(); }},
      {"the last Pod gets ready again", [&] { return SetPodReady(api, "web-1", true); }},
      {"and terminates while it serves",
       [&] { return api.Delete(absl::StrCat(kPodsPath, "/web-1"), absl::Minutes(1)).status(); }},
      {"the node has another address",
       [&] {
         return patch(
             absl::StrCat(kNodesPath, "/n1/status"),
             {{"status", {{"addresses", {{{"type", "InternalIP"}, {"address", "192.168.1.9"}}}}}}});
       }},
      {"a Service is deleted", [&] { return api.Delete(web).status(); }},
      {"and the other", [&] { return api.Delete(absl::StrCat(kServicesPath, "/web6")).status(); }},
  };
  for (const Step& step : steps) {
    INFO(step.name);
    const absl::Status changed = step.change();
    INFO(changed);
    REQUIRE(changed.ok());
    REQUIRE(follower->AwaitPlan(*cluster) == "");
  }
  CHECK(follower->Servers().size() == 1);
  for (const KubernetesResourceStatus& status : follower->Status()) {
    INFO(status.resource);
    CHECK(status.lists == 1);
    CHECK(status.invalid_objects == 0);
    CHECK(status.last_error == "");
  }
}

TEST_CASE("A Service is scaled to 250 Pods and back, over several slices") {
  auto cluster = StartCluster();
  ApiClient& api = cluster->admin();
  MakeNodes(api);
  REQUIRE(api.Post(kServicesPath, ServiceObject("big")).ok());
  auto follower = StartFollower(cluster->fairlead_kubeconfig());

  std::vector<ApiRequest> creations;
  std::vector<ApiRequest> updates;
  std::vector<ApiRequest> deletions;
  for (int i = 0; i < 250; ++i) {
    const PodSpec pod = {.name = absl::StrCat("big-", i),
                         .app = "big",
                         .node = absl::StrCat("n", 1 + i % 2),
                         .ips = {absl::StrCat("10.244.", 1 + i % 2, ".", 1 + i / 2)}};
    const std::string path = absl::StrCat(kPodsPath, "/", pod.name);
    creations.push_back({"POST", kPodsPath, PodObject(pod)});
    updates.push_back({"PATCH", path + "/status", PodStatus(pod)});
    if (i % 10 != 0) deletions.push_back({"DELETE", path, {{"gracePeriodSeconds", 0}}});
  }
  for (const auto& [size, requests] :
       {std::pair(0, creations), std::pair(250, updates), std::pair(25, deletions)}) {
    INFO(size);
    const absl::Status sent = SendAll(api.options(), requests);
    INFO(sent);
    REQUIRE(sent.ok());
    REQUIRE(follower->AwaitPlan(*cluster) == "");
    size_t largest = 0;
    for (const PlannedVirtualServer& server : follower->Servers()) {
      if (server.service.name == "big") largest = std::max(largest, server.real_servers.size());
    }
    CHECK(largest == static_cast<size_t>(size));
  }
}

TEST_CASE("A change that no rule reads gives the journal no revision") {
  auto cluster = StartCluster();
  ApiClient& api = cluster->admin();
  MakeNodes(api);
  auto follower = StartFollower(cluster->fairlead_kubeconfig());
  REQUIRE(api.Post(kServicesPath, ServiceObject("web")).ok());
  REQUIRE(api.Post(kServicesPath, ServiceObject("mark")).ok());
  REQUIRE(follower->AwaitPlan(*cluster) == "");
  const std::string web = absl::StrCat(kServicesPath, "/web");

  struct Row {
    const char* name;
    const char* path;
    json patch;
  };
  const Row rows[] = {
      {"a Service's label", kServicesPath, {{"metadata", {{"labels", {{"team", "a"}}}}}}},
      {"a Service's annotation", kServicesPath, {{"metadata", {{"annotations", {{"n", "1"}}}}}}},
      {"a Service's port's appProtocol",
       kServicesPath,
       {{"spec",
         {{"ports",
           {{{"name", "http"}, {"port", 80}, {"targetPort", 8080}, {"appProtocol", "http"}}}}}}}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const uint64_t before = follower->journal().head_revision();
    REQUIRE(api.MergePatch(web, row.patch).ok());
    // What comes after it in the same watch shows that it has come.
    REQUIRE(api.MergePatch(absl::StrCat(kServicesPath, "/mark"),
                           {{"spec", {{"externalIPs", {absl::StrCat("198.51.100.", before)}}}}})
                .ok());
    REQUIRE(follower->AwaitPlan(*cluster) == "");
    CHECK(follower->journal().head_revision() == before + 1);
  }
}

TEST_CASE("Slices of headless Services are not in the journal") {
  auto cluster = StartCluster();
  ApiClient& api = cluster->admin();
  MakeNodes(api);
  auto follower = StartFollower(cluster->fairlead_kubeconfig());
  REQUIRE(CreatePod(api, {.name = "db-1", .app = "db", .ips = {"10.244.1.1"}}).ok());
  REQUIRE(api.Post(kServicesPath, ServiceObject("db", {{"clusterIP", "None"}})).ok());
  REQUIRE(WaitUntil(Follower::kPatience, [&] {
    auto slices = api.Get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices");
    return slices.ok() && absl::StrContains(slices->dump(), "10.244.1.1");
  }));
  REQUIRE(api.Post(kServicesPath, ServiceObject("web", {{"selector", {{"app", "db"}}}})).ok());

  CHECK(follower->AwaitPlan(*cluster) == "");
  follower->Read();
  CHECK(follower->snapshot().SlicesOf({"default", "web"}).size() == 2);
  CHECK(follower->snapshot().SlicesOf({"default", "db"}).empty());
}

TEST_CASE("Of Nodes, an agent's own source follows one") {
  auto cluster = StartCluster();
  MakeNodes(cluster->admin());
  KubernetesSourceOptions options = FastOptions();
  options.node_name = kThisNode;
  auto follower = StartFollower(cluster->fairlead_kubeconfig(), options);

  follower->Read();

  CHECK(follower->snapshot().FindNode("n1") != nullptr);
  CHECK(follower->snapshot().FindNode("n2") == nullptr);
}

}  // namespace
}  // namespace fairlead::lab
