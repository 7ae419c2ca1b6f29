// The kernel and the plan: at scale, after restarts, after being killed, beside others.
#include <signal.h>

#include <catch2/catch.hpp>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "test/kernel/churn.h"
#include "test/kernel/harness.h"
#include "test/lab/http_client.h"
#include "test/lab/requirements.h"

namespace fairlead::lab {
namespace {

std::unique_ptr<Cluster> MakeCluster(int nodes = 1) {
  auto cluster = Cluster::Create({.node_count = nodes});
  INFO(cluster.status());
  REQUIRE(cluster.ok());
  return std::move(*cluster);
}

std::unique_ptr<Agent> StartAgent(const Node& node, const AgentOptions& options) {
  auto agent = Agent::Start(node, options);
  INFO(agent.status());
  REQUIRE(agent.ok());
  return std::move(*agent);
}

void StopAgent(Agent& agent) {
  REQUIRE(agent.process().Kill(SIGTERM).ok());
  const std::optional<int> exit_code = agent.process().Wait(absl::Seconds(20));
  INFO(agent.process().Log());
  REQUIRE(exit_code == 0);
}

// The lines, sorted, as far as ipvsadm's last column.
std::multiset<std::string> LinesWithoutNames(const std::string& text) {
  std::multiset<std::string> lines;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    lines.insert(std::string(absl::StripTrailingAsciiWhitespace(line.substr(0, 70))));
  }
  return lines;
}

std::string Run(const Node& node, const std::string& command, const std::string& input = "") {
  auto output = Shell(*node.net, command, input);
  INFO(command << ": " << output.status());
  REQUIRE(output.ok());
  return *output;
}

TEST_CASE(
    "After 2,000 random changes of 200 Services with 5,000 endpoints the kernel is the plan") {
  FAIRLEAD_NEEDS_IPVS();
  auto cluster = MakeCluster();
  const Node& node = cluster->node(1);
  const Folder manifests;
  const Folder work;
  Churn churn(manifests, 200, 25, 20261121);
  const AgentOptions options = OptionsFor(work, {manifests.path()});
  auto agent = StartAgent(node, options);
  CHECK(AwaitPlan(node, options) == "");
  for (int i = 0; i < 2000; ++i) churn.ChangeOne();
  CHECK(AwaitPlan(node, options) == "");

  // The plan is what ipvsadm can restore, and then saves again, to the byte.
  auto fresh = NetNamespace::Create("restored");
  REQUIRE(fresh.ok());
  const std::string saved = Run(node, "ipvsadm --save -n");
  CHECK(absl::StrContains(saved, "-a -t "));
  REQUIRE(Shell(**fresh, "ipvsadm --restore", saved).ok());
  auto again = Shell(**fresh, "ipvsadm --save -n");
  REQUIRE(again.ok());
  CHECK(*again == saved);
  StopAgent(*agent);
}

TEST_CASE("A restart with nothing changed writes nothing, and connections live on") {
  FAIRLEAD_NEEDS_IPVS();
  auto cluster = MakeCluster();
  const Node& node = cluster->node(1);
  const Folder manifests;
  const Folder work;
  Responder responder;
  std::string pods;
  for (const std::string name : {"web-1", "web-2"}) {
    auto pod = cluster->AddPod(name, 1);
    REQUIRE(pod.ok());
    REQUIRE(responder.AddHttp(*(*pod)->net, 8080, name).ok());
    pods += PodManifest(**pod, "web");
  }
  REQUIRE(cluster->AddPod("client-1", 1).ok());
  manifests.Write("pods.yaml", pods);
  manifests.Write("web.yaml",
                  "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  type: NodePort\n"
                  "  selector: {app: web}\n  ports: [{port: 80, targetPort: http}]\n");
  Churn churn(manifests, 20, 10, 1);
  const AgentOptions options = OptionsFor(work, {manifests.path()});
  auto agent = StartAgent(node, options);
  REQUIRE(AwaitPlan(node, options) == "");
  auto list = agent->List();
  REQUIRE(list.ok());
  const std::string vip = FindServer(*list, "default/web", "ClusterIP").at("address");
  LongConnection connection(*cluster->pod("client-1").net, vip, 80);
  REQUIRE(connection.Ask().ok());

  StopAgent(*agent);
  CHECK(connection.Ask().ok());
  agent = StartAgent(node, options);
  REQUIRE(agent->ListUntil([](const nlohmann::json&) { return true; }).ok());
  REQUIRE(WaitUntil(Agent::kPatience,
                    [&] { return absl::StrContains(agent->process().Log(), "first sync"); }));
  INFO(agent->process().Log());
  CHECK(absl::StrContains(agent->process().Log(), "wrote 0 operations, 0 elements, 0 routes"));
  CHECK(connection.Ask().ok());
  CHECK(DifferenceFromPlan(node, options) == "");

  INFO("fairlead list is ipvsadm -L -n, but for the names behind its last column");
  auto list_text = agent->ListText();
  REQUIRE(list_text.ok());
  CHECK(LinesWithoutNames(*list_text) == LinesWithoutNames(Run(node, "ipvsadm -L -n")));
}

TEST_CASE("A kill in the middle of a sync is made good by the next start") {
  FAIRLEAD_NEEDS_IPVS();
  constexpr int kKills = 5;
  auto cluster = MakeCluster();
  const Node& node = cluster->node(1);
  const Folder manifests;
  const Folder work;
  Churn churn(manifests, 60, 25, 7);
  const AgentOptions options = OptionsFor(work, {manifests.path()});
  int interrupted = 0;
  for (int i = 0; i < kKills; ++i) {
    auto agent = StartAgent(node, options);
    // As soon as there is the first virtual server, and a little later each time.
    REQUIRE(WaitUntil(Agent::kPatience, [&] {
      return i == 0 ? absl::StrContains(Run(node, "ipvsadm --save -n"), "-A")
                    : absl::StrContains(agent->process().Log(), "has address");
    }));
    WaitUntil(absl::Milliseconds(5 * i), [] { return false; });
    REQUIRE(agent->process().Kill(SIGKILL).ok());
    agent->process().Wait(absl::Seconds(10));
    if (!DifferenceFromPlan(node, options).empty()) ++interrupted;
    for (int change = 0; change < 30; ++change) churn.ChangeOne();
  }
  INFO("kills that left a difference: " << interrupted);
  CHECK(interrupted > 0);
  auto agent = StartAgent(node, options);
  CHECK(AwaitPlan(node, options) == "");
}

TEST_CASE("What others have in the kernel survives everything") {
  FAIRLEAD_NEEDS_IPVS();
  auto cluster = MakeCluster();
  const Node& node = cluster->node(1);
  Run(node, "ipvsadm --restore",
      "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 192.0.2.10:8080 -m -w 7\n"
      "-A -f 77 -s rr\n-a -f 77 -r 192.0.2.11:0 -g -w 1\n");
  Run(node, "ip route add local 192.0.2.7 dev lo proto 42");
  Run(node, "nft -f -",
      "table inet other {\n set s { type ipv4_addr; elements = { 192.0.2.9 }\n }\n"
      " chain c {\n  type filter hook input priority 5; policy accept;\n"
      "  ip saddr @s drop\n }\n}\n");
  const auto others = [&] {
    std::string seen;
    const std::string table = Run(node, "ipvsadm --save -n");
    for (absl::string_view line : absl::StrSplit(table, '\n')) {
      if (absl::StrContains(line, "192.0.2.") || absl::StrContains(line, "-f 77")) {
        absl::StrAppend(&seen, line, "\n");
      }
    }
    return absl::StrCat(seen, Run(node, "ip route show table local proto 42"),
                        Run(node, "nft list table inet other"));
  };
  const std::string before = others();
  REQUIRE(absl::StrContains(before, "-w 7"));

  const Folder manifests;
  const Folder work;
  Churn churn(manifests, 20, 5, 3);
  const AgentOptions options = OptionsFor(work, {manifests.path()});
  auto agent = StartAgent(node, options);
  const auto plan_reached = [&] {
    // The mark's line has no foreign address in it.
    std::string difference;
    WaitUntil(Agent::kPatience, [&] {
      difference = DifferenceFromPlan(node, options, "-f 77");
      std::string rest;
      for (absl::string_view line : absl::StrSplit(difference, '\n')) {
        if (!line.empty() && !absl::StrContains(line, "192.0.2.")) absl::StrAppend(&rest, line);
      }
      difference = rest;
      return difference.empty();
    });
    return difference;
  };
  CHECK(plan_reached() == "");
  CHECK(others() == before);
  for (int i = 0; i < 50; ++i) churn.ChangeOne();
  CHECK(plan_reached() == "");
  REQUIRE(agent->process().Kill(SIGKILL).ok());
  agent->process().Wait(absl::Seconds(10));
  agent = StartAgent(node, options);
  CHECK(plan_reached() == "");
  // All Services go; the others' entries stay.
  for (int i = 0; i < 20; ++i) {
    std::remove(manifests.Path(absl::StrCat("service-", i, ".yaml")).c_str());
  }
  CHECK(plan_reached() == "");
  CHECK(others() == before);
  StopAgent(*agent);
  CHECK(others() == before);
}

TEST_CASE("A virtual server that is wanted and was there before is taken over in place") {
  FAIRLEAD_NEEDS_IPVS();
  auto cluster = MakeCluster();
  const Node& node = cluster->node(1);
  Run(node, "ipvsadm --restore",
      "-A -t 10.96.7.7:80 -s wlc -p 300\n-a -t 10.96.7.7:80 -r 10.245.0.1:8080 -m -w 7\n"
      "-a -t 10.96.7.7:80 -r 10.245.9.9:8080 -m -w 1\n");
  const Folder manifests;
  const Folder work;
  manifests.Write(
      "web.yaml",
      "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  clusterIP: 10.96.7.7\n"
      "  ports: [{port: 80}]\n---\napiVersion: discovery.k8s.io/v1\nkind: "
      "EndpointSlice\nmetadata:\n"
      "  name: web-a\n  labels: {kubernetes.io/service-name: web}\naddressType: IPv4\n"
      "ports: [{name: '', port: 8080}]\nendpoints: [{addresses: [10.245.0.1]}]\n");
  const AgentOptions options = OptionsFor(work, {manifests.path()});
  auto agent = StartAgent(node, options);
  CHECK(AwaitPlan(node, options) == "");
  CHECK(Run(node, "ipvsadm --save -n") ==
        "-A -t 10.96.7.7:80 -s rr\n-a -t 10.96.7.7:80 -r 10.245.0.1:8080 -m -w 1\n");
}

}  // namespace
}  // namespace fairlead::lab
