// Packets through Services that the demonstration does not show: both families, UDP, affinity,
// hairpin, an endpoint that leaves.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "test/kernel/harness.h"
#include "test/lab/http_client.h"
#include "test/lab/requirements.h"

namespace fairlead::lab {
namespace {

using Names = std::set<std::string>;

constexpr char kServices[] = R"yaml(
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: dns}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: dns, port: 53, targetPort: 5353, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  ipFamilyPolicy: RequireDualStack
  sessionAffinity: ClientIP
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: inner}
spec:
  ipFamilyPolicy: RequireDualStack
  internalTrafficPolicy: Local
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: nobody}
  ports: [{name: http, port: 80}]
)yaml";

// Pods web-1 on n1 and web-2 on n2, a client pod on n1 and one on n3, agents on all three nodes.
class Shop {
 public:
  Shop() {
    auto made = Cluster::Create();
    REQUIRE(made.ok());
    cluster = std::move(*made);
    for (const auto& [name, node] :
         std::map<std::string, int>{{"web-1", 1}, {"web-2", 2}, {"client-1", 1}, {"client-3", 3}}) {
      auto pod = cluster->AddPod(name, node);
      REQUIRE(pod.ok());
      if (name.starts_with("web")) {
        REQUIRE(responder.AddHttp(*(*pod)->net, 8080, name).ok());
        REQUIRE(responder.AddUdp(*(*pod)->net, 5353, name).ok());
      }
    }
    manifests.Write("services.yaml", kServices);
    WritePods(true);
    for (int number = 1; number <= 3; ++number) {
      auto agent = Agent::Start(cluster->node(number), Options());
      REQUIRE(agent.ok());
      agents.push_back(std::move(*agent));
    }
    for (int number = 1; number <= 3; ++number) {
      INFO(agents[number - 1]->process().Log());
      REQUIRE(AwaitPlan(cluster->node(number), Options()).empty());
    }
  }

  AgentOptions Options() const {
    return OptionsFor(work, {manifests.path()},
                      {"--service-cluster-ip-range", "10.96.0.0/12,fd96::/112"});
  }

  void WritePods(bool second_ready) {
    manifests.Write("pods.yaml", PodManifest(cluster->pod("web-1"), "web") +
                                     PodManifest(cluster->pod("web-2"), "web", second_ready));
  }

  std::string Address(const std::string& service, bool ipv6) {
    return Server(service, "ClusterIP", ipv6).at("address");
  }
  nlohmann::json Server(const std::string& service, const std::string& kind, bool ipv6) {
    auto list = agents[0]->List();
    REQUIRE(list.ok());
    nlohmann::json server = FindServer(*list, "default/" + service, kind, ipv6);
    REQUIRE(!server.is_null());
    return server;
  }

  std::unique_ptr<Cluster> cluster;
  Responder responder;
  Folder manifests;
  Folder work;
  std::vector<std::unique_ptr<Agent>> agents;
};

// Who answers a number of requests, and whom they saw.
struct Seen {
  Names names;
  Names clients;
  std::map<Outcome, int> failures;
};

Seen Ask(const NetNamespace& net, const std::string& address, int port, int requests = 6,
         const RequestOptions& options = {}) {
  Seen seen;
  for (int i = 0; i < requests; ++i) {
    const Response response = options.transport == Transport::kUdp
                                  ? AskUdp(net, address, port, options)
                                  : Get(net, address, port, options);
    if (response.ok()) {
      seen.names.insert(response.name);
      seen.clients.insert(response.client_address);
    } else {
      ++seen.failures[response.outcome];
    }
  }
  return seen;
}

