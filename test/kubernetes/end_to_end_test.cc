// A real API server, a watcher that follows it, agents that the watcher feeds, and packets. In the
// lab, which reaches the API server on the machine outside by a forward:
//
//   with_api_server sh -c 'test/lab/run --forward 10.0.2.100:6443=127.0.0.1:$FAIRLEAD_API_PORT …'
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "test/kernel/harness.h"
#include "test/kubernetes/api_client.h"
#include "test/kubernetes/objects.h"
#include "test/lab/http_client.h"
#include "test/lab/watcher.h"

namespace fairlead::lab {
namespace {

using Names = std::set<std::string>;

constexpr char kApiUrl[] = "https://10.0.2.100:6443";
constexpr char kWatcherAddress[] = "172.18.0.100:10270";

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  REQUIRE(value != nullptr);
  return value;
}

// Three nodes, and a client outside that alone reaches the API server: the watcher runs there.
class World {
 public:
  World() {
    auto made = Cluster::Create();
    REQUIRE(made.ok());
    cluster = std::move(*made);
    MoveNetworkToClient();
    const std::string folder = Environment("FAIRLEAD_API_FOLDER");
    api = std::make_unique<ApiClient>(ApiClientOptions{
        .url = kApiUrl,
        .ca_file = folder + "/ca.crt",
        .client = {.certificate_file = folder + "/admin.crt", .key_file = folder + "/admin.key"}});
    for (int i = 1; i <= 3; ++i) {
      const Node& node = cluster->node(i);
      Require(Post(kNodesPath, NodeObject(node.name, {node.ipv4, node.ipv6}, "zone-a")).status());
      REQUIRE(cluster->AddPod(absl::StrCat("client-", i), i).ok());
    }
  }

  // The device by which the lab reaches the machine outside.
  void MoveNetworkToClient() {
    std::FILE* pipe = popen("ip -o -4 addr show to 10.0.2.15 | awk '{print $2}'", "r");
    char name[32] = {};
    REQUIRE(std::fgets(name, sizeof(name), pipe) != nullptr);
    pclose(pipe);
    const std::string device(absl::StripTrailingAsciiWhitespace(name));
    REQUIRE(std::system(absl::StrCat("ip link set ", device, " netns ", cluster->client().name(),
                                     " name api0")
                            .c_str()) == 0);
    const auto set_up = Shell(cluster->client(), "ip -batch -",
                              "addr add 10.0.2.15/24 dev api0\nlink set api0 up\n");
    INFO(set_up.status());
    REQUIRE(set_up.ok());
  }

  static void Require(const absl::Status& status) {
    INFO(status);
    REQUIRE(status.ok());
  }

  absl::StatusOr<nlohmann::json> Post(absl::string_view path, const nlohmann::json& object) {
    return cluster->client().Run([&] { return api->Post(path, object); });
  }

  // A pod of the cluster, and of the API server, that answers.
  void AddPod(const std::string& name, int node, const std::string& app = "web") {
    auto pod = cluster->AddPod(name, node);
    REQUIRE(pod.ok());
    REQUIRE(responder.AddHttp(*(*pod)->net, 8080, name).ok());
    Require(cluster->client().Run([&] {
      return CreatePod(*api, {.name = name,
                              .app = app,
                              .node = cluster->node(node).name,
                              .ips = {(*pod)->ipv4, (*pod)->ipv6}});
    }));
  }

  // Who answers requests from a node's client pod, in several tries.
  Names Answers(int node, const std::string& address) {
    Names names;
    for (int i = 0; i < 6; ++i) {
      const Response response = Get(*cluster->pod(absl::StrCat("client-", node)).net, address, 80,
                                    {.timeout = absl::Seconds(2)});
      names.insert(response.ok() ? response.name : std::string(OutcomeName(response.outcome)));
    }
    return names;
  }

  // Waits until all nodes get these answers; the last ones where they do not come.
  std::vector<Names> AwaitAnswers(const std::string& address, const Names& wanted) {
    const std::vector<Names> all(3, wanted);
    std::vector<Names> last;
    const absl::Time end = absl::Now() + absl::Seconds(60);
    while (last != all && absl::Now() < end) {
      last = {Answers(1, address), Answers(2, address), Answers(3, address)};
    }
    return last;
  }

