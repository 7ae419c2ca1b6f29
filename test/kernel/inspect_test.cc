// `fairlead diff` and `fairlead drain` of an agent at work on a real kernel.
#include <signal.h>

#include <catch2/catch.hpp>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proxy/inspect/read_kernel.h"
#include "test/kernel/harness.h"
#include "test/kernel/service_shape.h"
#include "test/lab/requirements.h"
#include "test/lab/responder.h"

namespace fairlead::lab {
namespace {

// What a command printed, stdout and stderr, and its exit code.
struct Printed {
  int exit_code = -1;
  std::string text;
};

std::ostream& operator<<(std::ostream& out, const Printed& printed) {
  return out << "exit " << printed.exit_code << ": " << printed.text;
}

// Endpoints web-1 on n1 and web-2 on n2, and a client pod on n1, which has the agent.
class Stage {
 public:
  explicit Stage(const std::vector<std::string>& flags = {}) {
    auto made = Cluster::Create({.node_count = 2, .ipv6 = false});
    REQUIRE(made.ok());
    cluster_ = *std::move(made);
    for (const auto& [name, number] :
         std::map<std::string, int>{{"web-1", 1}, {"web-2", 2}, {"client-1", 1}}) {
      auto pod = cluster_->AddPod(name, number);
      REQUIRE(pod.ok());
      if (name != "client-1") REQUIRE(responder_.AddHttp(*(*pod)->net, 8080, name).ok());
    }
    shape.external_ips = {};
    shape.load_balancer_ips = {};
    shape.slices = {{Endpoint("web-1"), Endpoint("web-2")}};
    Write();
    auto started = Agent::Start(node(), OptionsFor(work_, {manifests_.path()}, flags));
    REQUIRE(started.ok());
    agent = *std::move(started);
    Await();
  }

  void Write() { manifests_.Write("web.yaml", shape.Manifest()); }
  void Remove() { manifests_.Remove("web.yaml"); }

  // Waits until nothing differs.
  void Await() {
    const bool equal = WaitUntil(Agent::kPatience, [&] { return Diff().exit_code == 0; });
    INFO(Diff());
    INFO(agent->process().Log());
    REQUIRE(equal);
  }

  ShapeEndpoint Endpoint(const std::string& pod, const std::string& conditions = "") const {
    const Pod& found = cluster_->pod(pod);
    return {found.ipv4, absl::StrCat("n", found.node), conditions};
  }

  Printed Command(const std::string& command) const {
    const auto output =
        Shell(*node().net, std::vector<std::string>{"bash", "-c", command + " 2>&1; echo $?"},
              /*input=*/{}, /*timeout=*/Agent::kPatience);
    INFO(command << ": " << output.status());
    REQUIRE(output.ok());
    const std::string text = output->substr(0, output->size() - 1);
    const size_t end = text.rfind('\n');
    const std::string code = end == std::string::npos ? text : text.substr(end + 1);
    return {std::stoi(code), end == std::string::npos ? "" : text.substr(0, end + 1)};
  }
  // After the command `before`, which may fail.
  Printed Fairlead(const std::string& arguments, const std::string& before = "true") const {
    return Command(absl::StrCat(before, " >/dev/null 2>&1; ", Program(), " ", arguments,
                                " --socket ", work_.path(), "/n1.sock"));
  }
  Printed Diff(const std::string& arguments = "") const { return Fairlead("diff " + arguments); }

  // What drains, as JSON.
  nlohmann::json Drains() const {
    const Printed printed = Fairlead("drain -o json");
    INFO(printed);
    REQUIRE(printed.exit_code == 0);
    return nlohmann::json::parse(printed.text).at("drains");
  }

  // A connection from the client to the cluster IP that stays until the object goes.
  std::unique_ptr<Process> Connect() const {
    auto process = Process::Start({.words = {"bash", "-c",
                                             absl::StrCat("exec 3<>/dev/tcp/", shape.cluster_ip,
                                                          "/80 && echo connected && "
                                                          "exec sleep 1000")},
                                   .net = cluster_->pod("client-1").net.get()});
    REQUIRE(process.ok());
    REQUIRE(WaitUntil(Agent::kPatience,
                      [&] { return absl::StrContains((*process)->Log(), "connected"); }));
    return *std::move(process);
  }

  const Node& node() const { return cluster_->node(1); }

 private:
  std::unique_ptr<Cluster> cluster_;
  Responder responder_;
  Folder manifests_;
  Folder work_;

