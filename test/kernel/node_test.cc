// What an agent does on a node besides balancing: following its addresses, health checks, metrics,
// explanations, flows that connection tracking remembers, marks over a restart.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "test/kernel/harness.h"
#include "test/kernel/service_shape.h"
#include "test/lab/http_client.h"
#include "test/lab/load_generator.h"
#include "test/lab/requirements.h"
#include "test/lab/socket_address.h"

namespace fairlead::lab {
namespace {

// Endpoints web-1 on n1 and web-2 on n2 and a client pod on n1, which has the agent.
class Stage {
 public:
  Stage() {
    auto made = Cluster::Create({.node_count = 2});
    REQUIRE(made.ok());
    cluster_ = *std::move(made);
    for (const auto& [name, number] :
         std::map<std::string, int>{{"web-1", 1}, {"web-2", 2}, {"client-1", 1}}) {
      auto pod = cluster_->AddPod(name, number);
      REQUIRE(pod.ok());
      if (name == "client-1") continue;
      REQUIRE(responder.AddHttp(*(*pod)->net, 8080, name).ok());
      REQUIRE(responder.AddUdp(*(*pod)->net, 8080, name).ok());
    }
    for (const char* services : {"10.96.0.0/12", "198.18.0.0/15"}) {
      REQUIRE(SetRoute(client(), {.destination = services, .gateway = node().ipv4}).ok());
    }
  }

  void Start(const std::vector<std::string>& flags = {}, bool default_flags = true) {
    options = OptionsFor(work, {manifests.path()}, flags);
    options.default_flags = default_flags;
    auto started = Agent::Start(node(), options);
    REQUIRE(started.ok());
    agent = *std::move(started);
    Await();
  }

  void Stop() {
    REQUIRE(agent->process().Kill(SIGTERM).ok());
    REQUIRE(agent->process().Wait(absl::Seconds(20)) == 0);
    agent.reset();
  }

  void Await() {
    const std::string difference = AwaitPlan(node(), options, /*draining=*/true);
    INFO(agent->process().Log());
    REQUIRE(difference == "");
  }

  // Writes the manifest and waits for the kernel.
  void Bring(const ServiceShape& shape) {
    manifests.Write(shape.name + ".yaml", shape.Manifest());
    if (agent != nullptr) Await();
  }

  ServiceShape Shape() const {
    ServiceShape shape;
    shape.slices = {{Endpoint("web-1"), Endpoint("web-2")}};
    return shape;
  }

  ShapeEndpoint Endpoint(const std::string& pod, const std::string& conditions = "") const {
    const Pod& found = cluster_->pod(pod);
    return {found.ipv4, absl::StrCat("n", found.node), conditions};
  }

  // The output of a command on the node; fails the test where it fails.
  std::string Run(const std::string& command) const {
    auto output = Shell(*node().net, std::vector<std::string>{"bash", "-c", command});
    INFO(command << ": " << output.status());
    REQUIRE(output.ok());
    return *output;
  }

  // "200" and the like; "000" where nobody answers.
  std::string HttpCode(const std::string& url) const {
    return Run(absl::StrCat("curl -s -o /dev/null -m 3 -w '%{http_code}' '", url, "' || true"));
  }

  std::string Explain(const std::string& arguments) const {
    return Run(absl::StrCat(Program(), " explain --socket ", work.path(), "/n1.sock ", arguments));
  }

  const Node& node() const { return cluster_->node(1); }
  const NetNamespace& client() const { return cluster_->client(); }
  const Pod& pod() const { return cluster_->pod("client-1"); }

 private:
  std::unique_ptr<Cluster> cluster_;

