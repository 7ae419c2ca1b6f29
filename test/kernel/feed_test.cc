// Agents that are fed by watchers over the network: who is let in, what becomes of them when a
// watcher goes, and what they begin with when none answers.
#include <signal.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "test/kernel/harness.h"
#include "test/kernel/service_shape.h"
#include "test/lab/http_client.h"
#include "test/lab/load_generator.h"
#include "test/lab/requirements.h"
#include "test/lab/watcher.h"
#include "test/proxy/health/http_client.h"
#include "test/watcher/feed/certificates.h"

namespace fairlead::lab {
namespace {

using feed_test::Authority;
using feed_test::MountedSecret;

constexpr int kNodes = 3;
// In the watchers' certificates.
constexpr char kWatcherName[] = "watcher.example";
// Of the client, in whose namespace the watchers run.
constexpr char kWatcherAddress[] = "172.18.0.100";

// What the server at the namespace's loopback answers; empty where there is none. In this process:
// a start of curl takes most of a second on an emulated machine.
std::string Fetch(const NetNamespace& net, int port, const std::string& path) {
  const auto answer = net.Run([&] {
    return fairlead::Ask(IpAddress::Parse("127.0.0.1").value(), static_cast<uint16_t>(port), path);
  });
  return answer.ok() ? answer->body : "";
}

// Of Stage::WritesOf.
Series NoWrites() {
  return {{"fairlead_kernel_writes_total{kind=\"element\"}", 0},
          {"fairlead_kernel_writes_total{kind=\"ipvs\"}", 0},
          {"fairlead_kernel_writes_total{kind=\"route\"}", 0}};
}

// Three nodes, each with an endpoint of the Service "web" and a pod that asks, and certificates for
// agents and watchers. Watchers and agents are started by the test.
class Stage {
 public:
  Stage() {
    auto made = Cluster::Create({.node_count = kNodes, .ipv6 = false});
    INFO(made.status());
    REQUIRE(made.ok());
    cluster_ = *std::move(made);
    for (int i = 1; i <= kNodes; ++i) {
      const std::string endpoint = absl::StrCat("web-", i);
      auto pod = cluster_->AddPod(endpoint, i);
      REQUIRE(pod.ok());
      REQUIRE(responder_.AddHttp(*(*pod)->net, 8080, endpoint).ok());
      REQUIRE(cluster_->AddPod(absl::StrCat("client-", i), i).ok());
      AddSecret(authority_, node(i).name, node(i).name);
    }
    AddSecret(authority_, "watcher", kWatcherName);
    AddSecret(stranger_, "stranger", "n3");
    Write(Web({1, 2, 3}));
  }

  // The Service that is there from the beginning, with endpoints on these nodes.
  ServiceShape Web(const std::vector<int>& nodes) const {
    ServiceShape shape;
    shape.slices.emplace_back();
    for (const int i : nodes) {
      const Pod& pod = cluster_->pod(absl::StrCat("web-", i));
      shape.slices[0].push_back({pod.ipv4, absl::StrCat("n", pod.node)});
    }
    return shape;
  }

  // Another one, with the same endpoints.
  ServiceShape Second() const {
    ServiceShape shape = Web({1, 2, 3});
    shape.name = "second";
    shape.type = "ClusterIP";
    shape.cluster_ip = "10.96.7.2";
    shape.external_ips = {};
    return shape;
  }

  void Write(const ServiceShape& shape) const {
    manifests_.Write(shape.name + ".yaml", shape.Manifest());
  }

  // "a" or "b", each with a port of its own.
  Watcher& StartWatcher(const std::string& name = "a") {
    std::vector<std::string> flags = TlsFlags("watcher", "--tls-client-ca-file");
    flags.emplace_back("--require-node-name");
    watchers_.erase(name);
    auto watcher = Watcher::Start(cluster_->client(), {.program = Program(),
                                                       .manifests = {manifests_.path()},
                                                       .folder = work_.path(),
                                                       .name = name,
                                                       .port = PortOf(name),
                                                       .flags = flags});
    INFO(watcher.status());
    REQUIRE(watcher.ok());
    return *(watchers_[name] = *std::move(watcher));
  }

