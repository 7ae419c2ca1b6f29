// Who the source is to a real API server, and what becomes of it when that changes.
#include <catch2/catch.hpp>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "test/kubernetes/harness.h"
#include "test/kubernetes/objects.h"
#include "test/kubernetes/relay.h"
#include "watcher/kubernetes/api_server.h"

namespace fairlead::lab {
namespace {

using nlohmann::json;

const char kBindings[] = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const char kRoles[] = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

// Gives the user, or the service account of namespace default, the role of kFairleadUser.
void Grant(ApiServerCluster& cluster, const std::string& kind, const std::string& name) {
  json subject = {{"kind", kind}, {"name", name}};
  std::string user = name;
  if (kind == "ServiceAccount") {
    subject["namespace"] = "default";
    user = absl::StrCat("system:serviceaccount:default:", name);
  } else {
    subject["apiGroup"] = "rbac.authorization.k8s.io";
  }
  const json binding = {{"metadata", {{"name", name}}},
                        {"roleRef",
                         {{"apiGroup", "rbac.authorization.k8s.io"},
                          {"kind", "ClusterRole"},
                          {"name", kFairleadUser}}},
                        {"subjects", json::array({subject})}};
  const auto made = cluster.admin().Post(kBindings, binding);
  INFO(made.status());
  REQUIRE(made.ok());
  REQUIRE(cluster.AwaitRight(user, "nodes", true).ok());
}

// A new Service comes through to the plan.
void CheckFollows(ApiServerCluster& cluster, Follower& follower, const std::string& service) {
  INFO(service);
  REQUIRE(cluster.admin().Post(kServicesPath, ServiceObject(service)).ok());
  const std::string difference = follower.AwaitPlan(cluster);
  INFO(Errors(follower));
  CHECK(difference == "");
}

bool AwaitError(const Follower& follower, const std::string& resource, const std::string& text) {
  return WaitUntil(Follower::kPatience,
                   [&] { return absl::StrContains(follower.StatusOf(resource).last_error, text); });
}

TEST_CASE("A token file that is replaced while the source runs is read again") {
  auto cluster = StartCluster();
  MakeNodes(cluster->admin());
  REQUIRE(ReplaceFile(cluster->token_file(), "old").ok());
  REQUIRE(cluster->SetTokens({{"old", kFairleadUser}, {"new", kFairleadUser}}).ok());
  REQUIRE(cluster->StartApiServer().ok());
  auto follower = StartFollower(cluster->fairlead_kubeconfig());
  CheckFollows(*cluster, *follower, "a");

  SECTION("before the old one is revoked: nothing is refused") {
    REQUIRE(ReplaceFile(cluster->token_file(), "new").ok());
    REQUIRE(cluster->SetTokens({{"new", kFairleadUser}}).ok());
    REQUIRE(cluster->StartApiServer().ok());
    CheckFollows(*cluster, *follower, "b");
    CHECK(!absl::StrContains(Errors(*follower), "401"));
  }
  SECTION("after the old one was revoked: the error says so until then") {
    REQUIRE(cluster->SetTokens({{"new", kFairleadUser}}).ok());
    REQUIRE(cluster->StartApiServer().ok());
    const uint64_t before = follower->journal().head_revision();
    CHECK(AwaitError(*follower, "services", "401"));
    CHECK(AwaitError(*follower, "services", cluster->token_file()));
    INFO(Errors(*follower));
    CHECK(follower->journal().head_revision() == before);
    REQUIRE(ReplaceFile(cluster->token_file(), "new").ok());
    CheckFollows(*cluster, *follower, "b");
  }
}

TEST_CASE("A service account's token is replaced while the source runs, and the old one revoked") {
  auto cluster = StartCluster();
  ApiClient& api = cluster->admin();
  MakeNodes(api);
  REQUIRE(
      api.Post("/api/v1/namespaces/default/serviceaccounts", {{"metadata", {{"name", "agent"}}}})
          .ok());
  Grant(*cluster, "ServiceAccount", "agent");
  // A token lives as long as the Secret that it is bound to.
  const auto make_token = [&](const std::string& secret) {
    auto made = api.Post("/api/v1/namespaces/default/secrets", {{"metadata", {{"name", secret}}}});
    REQUIRE(made.ok());
    auto token = api.Post("/api/v1/namespaces/default/serviceaccounts/agent/token",
                          {{"spec",
                            {{"boundObjectRef",
                              {{"apiVersion", "v1"},
                               {"kind", "Secret"},
                               {"name", secret},
                               {"uid", made->at("metadata").at("uid")}}}}}});
    INFO(token.status());
    REQUIRE(token.ok());
    return token->at("status").at("token").get<std::string>();
  };
  const std::string old_token = make_token("old");
  const std::string new_token = make_token("new");
  auto relay = Relay::Start(cluster->port());
  REQUIRE(relay.ok());

  // A Pod's files and environment.
  const std::string folder = absl::StrCat(cluster->folder(), "/serviceaccount");
  std::filesystem::create_directory(folder);
  std::filesystem::copy_file(cluster->authority().certificate_file(), folder + "/ca.crt");
  REQUIRE(ReplaceFile(folder + "/token", old_token).ok());
  ::setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1", 1);
  ::setenv("KUBERNETES_SERVICE_PORT", absl::StrCat((*relay)->port()).c_str(), 1);
  auto server = InClusterApiServer(folder);
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  ::unsetenv("KUBERNETES_SERVICE_PORT");
  INFO(server.status());
  REQUIRE(server.ok());
  auto follower = Follower::Start(*server);
  const bool complete = follower->AwaitComplete();
  INFO(Errors(*follower));
  REQUIRE(complete);
  CheckFollows(*cluster, *follower, "a");

  REQUIRE(ReplaceFile(folder + "/token", new_token).ok());
  REQUIRE(api.Delete("/api/v1/namespaces/default/secrets/old").ok());
  // The API server remembers for a while that a token was good.
  ApiClient bearer({.url = cluster->url(),
                    .ca_file = cluster->authority().certificate_file(),
                    .token = old_token});
  REQUIRE(WaitUntil(Follower::kPatience, [&] {
    return absl::IsUnauthenticated(bearer.Get("/api/v1/services").status());
  }));
  (*relay)->Cut();
  (*relay)->Resume();
  CheckFollows(*cluster, *follower, "b");
  CHECK(!absl::StrContains(Errors(*follower), "401"));
}

TEST_CASE("A client certificate that is replaced while the source runs is read again") {
  auto cluster = StartCluster();
  ApiClient& api = cluster->admin();
  MakeNodes(api);
  Grant(*cluster, "User", "agent-1");
  Grant(*cluster, "User", "agent-2");
  auto pair = cluster->authority().Issue({.name = "agent", .common_name = "agent-1"});
  REQUIRE(pair.ok());
  auto relay = Relay::Start(cluster->port());
  REQUIRE(relay.ok());
  auto kubeconfig = cluster->WriteKubeconfig(
      "agent", absl::StrCat("https://127.0.0.1:", (*relay)->port()),
      {{"client-certificate", pair->certificate_file}, {"client-key", pair->key_file}});
  REQUIRE(kubeconfig.ok());
  auto follower = StartFollower(*kubeconfig);
  CheckFollows(*cluster, *follower, "a");

  // The files now belong to another user, and the first may do nothing any more.
  REQUIRE(cluster->authority().Issue({.name = "agent", .common_name = "agent-2"}).ok());
  REQUIRE(api.Delete(absl::StrCat(kBindings, "/agent-1")).ok());
  REQUIRE(cluster->AwaitRight("agent-1", "nodes", false).ok());
  (*relay)->Cut();
  (*relay)->Resume();
  CheckFollows(*cluster, *follower, "b");
  CHECK(!absl::StrContains(Errors(*follower), "403"));

  // One that nobody has signed whom the API server knows.
  const std::string folder = absl::StrCat(cluster->folder(), "/other");
  std::filesystem::create_directory(folder);
  auto stranger = CertificateAuthority::Create(folder);
  REQUIRE(stranger.ok());
  auto strange = (*stranger)->Issue({.name = "agent", .common_name = "agent-2"});
  REQUIRE(strange.ok());
  const std::string good_certificate = *ReadFile(pair->certificate_file);
  const std::string good_key = *ReadFile(pair->key_file);
  REQUIRE(ReplaceFile(pair->key_file, *ReadFile(strange->key_file)).ok());
  REQUIRE(ReplaceFile(pair->certificate_file, *ReadFile(strange->certificate_file)).ok());
  const uint64_t before = follower->journal().head_revision();
  (*relay)->Cut();
  (*relay)->Resume();
  CHECK(AwaitError(*follower, "services", pair->certificate_file));
  INFO(Errors(*follower));
  CHECK(follower->journal().head_revision() == before);

  REQUIRE(ReplaceFile(pair->key_file, good_key).ok());
  REQUIRE(ReplaceFile(pair->certificate_file, good_certificate).ok());
  CheckFollows(*cluster, *follower, "c");
}

TEST_CASE("A wrong token is an error that names it, and no picture") {
  auto cluster = StartCluster();
  REQUIRE(ReplaceFile(cluster->token_file(), "wrong").ok());
  auto follower = Follower::Start(cluster->fairlead_kubeconfig());
  REQUIRE(follower.ok());

  for (const char* resource : {"services", "endpointslices", "nodes"}) {
    INFO(resource);
    CHECK(AwaitError(**follower, resource, "401"));
    CHECK(AwaitError(**follower, resource, cluster->token_file()));
    CHECK_FALSE((*follower)->StatusOf(resource).listed);
  }
  INFO(Errors(**follower));
  CHECK_FALSE((*follower)->journal().complete());
}

TEST_CASE("A certificate of an authority that is not ours is an error, and no picture") {
  auto cluster = StartCluster();
  const std::string folder = absl::StrCat(cluster->folder(), "/other");
  std::filesystem::create_directory(folder);
  REQUIRE(CertificateAuthority::Create(folder).ok());
  auto server = LoadKubeconfig(cluster->fairlead_kubeconfig(), "");
  REQUIRE(server.ok());
  server->ca.file = folder + "/ca.crt";
  auto follower = Follower::Start(*server);

  CHECK(AwaitError(*follower, "services", "certificate"));
  INFO(Errors(*follower));
  CHECK_FALSE(follower->journal().complete());
}

TEST_CASE("Without the right to Nodes the error names them, and the journal is not complete") {
  auto cluster = StartCluster();
  ApiClient& api = cluster->admin();
  MakeNodes(api);
  const std::string role = absl::StrCat(kRoles, "/", kFairleadUser);
  json rules = api.Get(role)->at("rules");
  const json all = rules;
  rules[0]["resources"] = {"services"};
  REQUIRE(api.MergePatch(role, {{"rules", rules}}).ok());
  REQUIRE(cluster->AwaitRight(kFairleadUser, "nodes", false).ok());
  auto follower = Follower::Start(cluster->fairlead_kubeconfig());
  REQUIRE(follower.ok());

  CHECK(AwaitError(**follower, "nodes", "403"));
  CHECK(AwaitError(**follower, "nodes", "cannot list resource \"nodes\""));
  INFO(Errors(**follower));
  CHECK(WaitUntil(Follower::kPatience, [&] {
    return (*follower)->StatusOf("services").listed &&
           (*follower)->StatusOf("endpointslices").listed;
  }));
  CHECK_FALSE((*follower)->StatusOf("nodes").listed);
  CHECK_FALSE((*follower)->journal().complete());

  REQUIRE(api.MergePatch(role, {{"rules", all}}).ok());
  CHECK((*follower)->AwaitComplete());
  CHECK((*follower)->AwaitPlan(*cluster) == "");
}

}  // namespace
}  // namespace fairlead::lab