 public:
  Responder responder;
  Folder manifests;
  Folder work;
  AgentOptions options;
  std::unique_ptr<Agent> agent;
};

bool Eventually(const std::function<bool()>& holds) { return WaitUntil(Agent::kPatience, holds); }

TEST_CASE("Node ports follow the node's addresses") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  ServiceShape shape = stage.Shape();
  shape.health_check_port = 32710;
  shape.external_policy = "Local";
  stage.Bring(shape);
  stage.Start({"--cluster-cidr", "10.244.0.0/16", "--nodeport-addresses", "172.18.0.0/24"},
              /*default_flags=*/false);
  const auto answers = [&] {
    return Get(stage.client(), "172.18.0.77", shape.node_port, {.timeout = absl::Seconds(1)}).ok();
  };
  CHECK_FALSE(answers());
  stage.Run("ip address add 172.18.0.77/24 dev eth0");
  CHECK(Eventually(answers));
  CHECK(Eventually([&] { return stage.HttpCode("http://172.18.0.77:32710/") == "200"; }));
  // Not selected: the address is the node's, and no node port.
  stage.Run("ip address add 192.168.77.1/24 dev eth0");
  stage.Run("ip address del 172.18.0.77/24 dev eth0");
  // Gone, or only there for the connections that it had.
  CHECK(Eventually([&] {
    return stage.Run("ipvsadm --save -n | grep -e '-a -t 172.18.0.77:.* -w [^0]' || true").empty();
  }));
  CHECK_FALSE(absl::StrContains(stage.Run("ipvsadm --save -n"), "192.168.77.1"));
  CHECK(stage.HttpCode("http://172.18.0.11:32710/") == "200");
}

TEST_CASE("healthCheckNodePort tells load balancers of local endpoints") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  ServiceShape shape = stage.Shape();
  shape.external_policy = "Local";
  stage.Bring(shape);
  stage.Start();
  const std::string url = absl::StrCat("http://172.18.0.11:", shape.health_check_port, "/any/path");
  REQUIRE(Eventually([&] { return stage.HttpCode(url) == "200"; }));
  const std::string answer = stage.Run(absl::StrCat("curl -s -i -m 3 ", url));
  CHECK(absl::StrContains(answer, "X-Load-Balancing-Endpoint-Weight: 1\r\n"));
  CHECK(absl::StrContains(answer, "Content-Type: application/json\r\n"));
  CHECK(absl::StrContains(answer, "X-Content-Type-Options: nosniff\r\n"));
  const nlohmann::json body = nlohmann::json::parse(answer.substr(answer.find("\r\n\r\n")));
  CHECK(body == nlohmann::json{{"service", {{"namespace", "default"}, {"name", "web"}}},
                               {"localEndpoints", 1},
                               {"serviceProxyHealthy", true}});

  shape.slices = {{stage.Endpoint("web-1", "ready: false"), stage.Endpoint("web-2")}};
  stage.Bring(shape);
  CHECK(Eventually([&] { return stage.HttpCode(url) == "503"; }));

  // Another port: the old one is closed. One that is taken is reported, and had when it is free.
  auto taken = stage.responder.AddHttp(*stage.node().net, 32711, "somebody else");
  REQUIRE(taken.ok());
  shape.health_check_port = 32711;
  stage.Bring(shape);
  CHECK(Eventually([&] { return stage.HttpCode(url) == "000"; }));
  CHECK(Eventually([&] {
    return absl::StrContains(stage.agent->process().Log(),
                             "Service default/web, healthCheckNodePort: ");
  }));
  stage.responder.Remove(*taken);
  CHECK(Eventually([&] { return stage.HttpCode("http://172.18.0.11:32711/") == "503"; }));
  shape.external_policy = "Cluster";
  stage.Bring(shape);
  CHECK(Eventually([&] { return stage.HttpCode("http://172.18.0.11:32711/") == "000"; }));
}

TEST_CASE("healthz is of the node too, livez of the agent alone") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  const auto write_node = [&stage](const std::string& spec) {
    stage.manifests.Write("node.yaml",
                          absl::StrCat("apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n", spec));
  };
  write_node("");
  stage.Start();
  const std::string healthz = "http://172.18.0.11:10256/healthz";
  const std::string livez = "http://172.18.0.11:10256/livez";
  CHECK(stage.HttpCode(healthz) == "200");
  CHECK(stage.HttpCode("http://[::1]:10256/healthz") == "200");
  CHECK(stage.HttpCode(livez) == "200");
  CHECK(nlohmann::json::parse(stage.Run("curl -s -m 3 " + healthz)).at("nodeEligible") == true);
  write_node("spec: {taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}\n");
  CHECK(Eventually([&] { return stage.HttpCode(healthz) == "503"; }));
  CHECK(stage.HttpCode(livez) == "200");
  write_node("");
  CHECK(Eventually([&] { return stage.HttpCode(healthz) == "200"; }));
}

