#include "test/life/stage.h"

#include <signal.h>
#include <stdlib.h>

#include <catch2/catch.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "test/proxy/health/http_client.h"

namespace fairlead::lab {
namespace {

constexpr int kServerPort = 8080;
constexpr int kMetricsPort = 10249;
// Of the client, in whose namespace the watcher runs.
constexpr char kWatcher[] = "172.18.0.100:10270";

}  // namespace

Stage::Stage() {
  Build();
  Write(Web());
  Write(Clock());
}

Stage::~Stage() {
  // Before the namespaces that they are in.
  agent_.reset();
  watcher_.reset();
}

void Stage::Build() {
  auto made = Cluster::Create({.node_count = 2, .ipv6 = false});
  INFO(made.status());
  REQUIRE(made.ok());
  cluster_ = *std::move(made);
  responder_ = std::make_unique<Responder>();
  REQUIRE(cluster_->AddPod("client-1", 1).ok());
  AddEndpoint("web-1", 1);
  AddEndpoint("web-2", 2);
}

const Pod& Stage::AddEndpoint(const std::string& name, int node_number) {
  const auto pod = cluster_->AddPod(name, node_number);
  INFO(name << ": " << pod.status());
  REQUIRE(pod.ok());
  const auto server = responder_->AddHttp(*(*pod)->net, kServerPort, name);
  REQUIRE(server.ok());
  servers_[name] = *server;
  REQUIRE(responder_->AddUdp(*(*pod)->net, kServerPort, name).ok());
  return **pod;
}

ShapeEndpoint Stage::Endpoint(const std::string& pod, const std::string& conditions) const {
  const Pod& found = cluster_->pod(pod);
  return {found.ipv4, absl::StrCat("n", found.node), conditions};
}

ServiceShape Stage::Shape(const std::string& name, int number,
                          const std::vector<std::string>& pods) const {
  ServiceShape shape;
  shape.name = name;
  shape.type = "NodePort";
  shape.cluster_ip = absl::StrCat("10.96.7.", number);
  shape.external_ips = {};
  shape.node_port = 30700 + number;
  shape.slices.emplace_back();
  for (const std::string& pod : pods) shape.slices[0].push_back(Endpoint(pod));
  return shape;
}

ServiceShape Stage::Web() const { return Shape("web", 1, {"web-1", "web-2"}); }

ServiceShape Stage::Clock() const {
  ServiceShape shape = Shape("clock", 2, {"web-1", "web-2"});
  shape.protocol = "UDP";
  return shape;
}

void Stage::Write(const ServiceShape& shape) const {
  manifests_.Write(shape.name + ".yaml", shape.Manifest());
}

AgentOptions Stage::OptionsWith(const std::vector<std::string>& flags) const {
  std::vector<std::string> manifests = more_manifests_;
  manifests.insert(manifests.begin(), manifests_.path());
  return OptionsFor(work_, manifests, flags);
}

void Stage::StartAgent(const std::vector<std::string>& flags, const std::string& program) {
  AgentOptions options = OptionsWith(flags);
  options.program = program;
  Launch(options);
}

void Stage::StartFedAgent(const std::vector<std::string>& flags) {
  AgentOptions options = OptionsWith(flags);
  options.watchers = {kWatcher};
  options.transport_flags = {"--insecure-plaintext"};
  Launch(options);
}

void Stage::Launch(const AgentOptions& options) {
  agent_options_ = options;
  RestartAgent();
}

void Stage::RestartAgent() {
  agent_.reset();
  auto started = Agent::Start(node(), agent_options_);
  INFO(started.status());
  REQUIRE(started.ok());
  agent_ = *std::move(started);
}

void Stage::KillAgent() {
  INFO(AgentLog());
  REQUIRE(agent_->process().Kill(SIGKILL).ok());
  REQUIRE(agent_->process().Wait(absl::Seconds(20)) == 128 + SIGKILL);
}

void Stage::StopAgent() {
  INFO(AgentLog());
  REQUIRE(agent_->process().Kill(SIGTERM).ok());
  REQUIRE(agent_->process().Wait(absl::Seconds(20)) == 0);
}

void Stage::StartWatcher() {
  std::vector<std::string> manifests = more_manifests_;
  manifests.insert(manifests.begin(), manifests_.path());
  auto started = Watcher::Start(client(), {.program = Program(),
                                           .manifests = manifests,
                                           .folder = work_.path(),
                                           .flags = {"--insecure-plaintext"}});
  INFO(started.status());
  REQUIRE(started.ok());
  watcher_ = *std::move(started);
}

void Stage::KillWatcher() {
  REQUIRE(watcher_->process().Kill(SIGKILL).ok());
  REQUIRE(watcher_->process().Wait(absl::Seconds(20)) == 128 + SIGKILL);
}

void Stage::AwaitFirstSync() const {
  const bool synced = WaitUntil(Agent::kPatience, [&] { return HasSynced(); });
  INFO(AgentLog());
  REQUIRE(synced);
}

bool Stage::HasSynced() const { return absl::StrContains(AgentLog(), "first sync, revision "); }

std::string Stage::DifferenceNow() const {
  // The planner does not know the agent's own flags.
  return DifferenceFromPlan(node(), OptionsWith({}), "192.0.2.", /*draining=*/true);
}

void Stage::AwaitPlan() const {
  const std::string difference =
      fairlead::lab::AwaitPlan(node(), OptionsWith({}), /*draining=*/true);
  if (difference.empty()) return;
  INFO(AgentLog());
  INFO(TryRun("ipvsadm --save -n; nft list table inet fairlead").value_or("no table"));
  FAIL_CHECK(difference);
  FAIL(absl::StrCat("failures: ", Metrics()["fairlead_sync_failures"]));
}

Series Stage::Metrics() const {
  Series metrics;
  // An agent that is busy may let a connection go.
  WaitUntil(Agent::kPatience, [&] {
    const auto answer = node().net->Run(
        [] { return Ask(IpAddress::Parse("127.0.0.1").value(), kMetricsPort, "/metrics"); });
    if (answer.ok()) metrics = ParseMetrics(answer->body);
    return !metrics.empty();
  });
  return metrics;
}

std::map<std::string, int64_t> Stage::ByKind(const std::string& metric) const {
  std::map<std::string, int64_t> by_kind;
  const std::string start = absl::StrCat(metric, "{kind=\"");
  const Series metrics = Metrics();
  for (const auto& [series, value] : metrics) {
    absl::string_view kind = series;
    if (absl::ConsumePrefix(&kind, start) && absl::ConsumeSuffix(&kind, "\"}")) {
      by_kind.emplace(kind, static_cast<int64_t>(value));
    }
  }
  return by_kind;
}

int64_t Stage::Writes() const {
  const auto by_kind = ByKind("fairlead_kernel_writes_total");
  REQUIRE_FALSE(by_kind.empty());
  int64_t writes = 0;
  for (const auto& [kind, count] : by_kind) writes += count;
  return writes;
}

std::string Stage::AgentLog() const { return agent_ == nullptr ? "" : agent_->process().Log(); }

std::vector<Flow> Stage::Flows() const {
  const ServiceShape web = Web();
  const ServiceShape clock = Clock();
  const NetNamespace* from_node = node().net.get();
  return {
      {.name = "pod to cluster IP",
       .net = &pod(),
       .address = web.cluster_ip,
       .port = web.port,
       .per_second = 20,
       .held = 3},
      {.name = "node to cluster IP",
       .net = from_node,
       .address = web.cluster_ip,
       .port = web.port,
       .per_second = 10,
       .held = 3},
      {.name = "outside to node port",
       .net = &client(),
       .address = node().ipv4,
       .port = web.node_port,
       .per_second = 10,
       .held = 3},
      {.name = "pod to cluster IP, UDP",
       .net = &pod(),
       .address = clock.cluster_ip,
       .port = clock.port,
       .transport = Transport::kUdp,
       .per_second = 5,
       .held = 2},
      {.name = "outside to node port, UDP",
       .net = &client(),
       .address = node().ipv4,
       .port = clock.node_port,
       .transport = Transport::kUdp,
       .per_second = 5,
       .held = 2},
  };
}

absl::StatusOr<std::string> Stage::TryRun(const std::string& command) const {
  return Shell(*node().net, std::vector<std::string>{"bash", "-c", command}, /*input=*/{},
               2 * Agent::kPatience);
}

std::string Stage::Run(const std::string& command) const {
  auto output = TryRun(command);
  INFO(command << ": " << output.status());
  REQUIRE(output.ok());
  return *output;
}

void Stage::Reboot() {
  agent_.reset();
  watcher_.reset();
  servers_.clear();
  responder_.reset();
  cluster_.reset();
  Build();
}

FlowSummary CheckUnharmed(const std::vector<FlowSummary>& summaries) {
  for (const FlowSummary& summary : summaries) {
    INFO(summary);
    CHECK(summary.answered > 0);
    CHECK(summary.failed == 0);
    CHECK(summary.lost == 0);
  }
  return Total(summaries);
}

int NumberFromEnvironment(const char* name, int otherwise) {
  const char* text = getenv(name);
  int number = 0;
  return text != nullptr && absl::SimpleAtoi(text, &number) ? number : otherwise;
}

}  // namespace fairlead::lab