  Watcher& watcher(const std::string& name = "a") { return *watchers_.at(name); }
  std::string AddressOf(const std::string& watcher) const {
    return absl::StrCat(kWatcherAddress, ":", PortOf(watcher));
  }

  void KillWatcher(const std::string& name = "a") {
    REQUIRE(watcher(name).process().Kill(SIGKILL).ok());
    REQUIRE(watcher(name).process().Wait(absl::Seconds(10)) == 128 + SIGKILL);
  }

  // As the agent of the node has them, with its own certificate.
  AgentOptions OptionsOf(int number, const std::vector<std::string>& watchers = {"a"}) const {
    AgentOptions options = OptionsFor(work_, {manifests_.path()});
    for (const std::string& watcher : watchers) options.watchers.push_back(AddressOf(watcher));
    options.transport_flags = TransportFlags(node(number).name);
    return options;
  }

  std::vector<std::string> TransportFlags(const std::string& secret) const {
    std::vector<std::string> flags = TlsFlags(secret, "--tls-ca-file");
    flags.insert(flags.end(), {"--tls-server-name", kWatcherName});
    return flags;
  }

  void StartAgent(int number, const AgentOptions& options) {
    auto started = Agent::Start(node(number), options);
    INFO(started.status());
    REQUIRE(started.ok());
    agents_[static_cast<size_t>(number)] = *std::move(started);
  }

  void StartAgents(const std::vector<std::string>& watchers = {"a"}) {
    for (int i = 1; i <= kNodes; ++i) StartAgent(i, OptionsOf(i, watchers));
  }

  void StopAgent(int number) {
    REQUIRE(agent(number).process().Kill(SIGTERM).ok());
    const std::optional<int> exit_code = agent(number).process().Wait(absl::Seconds(20));
    INFO(agent(number).process().Log());
    REQUIRE(exit_code == 0);
  }

  void AwaitPlanOf(int number) const {
    const std::string difference = AwaitPlan(node(number), OptionsOf(number), /*draining=*/true);
    INFO(node(number).name << ": " << agent(number).process().Log());
    REQUIRE(difference == "");
  }

  void AwaitPlans() const {
    for (int i = 1; i <= kNodes; ++i) AwaitPlanOf(i);
  }

  // Until so many agents are connected to the watcher and have all it has in their kernels.
  void AwaitCurrent(int count, const std::string& name = "a") const {
    Series metrics;
    const bool current = WaitUntil(Agent::kPatience, [&] {
      metrics = WatcherMetrics(name);
      return metrics["fairlead_watcher_complete"] == 1 &&
             metrics["fairlead_watcher_subscribers"] == count &&
             metrics["fairlead_watcher_nodes_behind"] == 0;
    });
    INFO(watchers_.at(name)->process().Log());
    CAPTURE(metrics);
    REQUIRE(current);
  }

  // Empty where it does not answer.
  Series WatcherMetrics(const std::string& name = "a") const {
    return ParseMetrics(Fetch(cluster_->client(), PortOf(name) + 2, "/metrics"));
  }

  // The output of a command on the node; fails the test where it fails.
  std::string Run(int number, const std::string& command, const std::string& input = "") const {
    auto output = Shell(*node(number).net, command, input);
    INFO(command << ": " << output.status());
    REQUIRE(output.ok());
    return *output;
  }

  // What the agent's /healthz says of its feed; empty where it does not answer.
  nlohmann::json FeedHealth(int number) const {
    const nlohmann::json body = nlohmann::json::parse(Fetch(*node(number).net, 10256, "/healthz"),
                                                      nullptr, /*allow_exceptions=*/false);
    return body.is_object() ? body.at("feed") : nlohmann::json::object();
  }

  // How often each agent has written to its kernel, by kind.
  std::vector<Series> Writes() const {
    std::vector<Series> writes;
    for (int i = 1; i <= kNodes; ++i) writes.push_back(WritesOf(i));
    return writes;
  }

