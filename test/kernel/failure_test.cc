// What an agent says, and what still works, where the machine denies it something.
#include <signal.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "proxy/health/listening_socket.h"
#include "test/kernel/harness.h"
#include "test/kernel/service_shape.h"
#include "test/lab/http_client.h"
#include "test/lab/responder.h"
#include "test/proxy/health/http_client.h"

namespace fairlead::lab {
namespace {

constexpr uint16_t kHealthzPort = 10256;
constexpr uint16_t kMetricsPort = 10249;

IpAddress Ip(const std::string& text) { return IpAddress::Parse(text).value(); }

// A node with an endpoint of the Service "web" and a pod that asks.
class Stage {
 public:
  Stage() {
    auto made = Cluster::Create({.node_count = 1, .ipv6 = false});
    INFO(made.status());
    REQUIRE(made.ok());
    cluster_ = *std::move(made);
    for (const char* name : {"web-1", "client-1"}) {
      auto pod = cluster_->AddPod(name, 1);
      REQUIRE(pod.ok());
    }
    REQUIRE(responder_.AddHttp(*cluster_->pod("web-1").net, 8080, "web-1").ok());
    ServiceShape shape;
    shape.slices = {{{cluster_->pod("web-1").ipv4, "n1", ""}}};
    manifests_.Write("web.yaml", shape.Manifest());
    vip_ = shape.cluster_ip;
    // What the agent chooses for it is what it has to remember.
    manifests_.Write("nameless.yaml",
                     "apiVersion: v1\nkind: Service\nmetadata: {name: nameless}\n"
                     "spec: {ports: [{port: 80}]}\n");
    options = OptionsFor(work, {manifests_.path()});
  }

  // Starts the agent in a mount namespace of its own in which `prelude`, lines of a shell, has been
  // carried out. `with` stands before the program: "setpriv …".
  void Start(const std::string& prelude = "true", const std::string& with = "") {
    work.Write("start.sh", absl::StrCat("set -e\nmount --make-rprivate /\n", prelude, "\nexec ",
                                        with, " ", Program(), " \"$@\"\n"));
    work.Write("fairlead", absl::StrCat("#!/bin/bash\nexec unshare -m bash ", work.Path("start.sh"),
                                        " \"$@\"\n"));
    chmod(work.Path("fairlead").c_str(), 0755);
    AgentOptions wrapped = options;
    wrapped.program = work.Path("fairlead");
    wrapped.flags = flags;
    auto started = Agent::Start(node(), wrapped);
    REQUIRE(started.ok());
    agent = *std::move(started);
  }

  // Whether the agent says it before long.
  bool Says(const std::string& text) {
    return WaitUntil(Agent::kPatience,
                     [&] { return absl::StrContains(agent->process().Log(), text); });
  }

  bool Answers() const { return Get(*cluster_->pod("client-1").net, vip_, 80).ok(); }

  void Kill() {
    REQUIRE(agent->process().Kill(SIGKILL).ok());
    REQUIRE(agent->process().Wait(absl::Seconds(20)).has_value());
  }

  const Node& node() const { return cluster_->node(1); }

 private:
  std::unique_ptr<Cluster> cluster_;
  Responder responder_;
  Folder manifests_;
  std::string vip_;