TEST_CASE("Of two Services with one address and port the older has it, until it goes") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  ServiceShape first = stage.Shape();
  first.name = "b-first";
  ServiceShape second = stage.Shape();
  second.name = "a-second";
  second.cluster_ip = "10.96.7.2";
  second.load_balancer_ips = {};
  second.node_port = 30702;
  second.slices = {{stage.Endpoint("web-2")}};
  const auto write = [&stage](const ServiceShape& shape, const std::string& created) {
    std::string text = shape.Manifest();
    text.replace(text.find("metadata:\n"), 10,
                 absl::StrCat("metadata:\n  creationTimestamp: \"", created, "\"\n"));
    stage.manifests.Write(shape.name + ".yaml", text);
  };
  // The younger one comes first.
  write(second, "2026-01-02T00:00:00Z");
  stage.Start();
  const std::string query =
      absl::StrCat("--from ", stage.pod().ipv4, " --to 198.19.7.1:80 -o json");
  CHECK(nlohmann::json::parse(stage.Explain(query)).at("service") == "default/a-second:http");
  write(first, "2026-01-01T00:00:00Z");
  CHECK(Eventually([&] {
    return nlohmann::json::parse(stage.Explain(query)).at("service") == "default/b-first:http";
  }));
  CHECK(absl::StrContains(stage.Explain(query),
                          "conflict: Service default/a-second: TCP 198.19.7.1:80 belongs to "
                          "Service default/b-first, which is older"));
  const std::string metric =
      "fairlead_service_conflicts{service_name=\"a-second\",service_namespace=\"default\"} ";
  const auto metrics = [&] { return stage.Run("curl -s -m 3 http://127.0.0.1:10249/metrics"); };
  INFO(metrics());
  CHECK(absl::StrContains(metrics(), metric + "1"));
  CHECK(absl::StrContains(stage.agent->process().Log(), "belongs to Service default/b-first"));

  stage.manifests.Remove("b-first.yaml");
  CHECK(Eventually([&] {
    return nlohmann::json::parse(stage.Explain(query)).at("service") == "default/a-second:http";
  }));
  CHECK(Get(*stage.pod().net, "198.19.7.1", 80).name == "web-2");
  CHECK(Eventually([&] { return !absl::StrContains(metrics(), metric); }));
}

TEST_CASE("The agent explains with what is in the kernel") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  ServiceShape shape = stage.Shape();
  shape.external_policy = "Local";
  stage.Bring(shape);
  // The device by which a packet comes is found by the agent.
  stage.Start({"--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "pod"});
  LongConnection held(*stage.pod().net, "198.18.7.1", 80);
  const Response answer = held.Ask();
  REQUIRE(answer.ok());
  const std::string text =
      stage.Explain(absl::StrCat("--from ", stage.pod().ipv4, " --to 198.18.7.1:80/tcp"));
  INFO(text);
  CHECK(absl::StartsWith(text, "balance default/web:http -> 10.244.1."));
  CHECK(absl::StrContains(text, "is a pod: pods' packets come by \"pod*\""));
  CHECK(absl::StrContains(text, "kernel: FWM "));
  CHECK(absl::StrContains(text, ": weight 1, 1 active and 0 inactive connections, ready"));
  const std::string outside = stage.Explain("--from 172.18.0.100 --to 198.18.7.1:80 -o json");
  CHECK(nlohmann::json::parse(outside).at("endpoints").size() == 1);
}

TEST_CASE("A flow of datagrams goes on with another endpoint when its own has gone") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  ServiceShape shape = stage.Shape();
  shape.protocol = "UDP";
  stage.Bring(shape);
  stage.Start();
  // The same port each time: one flow, which connection tracking ties to an endpoint.
  const auto flow = [&](const NetNamespace& net, const std::string& address, int port) {
    return std::make_unique<LoadGenerator>(net,
                                           LoadOptions{.address = address,
                                                       .port = port,
                                                       .request = {.transport = Transport::kUdp,
                                                                   .timeout = absl::Seconds(1),
                                                                   .source_port = 4444},
                                                       .concurrency = 1,
                                                       .pause = absl::Milliseconds(20)});
  };
  const auto from_pod = flow(*stage.pod().net, shape.cluster_ip, 80);
  const auto masqueraded = flow(stage.client(), stage.node().ipv4, shape.node_port);
  constexpr int kRounds = 6;
  for (int round = 0; round < kRounds; ++round) {
    const std::string keep = round % 2 == 0 ? "web-2" : "web-1";
    shape.slices = {{stage.Endpoint(keep)}};
    stage.Bring(shape);
    const auto answered = [&](const LoadGenerator& load) {
      const auto by_name = load.Summary().by_name;
      const auto it = by_name.find(keep);
      return it == by_name.end() ? 0 : it->second;
    };
    const int64_t pod_before = answered(*from_pod);
    const int64_t masqueraded_before = answered(*masqueraded);
    INFO("round " << round << ", " << keep);
    CHECK(Eventually([&] {
      return answered(*from_pod) > pod_before && answered(*masqueraded) > masqueraded_before;
    }));
  }
  for (LoadGenerator* load : {from_pod.get(), masqueraded.get()}) {
    const LoadSummary summary = load->Stop();
    INFO(summary);
    // At most one at each change: what comes between IPVS's forgetting and connection tracking's.
    CHECK(summary.failed() <= kRounds);
    std::printf("%lld datagrams of one flow over %d changes of its endpoint, %lld lost\n",
                static_cast<long long>(summary.requests), kRounds,
                static_cast<long long>(summary.failed()));
  }
  const std::string metrics = stage.Run("curl -s -m 3 http://127.0.0.1:10249/metrics");
  INFO(metrics);
  CHECK_FALSE(absl::StrContains(metrics, "\nfairlead_conntrack_flows_deleted_total 0\n"));
}