  Series WritesOf(int number) const {
    Series writes = AgentMetrics(number);
    std::erase_if(writes, [](const auto& entry) {
      return !absl::StartsWith(entry.first, "fairlead_kernel_writes_total");
    });
    REQUIRE(writes.size() == 3);
    return writes;
  }

  Series AgentMetrics(int number) const {
    return ParseMetrics(Fetch(*node(number).net, 10249, "/metrics"));
  }

  // Requests from the node's pod, on connections of their own.
  Response Ask(int number, const std::string& vip = "10.96.7.1") const {
    return Get(client_pod(number), vip, 80);
  }

  // Every one of some requests from the node's pod has an answer.
  void CheckServed(int number, const std::string& vip = "10.96.7.1") const {
    for (int i = 0; i < kNodes; ++i) {
      const Response response = Ask(number, vip);
      INFO("from n" << number << " to " << vip << ": " << response);
      CHECK(response.ok());
    }
  }

  const NetNamespace& client_pod(int number) const {
    return *cluster_->pod(absl::StrCat("client-", number)).net;
  }
  const Node& node(int number) const { return cluster_->node(number); }
  Agent& agent(int number) const { return *agents_.at(static_cast<size_t>(number)); }
  std::string PictureOf(int number) const {
    return work_.Path(absl::StrCat(node(number).name, "/picture"));
  }
  const Folder& manifests() const { return manifests_; }

 private:
  static int PortOf(const std::string& watcher) { return watcher == "a" ? 10270 : 10280; }

  void AddSecret(const Authority& authority, const std::string& secret, const std::string& name) {
    secrets_.emplace(secret, std::make_unique<MountedSecret>(
                                 authority.Issue({.common_name = name, .dns_names = {name}}),
                                 authority_.certificate()));
  }

  std::vector<std::string> TlsFlags(const std::string& secret, const std::string& ca_flag) const {
    const TlsFiles files = secrets_.at(secret)->files();
    return {"--tls-cert-file", files.certificate, "--tls-key-file",
            files.key,         ca_flag,           files.authorities};
  }

  const Authority authority_{"the lab's"};
  const Authority stranger_{"somebody else's"};
  std::map<std::string, std::unique_ptr<MountedSecret>> secrets_;
  std::unique_ptr<Cluster> cluster_;
  Responder responder_;
  Folder manifests_;
  Folder work_;
  std::map<std::string, std::unique_ptr<Watcher>> watchers_;
  std::array<std::unique_ptr<Agent>, kNodes + 1> agents_;
};

// Requests from a pod of each node, until the end of the test.
class Load {
 public:
  explicit Load(const Stage& stage) {
    for (int i = 1; i <= kNodes; ++i) {
      generators_.push_back(std::make_unique<LoadGenerator>(
          stage.client_pod(i), LoadOptions{.address = "10.96.7.1",
                                           .port = 80,
                                           .concurrency = 1,
                                           .pause = absl::Milliseconds(100)}));
    }
  }

  // None has failed, and there were some on each node.
  void StopAndCheck() {
    for (const auto& generator : generators_) {
      const LoadSummary summary = generator->Stop();
      INFO(summary);
      CHECK(summary.failed() == 0);
      CHECK(summary.ok > 0);
    }
  }

 private:
  std::vector<std::unique_ptr<LoadGenerator>> generators_;
};

bool Eventually(const std::function<bool()>& holds) { return WaitUntil(Agent::kPatience, holds); }

TEST_CASE("Fed agents: those that may come to the plan, and the watcher knows how far each is") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  Watcher& watcher = stage.StartWatcher();
  stage.AwaitCurrent(0);