 public:
  Folder work;
  AgentOptions options;
  std::vector<std::string> flags;  // Of the agent alone.
  std::unique_ptr<Agent> agent;
};

TEST_CASE("what an agent cannot have it names, with what to do, and serves all the same") {
  struct Row {
    std::string name;
    std::string prelude;  // FOLDER is the state folder.
    std::vector<std::string> says;
  };
  const std::vector<Row> rows = {
      {"read-only settings",
       "mount --bind /proc/sys /proc/sys\nmount -o remount,bind,ro /proc/sys",
       {"net.ipv4.vs.conntrack has to be 1 and is 0; it cannot be written: Read-only file system; "
        "/proc/sys is read-only here",
        "`sysctl -w net.ipv4.vs.conntrack=1` on the node"}},
      {"a state folder that cannot be written to",
       "mkdir -p FOLDER\nmount -t tmpfs -o ro none FOLDER",
       {"Read-only file system"}},
      {"a full disk",
       "mkdir -p FOLDER\nmount -t tmpfs -o size=64k,nr_inodes=4 none FOLDER\n"
       "head -c 1000000 /dev/zero >FOLDER/full || touch FOLDER/a FOLDER/b FOLDER/c || true",
       {"No space left on device"}},
  };
  for (const Row& row : rows) {
    Stage stage;
    stage.Start(absl::StrReplaceAll(row.prelude, {{"FOLDER", stage.work.Path("n1")}}));
    const bool served = AwaitPlan(stage.node(), stage.options).empty();
    for (const std::string& text : row.says) {
      const bool said = stage.Says(text);
      INFO(row.name << "\n" << stage.agent->process().Log());
      CHECK(said);
    }
    INFO(row.name << "\n" << stage.agent->process().Log());
    CHECK(served);
    CHECK(stage.Answers());
  }
}

TEST_CASE("without the program nft an agent leaves the node as it is, and goes on when it comes") {
  Stage stage;
  const std::string bin = stage.work.Path("bin");
  std::filesystem::create_directory(bin);
  stage.Start(absl::StrCat("export PATH=", bin));
  const bool said = stage.Says(absl::StrCat("cannot run the program nft: No such file or directory",
                                            ": install the package nftables"));
  INFO(stage.agent->process().Log());
  CHECK(said);
  // Without the guard no VIP is made: the host's own ports would answer there.
  CHECK(!stage.Answers());
  const auto nft = Shell(*stage.node().net, {"bash", "-c", "type -P nft"});
  REQUIRE(nft.ok());
  std::filesystem::create_symlink(std::string(absl::StripAsciiWhitespace(*nft)), bin + "/nft");
  CHECK(AwaitPlan(stage.node(), stage.options) == "");
  CHECK(stage.Answers());
}

TEST_CASE("without the permission an agent says which, and what is there goes on") {
  Stage stage;
  stage.Start();
  REQUIRE(AwaitPlan(stage.node(), stage.options) == "");
  stage.Kill();
  stage.Start("true", "setpriv --bounding-set=-net_admin");
  const bool said = stage.Says("CAP_NET_ADMIN");
  INFO(stage.agent->process().Log());
  CHECK(said);
  CHECK(DifferenceFromPlan(stage.node(), stage.options) == "");
  CHECK(stage.Answers());
}

TEST_CASE("a taken port is named, and served when it is free; the rest does not wait for it") {
  Stage stage;
  std::vector<std::unique_ptr<ListeningSocket>> others;
  stage.node().net->Run([&] {
    for (const uint16_t port : {kHealthzPort, kMetricsPort}) {
      others.push_back(std::make_unique<ListeningSocket>(
          ListeningSocket::Open(Ip("127.0.0.1"), port, {}).value()));
    }
  });
  stage.flags = {"--healthz-bind-address", absl::StrCat("127.0.0.1:", kHealthzPort),
                 "--metrics-bind-address", absl::StrCat("127.0.0.1:", kMetricsPort)};
  stage.Start();
  const std::string difference = AwaitPlan(stage.node(), stage.options);
  for (const std::string& flag :
       {absl::StrCat("--healthz-bind-address: cannot listen on 127.0.0.1:", kHealthzPort),
        absl::StrCat("--metrics-bind-address: cannot listen on 127.0.0.1:", kMetricsPort)}) {
    const bool said = stage.Says(flag + ": Address already in use; `ss -ltnp sport = :");
    INFO(stage.agent->process().Log());
    CHECK(said);
  }
  CHECK(difference == "");
  CHECK(stage.Answers());
  others.clear();
  for (const uint16_t port : {kHealthzPort, kMetricsPort}) {
    CHECK(stage.Says(absl::StrCat("127.0.0.1:", port, " is served now")));
  }
  stage.node().net->Run([] {
    CHECK(Ask(Ip("127.0.0.1"), kHealthzPort, "/healthz")->status == 200);
    CHECK(Ask(Ip("127.0.0.1"), kMetricsPort, "/metrics")->status == 200);
  });
}

TEST_CASE("a dead agent's socket is replaced, a living one's is not") {
  Stage stage;
  stage.Start();
  REQUIRE(AwaitPlan(stage.node(), stage.options) == "");
  stage.Kill();
  REQUIRE(std::filesystem::exists(stage.work.Path("n1.sock")));
  stage.Start();
  REQUIRE(AwaitPlan(stage.node(), stage.options) == "");
  CHECK(stage.agent->ListUntil([](const nlohmann::json&) { return true; }).ok());
  std::unique_ptr<Agent> living = std::move(stage.agent);
  stage.Start();
  const std::optional<int> end = stage.agent->process().Wait(Agent::kPatience);
  INFO(stage.agent->process().Log());
  CHECK(end.value_or(0) != 0);
  CHECK(absl::StrContains(stage.agent->process().Log(), "--socket: another one answers at "));
  CHECK(living->List().ok());
  CHECK(stage.Answers());
}

TEST_CASE("a scheduler that the kernel lacks is an error of the start") {
  Stage stage;
  stage.flags = {"--scheduler", "foo"};
  stage.Start();
  const std::optional<int> end = stage.agent->process().Wait(Agent::kPatience);
  INFO(stage.agent->process().Log());
  CHECK(end.value_or(0) != 0);
  CHECK(absl::StrContains(stage.agent->process().Log(), "module ip_vs_foo"));
}

}  // namespace
}  // namespace fairlead::lab