TEST_CASE("Marks stay over a restart, and those of others are left alone") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  ServiceShape shape = stage.Shape();
  shape.external_policy = "Local";
  stage.Bring(shape);
  stage.Run("ipvsadm -A -f 7 -s rr");
  stage.Run("ipvsadm -a -f 7 -r 192.0.2.7 -m");
  stage.Start();
  const std::string table = stage.Run("ipvsadm --save -n");
  LongConnection held(*stage.pod().net, "198.18.7.1", 80);
  CHECK(held.Ask().ok());
  stage.Stop();
  stage.Start();
  CHECK(stage.Run("ipvsadm --save -n") == table);
  CHECK(absl::StrContains(table, "-A -f 7 -s rr"));
  CHECK(Eventually([&] {
    return absl::StrContains(stage.agent->process().Log(),
                             "wrote 0 operations, 0 elements, 0 routes");
  }));
  CHECK(held.Ask().ok());
  // The other policy needs no mark any more, and takes it away.
  shape.external_policy = "Cluster";
  held.Reset();
  stage.Bring(shape);
  CHECK(Eventually([&] { return !absl::StrContains(stage.Run("ipvsadm --save -n"), "-A -f 1"); }));
  CHECK(absl::StrContains(stage.Run("ipvsadm --save -n"), "-A -f 7 -s rr"));
}

TEST_CASE("Nobody but IPVS sees Fairlead's marks, and other marks pass by") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  ServiceShape shape = stage.Shape();
  shape.external_policy = "Local";
  stage.Bring(shape);
  stage.Start();
  // Counts packets by mark in all places where somebody else could look; and marks what goes to
  // the Service's clusterIP, which is nothing that Fairlead marks.
  stage.Run(R"(nft -f - <<'END'
table inet spy {
  counter ours { }
  counter theirs { }
  chain mark_it { type filter hook prerouting priority -150; ip daddr 10.96.7.1 meta mark set 0x77; }
  chain a { type filter hook prerouting priority 300; meta mark 0x46000000-0x460fffff counter name ours; }
  chain b { type filter hook input priority 0; meta mark 0x46000000-0x460fffff counter name ours; }
  chain c { type filter hook output priority 0; meta mark 0x46000000-0x460fffff counter name ours; meta mark 0x77 counter name theirs; }
  chain d { type filter hook postrouting priority 0; meta mark 0x46000000-0x460fffff counter name ours; meta mark 0x77 counter name theirs; }
  chain e { type filter hook forward priority 0; meta mark 0x46000000-0x460fffff counter name ours; }
}
END
)");
  for (const NetNamespace* net : {stage.pod().net.get(), stage.node().net.get()}) {
    std::set<std::string> names;
    for (int i = 0; i < 4; ++i) {
      names.insert(Get(*net, "198.18.7.1", 80).name);
      names.insert(Get(*net, stage.node().ipv4, shape.node_port).name);
    }
    CHECK(names == std::set<std::string>{"web-1", "web-2"});
  }
  CHECK(absl::StrContains(stage.Run("nft list counter inet spy ours"), "packets 0 "));
  CHECK(Get(*stage.pod().net, "10.96.7.1", 80).ok());
  CHECK_FALSE(absl::StrContains(stage.Run("nft list counter inet spy theirs"), "packets 0 "));
}