void CheckFamily(Shop& shop, bool ipv6) {
  const Names both = {"web-1", "web-2"};
  const Pod& pod = shop.cluster->pod("client-1");
  const std::string pod_address = ipv6 ? pod.ipv6 : pod.ipv4;
  const Node& node1 = shop.cluster->node(1);
  const Node& node3 = shop.cluster->node(3);
  const std::string client = ipv6 ? shop.cluster->client_ipv6() : shop.cluster->client_ipv4();
  const auto address_of = [ipv6](const Node& node) { return ipv6 ? node.ipv6 : node.ipv4; };
  const std::string vip = shop.Address("web", ipv6);

  INFO("family " << (ipv6 ? "IPv6" : "IPv4"));
  {
    const Seen seen = Ask(*pod.net, vip, 80);
    CHECK(seen.names == both);
    CHECK(seen.clients == Names{pod_address});
  }
  {
    INFO("from nodes the endpoint sees the node's own address");
    CHECK(Ask(*node1.net, vip, 80).clients == Names{address_of(node1)});
    CHECK(Ask(*node3.net, vip, 80).names == both);
  }
  {
    INFO("a pod that reaches itself is masqueraded, and answered");
    const Pod& web = shop.cluster->pod("web-1");
    const Seen seen = Ask(*web.net, vip, 80);
    CHECK(seen.names == both);
    CHECK(seen.failures.empty());
  }
  {
    INFO("node port, policy Cluster: a node without endpoints answers with all of them");
    const int port = shop.Server("web", "NodePort", ipv6).at("port");
    const Seen seen = Ask(shop.cluster->client(), address_of(node3), port);
    CHECK(seen.names == both);
    CHECK_FALSE(seen.clients.contains(client));
  }
  {
    INFO("node port, policy Local: its own endpoint, which sees the client; else silence");
    const int port = shop.Server("local", "NodePort", ipv6).at("port");
    const Seen seen = Ask(shop.cluster->client(), address_of(node1), port);
    CHECK(seen.names == Names{"web-1"});
    CHECK(seen.clients == Names{client});
    const Seen none =
        Ask(shop.cluster->client(), address_of(node3), port, 1, {.timeout = absl::Seconds(2)});
    CHECK(none.failures == std::map<Outcome, int>{{Outcome::kTimeout, 1}});
  }
  {
    INFO("internal policy Local");
    CHECK(Ask(*pod.net, shop.Address("inner", ipv6), 80).names == Names{"web-1"});
    const Seen none = Ask(*shop.cluster->pod("client-3").net, shop.Address("inner", ipv6), 80, 1,
                          {.timeout = absl::Seconds(2)});
    CHECK(none.failures == std::map<Outcome, int>{{Outcome::kTimeout, 1}});
  }
  {
    INFO("no endpoint anywhere: refused at once, for pod and node");
    const std::string nobody = shop.Address("nobody", ipv6);
    const std::map<Outcome, int> refused = {{Outcome::kRefused, 1}};
    CHECK(Ask(*pod.net, nobody, 80, 1).failures == refused);
    CHECK(Ask(*node1.net, nobody, 80, 1).failures == refused);
  }
  {
    INFO("the host's own port through a VIP");
    auto id = shop.responder.AddHttp(*node1.net, 7777, "host");
    REQUIRE(id.ok());
    CHECK(Ask(*pod.net, address_of(node1), 7777, 1).names == Names{"host"});
    CHECK(Ask(*pod.net, vip, 7777, 1).failures == std::map<Outcome, int>{{Outcome::kRefused, 1}});
    CHECK(Ask(*node1.net, vip, 7777, 1).failures == std::map<Outcome, int>{{Outcome::kRefused, 1}});
    shop.responder.Remove(*id);
  }
  {
    INFO("UDP");
    CHECK(Ask(*pod.net, shop.Address("dns", ipv6), 53, 6, {.transport = Transport::kUdp}).names ==
          both);
  }
  {
    INFO("affinity");
    CHECK(Ask(*pod.net, shop.Address("sticky", ipv6), 80).names.size() == 1);
    CHECK(shop.Server("sticky", "ClusterIP", ipv6).at("persistenceTimeoutSeconds") == 10800);
  }
}

TEST_CASE("Both families are served alike") {
  FAIRLEAD_NEEDS_IPVS();
  Shop shop;
  CheckFamily(shop, false);
  CheckFamily(shop, true);
}

TEST_CASE("lo goes down and takes the routes of IPv6 with it, and they come back") {
  FAIRLEAD_NEEDS_IPVS();
  Shop shop;
  const NetNamespace& net = *shop.cluster->node(1).net;
  const std::string vip = shop.Address("web", true);
  const auto route = [&] { return Shell(net, "ip -6 route show table local " + vip); };
  REQUIRE(absl::StrContains(route().value_or(""), vip));
  // For so long that repairs fail meanwhile.
  REQUIRE(Shell(net, "ip link set lo down").ok());
  CHECK(route().value_or("failed") == "");
  CHECK(WaitUntil(Agent::kPatience, [&] {
    return absl::StrContains(shop.agents[0]->process().Log(), "Network is down");
  }));
  REQUIRE(Shell(net, "ip link set lo up").ok());
  CHECK(WaitUntil(Agent::kPatience, [&] { return absl::StrContains(route().value_or(""), vip); }));
  CHECK(Ask(*shop.cluster->pod("client-1").net, vip, 80).names == Names{"web-1", "web-2"});
}

TEST_CASE("An endpoint that leaves keeps its connections and gets no new ones") {
  FAIRLEAD_NEEDS_IPVS();
  Shop shop;
  const std::string vip = shop.Address("web", false);
  const NetNamespace& net = *shop.cluster->pod("client-1").net;
  std::vector<LongConnection> held;
  Names before;
  for (int i = 0; i < 4; ++i) {
    held.emplace_back(net, vip, 80);
    before.insert(held.back().Ask().name);
  }
  REQUIRE(before == Names{"web-1", "web-2"});
  // A UDP client keeps its port, and with it its "connection".
  const std::string dns = shop.Address("dns", false);
  RequestOptions same_port{.transport = Transport::kUdp, .source_port = 4444};
  const std::string first = Ask(net, dns, 53, 1, same_port).names.empty() ? "" : "answered";
  CHECK(first == "answered");

  shop.WritePods(false);
  auto list = shop.agents[0]->ListUntil([](const nlohmann::json& list) {
    const nlohmann::json web = FindServer(list, "default/web", "ClusterIP");
    for (const nlohmann::json& real : web.at("realServers")) {
      if (real.at("state") == "draining") return real.at("weight") == 0;
    }
    return false;
  });
  INFO(list.status());
  REQUIRE(list.ok());
  CHECK(Ask(net, vip, 80).names == Names{"web-1"});
  CHECK(Ask(net, dns, 53, 3, same_port).names == Names{"web-1"});
  Names after;
  for (LongConnection& connection : held) after.insert(connection.Ask().name);
  CHECK(after == Names{"web-1", "web-2"});

  // It returns while it drains: the weight comes back, nothing is deleted.
  shop.WritePods(true);
  CHECK(AwaitPlan(shop.cluster->node(1), shop.Options()).empty());
  after.clear();
  for (LongConnection& connection : held) after.insert(connection.Ask().name);
  CHECK(after == Names{"web-1", "web-2"});
  CHECK(Ask(net, vip, 80).names == Names{"web-1", "web-2"});
}

}  // namespace
}  // namespace fairlead::lab