  struct Row {
    std::string name;
    int number;
    std::vector<std::string> transport_flags;
    std::string logged;
  };
  const std::vector<Row> rows = {
      {"no certificate", 1, {"--insecure-plaintext"}, "UNAVAILABLE"},
      {"a certificate of another authority", 2, stage.TransportFlags("stranger"), "UNAVAILABLE"},
      {"the certificate of another node", 3, stage.TransportFlags("n1"),
       "PERMISSION_DENIED: the certificate of this connection is not that of node n3"}};
  for (const Row& row : rows) {
    AgentOptions options = stage.OptionsOf(row.number);
    options.transport_flags = row.transport_flags;
    stage.StartAgent(row.number, options);
  }
  for (const Row& row : rows) {
    INFO(row.name);
    const Process& process = stage.agent(row.number).process();
    CHECK(Eventually([&] { return absl::StrContains(process.Log(), row.logged); }));
    INFO(process.Log());
    auto list = stage.agent(row.number).List();
    REQUIRE(list.ok());
    CHECK_FALSE(list->at("complete"));
    CHECK_FALSE(list->at("feed").at("connected"));
    CHECK(stage.Run(row.number, "ipvsadm --save -n") == "");
    stage.StopAgent(row.number);
    CHECK_FALSE(std::filesystem::exists(stage.PictureOf(row.number)));
  }
  Series metrics = stage.WatcherMetrics();
  CHECK(metrics["fairlead_watcher_refused_total{reason=\"identity\"}"] >= 1);
  CHECK(metrics["fairlead_watcher_subscribers"] == 0);

  stage.StartAgents();
  stage.AwaitPlans();
  for (int i = 1; i <= kNodes; ++i) stage.CheckServed(i);
  stage.AwaitCurrent(kNodes);
  const auto text = watcher.NodesText();
  REQUIRE(text.ok());
  INFO(*text);
  CHECK(absl::StrContains(*text, "3 nodes connected, 3 of them current\n"));
  metrics = stage.WatcherMetrics();
  CHECK(metrics["fairlead_watcher_subscribers"] == kNodes);
  CHECK(metrics["fairlead_watcher_nodes_behind"] == 0);
  CHECK(metrics["fairlead_watcher_nodes_failing"] == 0);
  const double revision = metrics["fairlead_watcher_revision"];
  CHECK(revision > 0);

  stage.Write(stage.Second());
  stage.Write(stage.Web({1, 3}));
  stage.AwaitPlans();
  for (int i = 1; i <= kNodes; ++i) {
    stage.CheckServed(i, "10.96.7.2");
    for (int request = 0; request < kNodes; ++request) {
      const Response response = stage.Ask(i);
      INFO(response);
      CHECK(response.ok());
      CHECK(response.name != "web-2");
    }
  }
  stage.AwaitCurrent(kNodes);
  metrics = stage.WatcherMetrics();
  CHECK(metrics["fairlead_watcher_revision"] > revision);
  CHECK(metrics["fairlead_watcher_nodes_behind"] == 0);
}

TEST_CASE("Fed agents keep their kernels while their watcher is away and when it is back") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  stage.StartWatcher();
  stage.StartAgents();
  stage.AwaitPlans();
  stage.AwaitCurrent(kNodes);
  auto nodes = stage.watcher().Nodes();
  REQUIRE(nodes.ok());
  const std::string epoch = nodes->at("epoch");
  const std::vector<Series> writes = stage.Writes();

  Load load(stage);
  stage.KillWatcher();
  for (int i = 1; i <= kNodes; ++i) {
    CHECK(Eventually([&] { return stage.FeedHealth(i)["connected"] == false; }));
  }
  const auto messages = stage.agent(1).ListMessages();
  REQUIRE(messages.ok());
  CHECK_THAT(*messages, Catch::Matchers::Matches(
                            "fairlead list: no feeder answers; the picture was current [0-9ms]+ "
                            "ago\n"));

  stage.StartWatcher();
  stage.AwaitCurrent(kNodes);
  nodes = stage.watcher().Nodes();
  REQUIRE(nodes.ok());
  CHECK(nodes->at("epoch") != epoch);
  CHECK(stage.Writes() == writes);
  for (int i = 1; i <= kNodes; ++i) {
    CHECK(stage.FeedHealth(i).at("connected") == true);
    stage.CheckServed(i);
  }
  CHECK(stage.agent(1).ListMessages().value_or("failed") == "");