// A TCP socket on the port of all addresses; connected where there is an address to connect to.
// Negative: the error, as errno has it.
int OpenTcp(const NetNamespace& net, int port, const std::string& to, int to_port) {
  return net.Run([&] {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    const timeval patience{.tv_sec = 3};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    const SocketAddress here = *ParseSocketAddress("0.0.0.0", port);
    bool good = bind(fd, here.get(), here.size) == 0;
    if (good && to.empty()) good = listen(fd, 1) == 0;
    if (good && !to.empty()) {
      const SocketAddress there = *ParseSocketAddress(to, to_port);
      good = connect(fd, there.get(), there.size) == 0;
    }
    if (good) return fd;
    const int error = errno;
    close(fd);
    return -error;
  });
}

// Nobody is told, connection tracking least of all.
void CloseInSilence(int fd) {
  const int on = 1;
  REQUIRE(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) == 0);
  REQUIRE(close(fd) == 0);
}

TEST_CASE("A connection that is only tracked opens no port of the host through a VIP") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  stage.Bring(stage.Shape());
  stage.Start();
  // An agent would put right what follows.
  stage.Stop();
  const int listener = OpenTcp(*stage.node().net, 81, "", 0);
  REQUIRE(listener >= 0);
  stage.Run("nft add element inet fairlead open4 '{ 10.96.7.1 . tcp . 81 }'");
  const int client = OpenTcp(*stage.pod().net, 40'000, "10.96.7.1", 81);
  REQUIRE(client >= 0);
  const int served = accept(listener, nullptr, nullptr);
  REQUIRE(served >= 0);
  stage.Run("nft delete element inet fairlead open4 '{ 10.96.7.1 . tcp . 81 }'");
  CloseInSilence(served);
  CloseInSilence(client);
  // For connection tracking this is a packet of the connection that it knows.
  CHECK(OpenTcp(*stage.pod().net, 40'000, "10.96.7.1", 81) == -ECONNREFUSED);
  close(listener);
}

TEST_CASE("The node does not answer ARP for a load balancer's address in its subnet") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  ServiceShape shape = stage.Shape();
  shape.load_balancer_ips = {"172.18.0.200"};
  stage.Bring(shape);
  stage.Start();
  CHECK(Get(*stage.pod().net, "172.18.0.200", 80).ok());
  const Response direct = Get(stage.client(), "172.18.0.200", 80, {.timeout = absl::Seconds(2)});
  INFO(direct);
  CHECK_FALSE(direct.ok());
  // Whoever announces the address sends its packets here: then it is served.
  REQUIRE(
      SetRoute(stage.client(), {.destination = "172.18.0.200", .gateway = stage.node().ipv4}).ok());
  CHECK(Get(stage.client(), "172.18.0.200", 80).ok());
}

TEST_CASE("The kernel does not translate ports where persistence is by mark") {
  FAIRLEAD_NEEDS_IPVS();
  // Why affinity of internal traffic is by a hashing scheduler.
  Stage stage;
  const std::string endpoint = absl::StrCat(stage.Endpoint("web-1").address, ":8080");
  stage.Run("sysctl -q -w net.ipv4.vs.conntrack=1");
  stage.Run("ip route add local 198.18.9.1 dev lo src 172.18.0.11");
  stage.Run(
      "nft add table ip t; nft 'add chain ip t c { type filter hook input priority 0; }'; "
      "nft add rule ip t c ip daddr 198.18.9.1 meta mark set 9");
  stage.Run("ipvsadm -A -f 9 -s rr");
  // ipvsadm cannot say the port of a mark's real server.
  stage.Run(absl::StrCat("ipvsadm -a -f 9 -r ", endpoint, " -m"));
  const bool plain = Get(*stage.pod().net, "198.18.9.1", 80).ok();
  stage.Run("ipvsadm -E -f 9 -s rr -p 60");
  const bool persistent = Get(*stage.pod().net, "198.18.9.1", 80).ok();
  CHECK(plain);
  CHECK_FALSE(persistent);
}

}  // namespace
}  // namespace fairlead::lab