 public:
  ServiceShape shape;
  std::unique_ptr<Agent> agent;
};

bool Eventually(const std::function<bool()>& holds) { return WaitUntil(Agent::kPatience, holds); }

TEST_CASE("diff shows what somebody has changed, and not what is somebody else's") {
  FAIRLEAD_NEEDS_IPVS();
  // Without its audit the agent does not make good what it is to show.
  Stage stage({"--audit-period", "0s"});
  CHECK(stage.Diff().text.empty());
  REQUIRE(stage
              .Command("ipvsadm -A -t 192.0.2.1:80 -s rr && "
                       "ipvsadm -a -t 192.0.2.1:80 -r 192.0.2.2:80 -m")
              .exit_code == 0);
  CHECK(stage.Diff().exit_code == 0);

  const std::string server = absl::StrCat("-t ", stage.shape.cluster_ip, ":80");
  const std::string real =
      absl::StrCat(server, " -r ", stage.Endpoint("web-2").address, ":8080 -m");
  const std::string head = absl::StrCat("--- plan\n+++ kernel\n@@ TCP ", stage.shape.cluster_ip,
                                        ":80, Service default/web:http @@\n");
  struct Row {
    std::string name;
    std::string command;
    std::string undo;
    std::string hunk;
  };
  const std::vector<Row> rows = {
      {"weight", absl::StrCat("ipvsadm -e ", real, " -w 7"), absl::StrCat("ipvsadm -e ", real),
       absl::StrCat(" -A ", server, " -s rr\n--a ", real, " -w 1\n+-a ", real, " -w 7\n")},
      {"limit", absl::StrCat("ipvsadm -e ", real, " -x 9"), absl::StrCat("ipvsadm -e ", real),
       absl::StrCat(" -A ", server, " -s rr\n--a ", real, " -w 1\n+-a ", real, " -w 1 -x 9\n")},
      {"scheduler", absl::StrCat("ipvsadm -E ", server, " -s lc"),
       absl::StrCat("ipvsadm -E ", server, " -s rr"),
       absl::StrCat("--A ", server, " -s rr\n+-A ", server, " -s lc\n")},
      {"a real server too few",
       absl::StrCat("ipvsadm -d ", server, " -r ", stage.Endpoint("web-2").address, ":8080"),
       absl::StrCat("ipvsadm -a ", real),
       absl::StrCat(" -A ", server, " -s rr\n--a ", real, " -w 1\n")},
      {"a real server too many", absl::StrCat("ipvsadm -a ", server, " -r 10.244.9.9:8080 -m -w 0"),
       absl::StrCat("ipvsadm -d ", server, " -r 10.244.9.9:8080"),
       absl::StrCat(" -A ", server, " -s rr\n+-a ", server, " -r 10.244.9.9:8080 -m -w 0\n")},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const Printed printed = stage.Fairlead("diff", row.command);
    CHECK(printed.exit_code == 1);
    CHECK(printed.text == head + row.hunk);
    CHECK(stage.Command(row.undo).exit_code == 0);
    CHECK(stage.Diff().exit_code == 0);
  }
}

// As if all that is there were wanted.
WantedState WantAll(const KernelState& kernel, std::vector<PlannedVirtualServer>& plans) {
  WantedState wanted;
  plans.reserve(kernel.servers.size());
  for (const ipvs::VirtualServer& server : kernel.servers) {
    PlannedVirtualServer& planned = plans.emplace_back();
    planned.key = server.key;
    planned.config = server.config;
    for (const ipvs::RealServer& real : server.real_servers) {
      planned.real_servers.push_back({.key = real.key, .config = real.config});
    }
  }
  for (const PlannedVirtualServer& planned : plans) wanted.servers.push_back(&planned);
  wanted.elements = kernel.elements;
  wanted.routes = kernel.routes;
  wanted.ruleset = RulesetText({.pods = {.prefixes = {IpPrefix::Parse("10.244.0.0/16").value()}}});
  return wanted;
}

TEST_CASE("the kernel is read as it is, with all that an agent looks at") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  const auto read = [&] {
    const auto state = stage.node().net->Run([] { return ReadKernelState(); });
    REQUIRE(state.ok());
    return *state;
  };
  // Nobody makes good any more what is changed.
  REQUIRE(stage.agent->process().Kill(SIGKILL).ok());
  stage.agent->process().Wait(absl::Seconds(20));
  std::vector<PlannedVirtualServer> plans;
  const KernelState before = read();
  const WantedState wanted = WantAll(before, plans);
  CHECK(CompareWithKernel(wanted, before).empty());
  const std::string& vip = stage.shape.cluster_ip;
  const struct {
    std::string command;
    DriftKind kind;
    std::string object;
  } rows[] = {
      {absl::StrCat("ip route del local ", vip, " dev lo table local proto 119"), DriftKind::kRoute,
       absl::StrCat("route ", vip)},
      {absl::StrCat("nft delete element inet fairlead served4 '{ ", vip, " . tcp . 80 }'"),
       DriftKind::kElement, absl::StrCat("served4 ", vip, " . tcp . 80")},
      {"nft flush chain inet fairlead refuse", DriftKind::kRuleset, "table inet fairlead"},
      {"sysctl -q net.ipv4.vs.expire_nodest_conn=0", DriftKind::kSysctl,
       "net.ipv4.vs.expire_nodest_conn"},
      {absl::StrCat("ipvsadm -D -t ", vip, ":80"), DriftKind::kVirtualServer,
       absl::StrCat("TCP ", vip, ":80")},
  };
  std::set<std::pair<DriftKind, std::string>> expected;
  for (const auto& row : rows) {
    INFO(row.command);
    const Printed printed = stage.Command(row.command);
    INFO(printed);
    REQUIRE(printed.exit_code == 0);
    expected.insert({row.kind, row.object});
    std::set<std::pair<DriftKind, std::string>> found;
    for (const Difference& difference : CompareWithKernel(wanted, read())) {
      found.insert({difference.kind, difference.object});
    }
    CHECK(found == expected);
  }
  REQUIRE(stage.Command("nft delete table inet fairlead; ipvsadm -C").exit_code == 0);
  const KernelState after = read();
  CHECK_FALSE(after.ruleset.has_value());
  CHECK(after.elements.empty());
  CHECK(after.servers.empty());
}

TEST_CASE("drain shows an endpoint that keeps connections, and ends it on request") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  CHECK(stage.Drains() == nlohmann::json::array());
  // Round robin: one each.
  const auto first = stage.Connect();
  const auto second = stage.Connect();
  stage.shape.slices = {{stage.Endpoint("web-1", "ready: false, serving: true, terminating: true"),
                         stage.Endpoint("web-2")}};
  stage.Write();
  const std::string endpoint = absl::StrCat(stage.Endpoint("web-1").address, ":8080");
  nlohmann::json drains;
  REQUIRE(Eventually([&] {
    drains = stage.Drains();
    return drains.size() == 1;
  }));
  INFO(drains.dump(1));
  CHECK(drains[0].at("service") == "default/web");
  CHECK(drains[0].at("portName") == "http");
  CHECK(drains[0].at("virtualServer") == absl::StrCat("TCP ", stage.shape.cluster_ip, ":80"));
  CHECK(drains[0].at("endpoint") == endpoint);
  CHECK(drains[0].at("node") == "n1");
  CHECK(drains[0].at("activeConnections") == 1);
  CHECK(drains[0].at("reason") == "terminating");
  CHECK(drains[0].at("since") < drains[0].at("until"));
  CHECK(stage.Diff().exit_code == 0);
  CHECK(absl::StrContains(stage.Fairlead("drain").text, endpoint));

