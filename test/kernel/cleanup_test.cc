// `fairlead cleanup` on a node: what is removed, and what of others has to stay as it is.
#include <signal.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "ipvs/kernel_table.h"
#include "kube_proxy_state.h"
#include "proxy/cleanup/kube_proxy.h"
#include "proxy/kernel/netlink_routes.h"
#include "test/kernel/harness.h"
#include "test/kernel/service_shape.h"
#include "test/lab/load_generator.h"
#include "test/lab/requirements.h"

namespace fairlead::lab {
namespace {

// What others have in the table, on addresses of Fairlead's too.
constexpr char kForeignServers[] =
    "-A -t 10.96.7.1:8443 -s rr\n"
    "-a -t 10.96.7.1:8443 -r 192.0.2.50:443 -m -w 3\n"
    "-A -t 192.0.2.1:80 -s wlc -p 300\n"
    "-a -t 192.0.2.1:80 -r 192.0.2.51:80 -g -w 1\n"
    "-A -f 77 -s rr\n"
    "-a -f 77 -r 192.0.2.52:0 -g -w 1\n";

// What kube-proxy's IPVS mode has, with a node port beside one that is somebody else's.
constexpr char kKubeProxyServers[] =
    "-A -t 10.96.0.1:80 -s rr\n"
    "-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1\n"
    "-A -t [fd00:96::1]:80 -s rr\n"
    "-A -t 172.18.0.11:30080 -s rr\n"
    "-a -t 172.18.0.11:30080 -r 10.244.1.2:8080 -m -w 1\n";
constexpr char kOtherNodePort[] = "-A -t 172.18.0.11:30081 -s rr\n";

// A node with an endpoint, and with rules, routes, tables and virtual servers of others.
class Stage {
 public:
  Stage() {
    auto made = Cluster::Create({.node_count = 1});
    REQUIRE(made.ok());
    cluster_ = *std::move(made);
    auto pod = cluster_->AddPod("web-1", 1);
    REQUIRE(pod.ok());
    pod_ = (*pod)->ipv4;
    REQUIRE(responder_.AddHttp(*(*pod)->net, 8080, "web-1").ok());
    REQUIRE(
        SetRoute(cluster_->client(), {.destination = "10.96.0.0/12", .gateway = node().ipv4}).ok());
    for (const char* kind : {"nft", "legacy"}) {
      Feed(absl::StrCat("iptables-", kind, "-restore --noflush"), testing::OthersRules(false));
      Feed(absl::StrCat("ip6tables-", kind, "-restore --noflush"), testing::OthersRules(true));
    }
    Feed("nft -f -", testing::OthersNftTables());
    Feed("ipset restore", "create KUBE-MINE hash:ip\nadd KUBE-MINE 192.0.2.7\n");
    Feed("ipvsadm --restore", kForeignServers);
    Run("ip route add local 198.51.100.7 dev lo proto static");
    Run("ip route add 198.51.100.8 dev eth0 proto 119");
    Run("ip link add kube-dummy0 type dummy && ip addr add 198.51.100.9/32 dev kube-dummy0");
  }

  void StartAgent() {
    ServiceShape shape;
    shape.dual_stack = true;
    shape.external_policy = "Local";  // With virtual servers for marks.
    shape.slices = {{{pod_, "n1"}}};
    manifests_.Write("web.yaml", shape.Manifest());
    options_ = OptionsFor(work_, {manifests_.path()});
    auto started = Agent::Start(node(), options_);
    REQUIRE(started.ok());
    agent_ = *std::move(started);
    const std::string difference = AwaitPlan(node(), options_);
    INFO(agent_->process().Log());
    REQUIRE(DropForeign(difference) == "");
  }

  void StopAgent() {
    REQUIRE(agent_->process().Kill(SIGTERM).ok());
    REQUIRE(agent_->process().Wait(absl::Seconds(20)) == 0);
    agent_.reset();
  }

  // `fairlead cleanup`, with its exit code in the last line.
  std::string Cleanup(const std::string& flags) {
    return Run(absl::StrCat(Program(), " cleanup --socket ", work_.path(), "/n1.sock ", flags,
                            " 2>&1; echo exit $?"));
  }

  void Feed(const std::string& command, const std::string& text) {
    auto output = Shell(*node().net, command, text);
    INFO(command << ": " << output.status());
    REQUIRE(output.ok());
  }

