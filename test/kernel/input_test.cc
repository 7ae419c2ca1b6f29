// Bad input harms nothing but itself, and is named.
#include <catch2/catch.hpp>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "test/kernel/harness.h"
#include "test/lab/requirements.h"

namespace fairlead::lab {
namespace {

std::string ServiceManifest(const std::string& name, const std::string& cluster_ip,
                            const std::string& port, const std::string& metadata = "") {
  return absl::StrCat("apiVersion: v1\nkind: Service\nmetadata:\n  name: ", name, "\n", metadata,
                      "spec:\n  clusterIP: ", cluster_ip, "\n  ports: [{port: ", port, "}]\n");
}

std::string Saved(const Node& node) {
  auto saved = Shell(*node.net, "ipvsadm --save -n");
  REQUIRE(saved.ok());
  return *saved;
}

TEST_CASE("Bad manifests are named and harm nothing") {
  FAIRLEAD_NEEDS_IPVS();
  auto cluster = Cluster::Create({.node_count = 1});
  REQUIRE(cluster.ok());
  const Node& node = (*cluster)->node(1);
  const Folder work;
  const Folder parent;
  const std::string folder = parent.Path("manifests");
  std::filesystem::create_directory(folder);
  const auto write = [&](const std::string& name, const std::string& text) {
    parent.Write(name, text);
    std::filesystem::rename(parent.Path(name), absl::StrCat(folder, "/", name));
  };
  write("a.yaml", ServiceManifest("a", "10.96.0.21", "80"));
  write("b.yaml", ServiceManifest("b", "10.96.0.22", "80"));
  write("sched.yaml", ServiceManifest("sched", "10.96.0.23", "80",
                                      "  annotations: {fairlead.dev/scheduler: fastest}\n"));
  const AgentOptions options = OptionsFor(work, {folder});
  auto started = Agent::Start(node, options);
  REQUIRE(started.ok());
  Agent& agent = **started;
  REQUIRE(AwaitPlan(node, options) == "");
  const std::string before = Saved(node);
  CHECK(before ==
        "-A -t 10.96.0.21:80 -s rr\n-A -t 10.96.0.22:80 -s rr\n-A -t 10.96.0.23:80 -s rr\n");
  const auto await_log = [&](const std::vector<std::string>& words) {
    const bool there = WaitUntil(Agent::kPatience, [&] {
      for (absl::string_view line : absl::StrSplit(agent.process().Log(), '\n')) {
        bool all = true;
        for (const std::string& word : words) all = all && absl::StrContains(line, word);
        if (all) return true;
      }
      return false;
    });
    INFO(agent.process().Log());
    CHECK(there);
  };
  await_log({"Service default/sched", "fairlead.dev/scheduler", "fastest"});

  write("a.yaml", ServiceManifest("a", "10.96.0.21", "70000"));
  await_log({"a.yaml", "Service default/a", "spec.ports[0].port", "70000"});
  write("b.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: b\n");
  await_log({"b.yaml"});
  write("c.yaml", ServiceManifest("c", "10.96.0.22", "80"));
  await_log({"Service default/c", "10.96.0.22", "Service default/b"});
  CHECK(Saved(node) == before);
  // A good one beside them goes in.
  write("d.yaml", ServiceManifest("d", "10.96.0.24", "80"));
  CHECK(WaitUntil(Agent::kPatience, [&] {
    return Saved(node) == absl::StrCat(before, "-A -t 10.96.0.24:80 -s rr\n");
  }));
  const std::string with_d = Saved(node);

  std::filesystem::rename(folder, parent.Path("away"));
  await_log({"manifests", "is kept"});
  CHECK(Saved(node) == with_d);
  std::filesystem::rename(parent.Path("away"), folder);
  std::filesystem::remove(absl::StrCat(folder, "/c.yaml"));
  write("b.yaml", ServiceManifest("b", "10.96.0.22", "81"));
  CHECK(WaitUntil(Agent::kPatience,
                  [&] { return absl::StrContains(Saved(node), "-A -t 10.96.0.22:81 -s rr\n"); }));
}

TEST_CASE("A path that was never readable keeps the kernel as it is") {
  FAIRLEAD_NEEDS_IPVS();
  auto cluster = Cluster::Create({.node_count = 1});
  REQUIRE(cluster.ok());
  const Node& node = (*cluster)->node(1);
  const Folder work;
  const Folder manifests;
  manifests.Write("a.yaml", ServiceManifest("a", "10.96.0.21", "80"));
  const AgentOptions options = OptionsFor(work, {manifests.path()});
  {
    auto agent = Agent::Start(node, options);
    REQUIRE(agent.ok());
    REQUIRE(AwaitPlan(node, options) == "");
  }
  const std::string before = Saved(node);
  REQUIRE(before == "-A -t 10.96.0.21:80 -s rr\n");
  auto agent = Agent::Start(node, OptionsFor(work, {manifests.Path("missing")}));
  REQUIRE(agent.ok());
  CHECK(WaitUntil(Agent::kPatience,
                  [&] { return absl::StrContains((*agent)->process().Log(), "missing"); }));
  auto list = (*agent)->List();
  REQUIRE(list.ok());
  CHECK(list->at("complete") == false);
  CHECK(Saved(node) == before);
}

TEST_CASE("A file that is broken when the agent starts keeps its Services in the kernel") {
  FAIRLEAD_NEEDS_IPVS();
  auto cluster = Cluster::Create({.node_count = 1});
  REQUIRE(cluster.ok());
  const Node& node = (*cluster)->node(1);
  const Folder work;
  const Folder manifests;
  const std::string b = ServiceManifest("b", "10.96.0.22", "80");
  manifests.Write("a.yaml", ServiceManifest("a", "10.96.0.21", "80"));
  manifests.Write("b.yaml", b);
  const AgentOptions options = OptionsFor(work, {manifests.path()});
  {
    auto agent = Agent::Start(node, options);
    REQUIRE(agent.ok());
    REQUIRE(AwaitPlan(node, options) == "");
  }
  manifests.Write("b.yaml", "kind: [Service\n");
  manifests.Write("c.yaml", ServiceManifest("c", "10.96.0.23", "80"));
  auto agent = Agent::Start(node, options);
  REQUIRE(agent.ok());
  const std::string a_line = "-A -t 10.96.0.21:80 -s rr\n";
  const std::string b_line = "-A -t 10.96.0.22:80 -s rr\n";
  const std::string c_line = "-A -t 10.96.0.23:80 -s rr\n";
  CHECK(WaitUntil(Agent::kPatience, [&] { return Saved(node) == a_line + b_line + c_line; }));
  manifests.Write("b.yaml", "# Nothing any more.\n");
  CHECK(WaitUntil(Agent::kPatience, [&] { return Saved(node) == a_line + c_line; }));
  INFO((*agent)->process().Log());
  CHECK(AwaitPlan(node, options) == "");
}

TEST_CASE("A scheduler that the kernel does not have ends the start, and names the module") {
  FAIRLEAD_NEEDS_IPVS();
  auto cluster = Cluster::Create({.node_count = 1});
  REQUIRE(cluster.ok());
  const Folder work;
  const Folder manifests;
  auto agent = Agent::Start((*cluster)->node(1),
                            OptionsFor(work, {manifests.path()}, {"--scheduler", "fastest"}));
  REQUIRE(agent.ok());
  CHECK((*agent)->process().Wait(absl::Seconds(20)) == 1);
  INFO((*agent)->process().Log());
  CHECK(absl::StrContains((*agent)->process().Log(), "ip_vs_fastest"));
}

}  // namespace
}  // namespace fairlead::lab