  const Printed nobody = stage.Fairlead("drain --now 10.244.9.9:8080");
  CHECK(nobody.exit_code == 1);
  CHECK(nobody.text == "fairlead drain: nothing drains that is 10.244.9.9:8080\n");
  CHECK(stage.Drains().size() == 1);
  const Printed ended = stage.Fairlead("drain --now " + endpoint);
  CHECK(ended.exit_code == 0);
  CHECK(absl::StrContains(ended.text, absl::StrCat("ended: ", endpoint, " of TCP ")));
  CHECK(Eventually([&] { return stage.Drains().empty(); }));
  CHECK_FALSE(absl::StrContains(stage.Command("ipvsadm --save -n").text, endpoint));
  CHECK(stage.Diff().exit_code == 0);
}

TEST_CASE("what a deleted Service leaves drains without being a difference") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  const auto connection = stage.Connect();
  stage.Remove();
  nlohmann::json drains;
  REQUIRE(Eventually([&] {
    drains = stage.Drains();
    return drains.size() == 1;
  }));
  CHECK(drains[0].at("reason") == "no Service");
  CHECK(stage.Diff().exit_code == 0);
  INFO(stage.Diff());
  CHECK(stage.Fairlead(absl::StrCat("drain --now --virtual-server ", stage.shape.cluster_ip, ":80"))
            .exit_code == 0);
  CHECK(Eventually([&] { return stage.Command("ipvsadm --save -n").text.empty(); }));
  stage.Await();
}

}  // namespace
}  // namespace fairlead::lab