  // What the new one says counts.
  stage.Write(stage.Second());
  stage.AwaitPlans();
  for (int i = 1; i <= kNodes; ++i) stage.CheckServed(i, "10.96.7.2");
  load.StopAndCheck();
}

TEST_CASE("Fed agents of a watcher that dies go on to the next one, and write nothing") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  stage.StartWatcher("a");
  stage.StartWatcher("b");
  stage.StartAgents({"a", "b"});
  stage.AwaitPlans();
  std::map<std::string, int> followers;
  for (int i = 1; i <= kNodes; ++i) {
    REQUIRE(Eventually([&] { return stage.FeedHealth(i)["connected"] == true; }));
    ++followers[stage.FeedHealth(i).at("feeder")];
  }
  const std::string dies = stage.FeedHealth(1).at("feeder") == stage.AddressOf("a") ? "a" : "b";
  const std::string stays = dies == "a" ? "b" : "a";
  stage.AwaitCurrent(followers[stage.AddressOf(dies)], dies);
  stage.AwaitCurrent(followers[stage.AddressOf(stays)], stays);
  const std::vector<Series> writes = stage.Writes();

  Load load(stage);
  const absl::Time killed = absl::Now();
  stage.KillWatcher(dies);
  stage.AwaitCurrent(kNodes, stays);
  const absl::Duration took = absl::Now() - killed;
  // By the end of their connections, not by the silence.
  CHECK(took < absl::Seconds(10));
  CHECK(stage.Writes() == writes);
  for (int i = 1; i <= kNodes; ++i) {
    CHECK(stage.FeedHealth(i).at("feeder") == stage.AddressOf(stays));
  }
  stage.Write(stage.Second());
  stage.AwaitPlans();
  for (int i = 1; i <= kNodes; ++i) stage.CheckServed(i, "10.96.7.2");
  load.StopAndCheck();
  std::printf("%d agents of two watchers were all fed by one %s after the other was killed\n",
              kNodes, absl::FormatDuration(absl::Trunc(took, absl::Milliseconds(1))).c_str());
}

TEST_CASE("Fed by nobody, an agent begins with the picture that it saved") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  stage.Write(stage.Second());
  stage.StartWatcher();
  stage.StartAgent(1, stage.OptionsOf(1));
  stage.AwaitPlanOf(1);
  stage.AwaitCurrent(1);
  stage.StopAgent(1);
  const absl::Time stopped = absl::Now();
  stage.KillWatcher();

  // As after a restart of the machine.
  stage.Run(1, "ipvsadm -C");
  stage.Run(1, "nft flush ruleset");
  stage.Run(1, "ip route flush table local proto 119");
  REQUIRE_FALSE(Get(stage.client_pod(1), "10.96.7.1", 80, {.timeout = absl::Seconds(1)}).ok());
  const absl::Time start = absl::Now();
  stage.StartAgent(1, stage.OptionsOf(1));
  stage.AwaitPlanOf(1);
  const absl::Duration took = absl::Now() - start;
  CHECK(took < absl::Seconds(20));
  stage.CheckServed(1);
  nlohmann::json feed = stage.FeedHealth(1);
  INFO(feed);
  CHECK(feed.at("connected") == false);
  CHECK(feed.at("savedPicture") == true);
  CHECK(feed.at("ageSeconds") >= absl::ToInt64Seconds(start - stopped));
  const auto messages = stage.agent(1).ListMessages();
  REQUIRE(messages.ok());
  CHECK_THAT(*messages, Catch::Matchers::Matches(
                            "fairlead list: no feeder answers; the picture is one from disk, "
                            "saved [0-9ms]+ ago\n"));
  const Series metrics = stage.AgentMetrics(1);
  CHECK(metrics.at("fairlead_feed_saved_picture") == 1);
  CHECK(metrics.at("fairlead_feed_connected") == 0);
  CHECK(metrics.at("fairlead_feed_age_seconds") >= absl::ToDoubleSeconds(start - stopped));

  // A watcher of another epoch, and what has gone meanwhile.
  stage.manifests().Remove("second.yaml");
  stage.StartWatcher();
  stage.AwaitPlanOf(1);
  CHECK(Eventually([&] { return stage.FeedHealth(1)["savedPicture"] == false; }));
  stage.CheckServed(1);
  CHECK(stage.agent(1).ListMessages().value_or("failed") == "");
  std::printf("%s from the start of an agent without a watcher to the plan in an empty kernel\n",
              absl::FormatDuration(absl::Trunc(took, absl::Milliseconds(1))).c_str());
}