  Folder work;
  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<ApiClient> api;
  Responder responder;
};

// One for all tests: the device that leads to the API server moves once.
World& TheWorld() {
  static World world;
  return world;
}

// Waits until so many nodes have everything in their kernels; the last answer, as text.
std::string AwaitCurrent(const Watcher& watcher, size_t count) {
  const absl::Time end = absl::Now() + absl::Seconds(90);
  size_t current = 0;
  while (absl::Now() < end) {
    const auto nodes = watcher.Nodes();
    current = 0;
    if (nodes.ok()) {
      for (const nlohmann::json& node : nodes->at("nodes")) {
        if (node.at("state") == "current") ++current;
      }
    }
    if (current == count) break;
  }
  CHECK(current == count);
  return watcher.NodesText().value_or("no answer");
}

TEST_CASE("From the API server by a watcher to three agents, and packets") {
  World& world = TheWorld();
  auto watcher =
      Watcher::Start(world.cluster->client(),
                     {.program = Program(),
                      .folder = world.work.path(),
                      .flags = {"--kubeconfig", Environment("FAIRLEAD_TEST_KUBECONFIG_GUEST"),
                                "--insecure-plaintext"}});
  REQUIRE(watcher.ok());
  std::vector<std::unique_ptr<Agent>> agents;
  for (int i = 1; i <= 3; ++i) {
    AgentOptions options = OptionsFor(world.work, {});
    options.watchers = {kWatcherAddress};
    options.transport_flags = {"--insecure-plaintext"};
    auto agent = Agent::Start(world.cluster->node(i), options);
    REQUIRE(agent.ok());
    agents.push_back(*std::move(agent));
  }
  AwaitCurrent(**watcher, 3);
  INFO((*watcher)->process().Log());

  // A Service, and the endpoints that the real controller makes of Pods.
  world.AddPod("web-1", 1);
  world.AddPod("web-2", 2);
  const auto service = world.Post(kServicesPath, ServiceObject("web"));
  World::Require(service.status());
  const std::string address = service->at("spec").at("clusterIP");
  CHECK(world.AwaitAnswers(address, {"web-1", "web-2"}) ==
        std::vector<Names>(3, {"web-1", "web-2"}));

  // Scaled up, a Pod unready, a Pod deleted.
  world.AddPod("web-3", 3);
  CHECK(world.AwaitAnswers(address, {"web-1", "web-2", "web-3"}) ==
        std::vector<Names>(3, {"web-1", "web-2", "web-3"}));
  World::Require(
      world.cluster->client().Run([&] { return SetPodReady(*world.api, "web-1", false); }));
  CHECK(world.AwaitAnswers(address, {"web-2", "web-3"}) ==
        std::vector<Names>(3, {"web-2", "web-3"}));
  World::Require(world.cluster->client().Run(
      [&] { return world.api->Delete(absl::StrCat(kPodsPath, "/web-2")).status(); }));
  CHECK(world.AwaitAnswers(address, {"web-3"}) == std::vector<Names>(3, {"web-3"}));

  // The watcher knows that all have it.
  WARN(AwaitCurrent(**watcher, 3));

  // Patched: its traffic policy; then deleted.
  World::Require(world.cluster->client()
                     .Run([&] {
                       return world.api->MergePatch(
                           absl::StrCat(kServicesPath, "/web"),
                           {{"spec", {{"internalTrafficPolicy", "Local"}}}});
                     })
                     .status());
  const absl::Time end = absl::Now() + absl::Seconds(60);
  while (world.Answers(1, address) == Names{"web-3"} && absl::Now() < end) {
  }
  CHECK(world.Answers(1, address) != Names{"web-3"});
  CHECK(world.Answers(3, address) == Names{"web-3"});
  World::Require(world.cluster->client().Run(
      [&] { return world.api->Delete(absl::StrCat(kServicesPath, "/web")).status(); }));
  for (const auto& agent : agents) {
    const auto gone = agent->ListUntil([](const nlohmann::json& list) {
      return FindServer(list, "default/web", "ClusterIP").is_null();
    });
    INFO(gone.status());
    CHECK(gone.ok());
  }
}

// The client is the node here, as it reaches the API server.
TEST_CASE("An agent that follows the API server by itself") {
  World& world = TheWorld();
  world.AddPod("direct-1", 1, "direct");
  const NetNamespace& net = world.cluster->client();
  World::Require(SetRoute(net, {.destination = world.cluster->node(1).pod_cidr4,
                                .gateway = world.cluster->node(1).ipv4}));
  const auto service = world.Post(kServicesPath, ServiceObject("direct"));
  World::Require(service.status());
  const std::string address = service->at("spec").at("clusterIP");
  auto agent = Process::Start(
      {.words = {Program(), "proxy", "--node-name", "n9", "--node-ip", "172.18.0.100",
                 "--kubeconfig", Environment("FAIRLEAD_TEST_KUBECONFIG_GUEST"), "--socket",
                 world.work.Path("direct.sock"), "--healthz-bind-address", "",
                 "--metrics-bind-address", "127.0.0.1:10249"},
       .net = &net,
       .log_path = world.work.Path("direct.log")});
  REQUIRE(agent.ok());
  Response response;
  const absl::Time end = absl::Now() + absl::Seconds(60);
  while (!response.ok() && absl::Now() < end) {
    response = Get(net, address, 80, {.timeout = absl::Seconds(2)});
  }
  INFO((*agent)->Log());
  CHECK(response.ok());
  CHECK(response.name == "direct-1");
}

}  // namespace
}  // namespace fairlead::lab