  std::string Run(const std::string& command) const {
    auto output = Shell(*node().net, std::vector<std::string>{"bash", "-c", command});
    INFO(command << ": " << output.status());
    REQUIRE(output.ok());
    return *output;
  }

  // All that a packet can meet, but for counters and what is random. In one go: starting programs
  // is what takes time in a guest.
  std::string Everything() const {
    return Run(
        "{ iptables-nft-save; ip6tables-nft-save; iptables-legacy-save; ip6tables-legacy-save; "
        "ipset save; nft list ruleset; ipvsadm --save -n; ip -d route show table all; "
        "ip -6 -d route show table all; ip -d addr; } 2>/dev/null | "
        "sed '/^#/d; s/\\[[0-9:]*\\]//; s/packets.*bytes [0-9]*//; s/initval.*//; "
        "s/valid_lft.*//; s/users.*//; s/expires.*//'");
  }

  const Node& node() const { return cluster_->node(1); }
  const NetNamespace& client() const { return cluster_->client(); }
  const Folder& work() const { return work_; }

 private:
  // The foreign virtual servers on a VIP are no difference.
  static std::string DropForeign(const std::string& difference) {
    std::string rest;
    for (const absl::string_view line : absl::StrSplit(difference, '\n', absl::SkipEmpty())) {
      if (absl::StrContains(line, ":8443") || absl::StrContains(line, "-f 77")) continue;
      absl::StrAppend(&rest, line, "\n");
    }
    return rest;
  }

  std::unique_ptr<Cluster> cluster_;
  std::string pod_;
  Responder responder_;
  Folder manifests_;
  Folder work_;
  AgentOptions options_;
  std::unique_ptr<Agent> agent_;
};

TEST_CASE("cleanup removes what the agent made, and nothing else") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  const std::string before = stage.Everything();
  CHECK(stage.Cleanup("") == "nothing to remove\nexit 0\n");

  stage.StartAgent();
  const std::string with = stage.Everything();
  REQUIRE(with != before);
  const std::string refused = stage.Cleanup("");
  INFO(refused);
  CHECK(absl::StrContains(refused, "an agent runs on this node"));
  CHECK(absl::EndsWith(refused, "exit 1\n"));
  const std::string rehearsed = stage.Cleanup("--dry-run");
  CHECK(absl::StrContains(rehearsed, "note: an agent runs on this node"));
  CHECK(absl::EndsWith(rehearsed, "exit 0\n"));
  stage.StopAgent();
  CHECK(stage.Everything() == with);

  const std::string state = stage.work().Path("n1");
  stage.Run(absl::StrCat("mkdir -p ", state, "; touch ", state, "/picture ", state, "/mine"));
  const std::string said = stage.Cleanup("--state-dir " + state);
  INFO(said);
  CHECK(absl::StrContains(said, "removed       route           10.96.7.1\n"));
  CHECK(absl::StrContains(said, "removed       virtual server  TCP 10.96.7.1:80\n"));
  CHECK(absl::StrContains(said, "removed       virtual server  FWM "));
  CHECK(absl::StrContains(said, "removed       table           inet fairlead\n"));
  CHECK(
      absl::StrContains(said, absl::StrCat("removed       file            ", state, "/picture\n")));
  CHECK(absl::EndsWith(said, "exit 0\n"));
  CHECK_FALSE(absl::StrContains(said, "8443"));
  CHECK(stage.Everything() == before);
  CHECK_FALSE(std::filesystem::exists(state + "/picture"));
  CHECK(std::filesystem::exists(state + "/mine"));
  CHECK(stage.Cleanup("") == "nothing to remove\nexit 0\n");
}

TEST_CASE("cleanup leaves the virtual servers to another proxy when it is told to") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  stage.StartAgent();
  stage.StopAgent();
  const std::string servers = stage.Run("ipvsadm --save -n");
  const std::string said = stage.Cleanup("--keep-virtual-servers");
  INFO(said);
  CHECK(absl::EndsWith(said, "exit 0\n"));
  CHECK(stage.Run("ipvsadm --save -n") == servers);
  CHECK(stage.Run("ip route show table local proto 119; nft list tables | grep fairlead || true") ==
        "");
}