TEST_CASE("Fed by nobody and with a damaged picture, an agent leaves the kernel as it is") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  stage.StartWatcher();
  stage.StartAgent(1, stage.OptionsOf(1));
  stage.AwaitPlanOf(1);
  stage.AwaitCurrent(1);
  stage.StopAgent(1);
  stage.KillWatcher();
  std::string picture = feed_test::ReadFile(stage.PictureOf(1));
  picture[picture.size() / 2] ^= 1;
  feed_test::WriteFile(stage.PictureOf(1), picture);

  stage.StartAgent(1, stage.OptionsOf(1));
  const Process& process = stage.agent(1).process();
  CHECK(Eventually([&] { return absl::StrContains(process.Log(), "its checksum is wrong"); }));
  CHECK(Eventually([&] { return stage.agent(1).List().ok(); }));
  INFO(process.Log());
  CHECK(feed_test::ReadFile(stage.PictureOf(1) + ".damaged") == picture);
  CHECK_FALSE(std::filesystem::exists(stage.PictureOf(1)));
  const auto list = stage.agent(1).List();
  REQUIRE(list.ok());
  CHECK(list->at("complete") == false);
  CHECK(stage.FeedHealth(1).at("savedPicture") == false);
  stage.CheckServed(1);

  stage.StartWatcher();
  stage.AwaitCurrent(1);
  CHECK(DifferenceFromPlan(stage.node(1), stage.OptionsOf(1)) == "");
  CHECK(stage.WritesOf(1) == NoWrites());
  CHECK(stage.FeedHealth(1).at("connected") == true);
  stage.Write(stage.Second());
  stage.AwaitPlanOf(1);
  stage.CheckServed(1, "10.96.7.2");
  stage.StopAgent(1);
  CHECK(std::filesystem::exists(stage.PictureOf(1)));
}

TEST_CASE("Fed agents that are restarted write nothing but what has changed meanwhile") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  stage.Write(stage.Second());
  stage.StartWatcher();
  stage.StartAgents();
  stage.AwaitPlans();
  stage.AwaitCurrent(kNodes);
  for (int i = 1; i <= kNodes; ++i) stage.StopAgent(i);

  // One has its saved picture, one has lost it.
  std::filesystem::remove(stage.PictureOf(2));
  for (const int i : {1, 2}) stage.StartAgent(i, stage.OptionsOf(i));
  stage.AwaitCurrent(2);
  for (const int i : {1, 2}) {
    const std::string log = stage.agent(i).process().Log();
    INFO(log);
    CHECK(absl::StrContains(log, "wrote 0 operations, 0 elements, 0 routes"));
    CHECK(stage.WritesOf(i) == NoWrites());
    stage.CheckServed(i);
  }

  // One has missed that a Service and an endpoint have gone.
  stage.manifests().Remove("second.yaml");
  stage.Write(stage.Web({1, 2}));
  for (const int i : {1, 2}) stage.AwaitPlanOf(i);
  stage.StartAgent(3, stage.OptionsOf(3));
  stage.AwaitPlanOf(3);
  stage.AwaitCurrent(kNodes);
  CHECK_FALSE(absl::StrContains(stage.Run(3, "ipvsadm --save -n"), "10.96.7.2"));
  stage.CheckServed(3);
}

}  // namespace
}  // namespace fairlead::lab