TEST_CASE("cleanup --kube-proxy removes what kube-proxy left, and nothing else") {
  FAIRLEAD_NEEDS_IPVS();
  for (const std::string kind : {"nft", "legacy"}) {
    INFO(kind);
    Stage stage;
    stage.Feed("ipvsadm --restore", kOtherNodePort);
    const std::string before = stage.Everything();
    for (const bool ipv6 : {false, true}) {
      stage.Feed("ipset restore", testing::KubeProxyIpsetText(ipv6));
      stage.Feed(absl::StrCat(ipv6 ? "ip6tables-" : "iptables-", kind, "-restore --noflush"),
                 testing::KubeProxyIpvsRules(ipv6));
    }
    stage.Feed("nft -f -", testing::KubeProxyNftTables());
    stage.Run(
        "ip link add kube-ipvs0 type dummy && ip addr add 10.96.0.1/32 dev kube-ipvs0 && "
        "ip addr add fd00:96::1/128 dev kube-ipvs0");
    stage.Feed("ipvsadm --restore", kKubeProxyServers);
    const std::string with = stage.Everything();

    CHECK(stage.Cleanup("") == "nothing to remove\nexit 0\n");
    const std::string rehearsed = stage.Cleanup("--kube-proxy --dry-run -o json");
    CHECK(absl::StrContains(rehearsed, "\"dryRun\": true"));
    CHECK(absl::StrContains(rehearsed, "\"kube-ipvs0 with 2 addresses\""));
    CHECK(stage.Everything() == with);
    const std::string said = stage.Cleanup("--kube-proxy");
    INFO(said);
    CHECK(absl::EndsWith(said, "exit 0\n"));
    CHECK(absl::StrContains(said, "removed       virtual server  TCP 172.18.0.11:30080\n"));
    CHECK(stage.Everything() == before);
    CHECK(stage.Cleanup("--kube-proxy") == "nothing to remove\nexit 0\n");
  }
}

TEST_CASE("kube-proxy's things go from under an agent that serves, without a failed request") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  stage.StartAgent();
  for (const bool ipv6 : {false, true}) {
    stage.Feed("ipset restore", testing::KubeProxyIpsetText(ipv6));
    stage.Feed(ipv6 ? "ip6tables-nft-restore --noflush" : "iptables-nft-restore --noflush",
               testing::KubeProxyIpvsRules(ipv6));
  }
  stage.Run(
      "ip link add kube-ipvs0 type dummy && ip addr add 10.96.7.1/32 dev kube-ipvs0 && "
      "ip addr add 10.96.0.1/32 dev kube-ipvs0");
  stage.Feed("ipvsadm --restore", "-A -t 10.96.0.1:80 -s rr\n");
  // What is on an address of kube-ipvs0 and not Fairlead's is taken for kube-proxy's.
  const std::string servers =
      stage.Run("ipvsadm --save -n | grep -v -e 10.96.0.1: -e 10.96.7.1:8443");

  LoadGenerator load(stage.client(), {.address = "10.96.7.1", .port = 80, .concurrency = 2});
  REQUIRE(WaitUntil(Agent::kPatience, [&] { return load.Summary().ok >= 50; }));
  const CleanupReport report = stage.node().net->Run([] {
    auto table = ipvs::KernelTable::Open();
    auto firewall = FoundFirewall::Open();
    auto routes = NetlinkRoutes::Open();
    auto device = NetlinkVipDevice::Open();
    REQUIRE((table.ok() && firewall.ok() && routes.ok() && device.ok()));
    return RemoveKubeProxy(KubeProxyKernel::Of(table->get(), **firewall, **routes, **device),
                           {.serving = true});
  });
  INFO(FormatCleanupText(report, false));
  CHECK(report.failed.empty());
  CHECK(absl::StrContains(FormatCleanupText(report, false), "kube-ipvs0 with 2 addresses"));
  const int64_t so_far = load.Summary().ok;
  REQUIRE(WaitUntil(Agent::kPatience, [&] { return load.Summary().ok >= so_far + 50; }));
  const LoadSummary summary = load.Stop();
  INFO(summary);
  CHECK(summary.failed() == 0);
  CHECK(stage.Run("ipvsadm --save -n") == servers);
  stage.StopAgent();
}

}  // namespace
}  // namespace fairlead::lab
