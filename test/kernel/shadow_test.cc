// `fairlead proxy --dry-run` beside another proxy: it says what it would do, and does nothing.
#include <signal.h>

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "test/kernel/harness.h"
#include "test/kernel/service_shape.h"
#include "test/lab/requirements.h"

namespace fairlead::lab {
namespace {

std::string Run(const Node& node, const std::string& command) {
  const auto output = Shell(*node.net, std::vector<std::string>{"bash", "-c", command},
                            /*input=*/{}, /*timeout=*/Agent::kPatience);
  INFO(command << ": " << output.status());
  REQUIRE(output.ok());
  return *output;
}

// All of the node's kernel that an agent could write to, byte for byte.
std::string Snapshot(const Node& node) {
  return Run(node,
             "ipvsadm --save -n; nft list ruleset; ip -4 route show table all; "
             "ip -6 route show table all; ip -o address | sed 's/valid_lft.*//'; ip rule; "
             "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv4.vs "
             "net.ipv4.conf.all; ss -Hltn | sort");
}

// What kube-proxy's IPVS mode makes of the Service: VIPs on a dummy device, its own nftables, and
// an endpoint that has gone from the slices since.
std::string OthersTable(const ServiceShape& shape, const std::string& endpoint) {
  std::string commands =
      "set -e\n"
      "ip link add kube-ipvs0 type dummy\n"
      "nft add table ip kube-proxy\n"
      "nft add chain ip kube-proxy services '{ type nat hook prerouting priority dstnat; }'\n"
      "nft add rule ip kube-proxy services meta mark 0x4000 accept\n"
      "ip route add local 198.51.100.7 dev lo table local proto 120\n"
      "ipvsadm -A -t 192.0.2.1:80 -s rr\n";
  for (const std::string& address : shape.Addresses("172.18.0.11")) {
    const std::string place = address.substr(address.find(' ') + 1);
    absl::StrAppend(&commands, "ipvsadm -A -t ", place, " -s rr\n", "ipvsadm -a -t ", place, " -r ",
                    endpoint, " -m -w 1\n", "ipvsadm -a -t ", place,
                    " -r 10.244.9.9:8080 -m -w 1\n");
  }
  return absl::StrCat(commands, "ip address add ", shape.cluster_ip, "/32 dev kube-ipvs0\n");
}

TEST_CASE("In shadow mode the agent reports the difference and writes nothing") {
  FAIRLEAD_NEEDS_IPVS();
  const auto cluster = Cluster::Create({.node_count = 1});
  REQUIRE(cluster.ok());
  const Node& node = (*cluster)->node(1);
  const auto pod = (*cluster)->AddPod("web-1", 1);
  REQUIRE(pod.ok());
  ServiceShape shape;
  shape.external_policy = "Local";  // With a port for health checks.
  shape.slices = {{{(*pod)->ipv4, "n1"}}};
  const Folder manifests;
  const Folder work;
  manifests.Write("web.yaml", shape.Manifest());
  const std::string endpoint = absl::StrCat((*pod)->ipv4, ":8080");
  Run(node, OthersTable(shape, endpoint));
  std::string before;
  REQUIRE(WaitUntil(Agent::kPatience, [&] {
    // Addresses of IPv6 take a moment to become usable.
    return std::exchange(before, Snapshot(node)) == before;
  }));

  auto agent = Agent::Start(node, OptionsFor(work, {manifests.path()}, {"--dry-run"}));
  REQUIRE(agent.ok());
  const auto log = [&] { return (*agent)->process().Log(); };
  const auto logged = [&](const std::string& text) {
    return WaitUntil(Agent::kPatience, [&] { return absl::StrContains(log(), text); });
  };
  const bool reported = logged("shadow: the kernel differs from the plan in ");
  INFO(log());
  REQUIRE(reported);
  CHECK(absl::StrContains(log(),
                          "10.244.9.9:8080 of TCP 10.96.7.1:80 of Service default/web:http: "
                          "planned nothing, found -a -t 10.96.7.1:80 -r 10.244.9.9:8080"));

  const auto diff = [&] {
    return Run(node, absl::StrCat(Program(), " diff --socket ", work.path(), "/n1.sock; echo $?"));
  };
  std::string text = diff();
  INFO(text);
  CHECK(absl::EndsWith(text, "\n1\n"));
  CHECK(absl::StrContains(text, "\n+-a -t 10.96.7.1:80 -r 10.244.9.9:8080 -m -w 1\n"));
  CHECK(absl::StrContains(text, "\n-table inet fairlead\n"));
  CHECK(absl::StrContains(text, "\n-local 10.96.7.1 dev lo table local proto 119 src "));
  // What both have, and what is others'.
  CHECK_FALSE(absl::StrContains(text, absl::StrCat("-a -t 10.96.7.1:80 -r ", endpoint)));
  CHECK_FALSE(absl::StrContains(text, "192.0.2.1"));
  CHECK_FALSE(absl::StrContains(text, "198.51.100.7"));

  // Changes of Services change the plan alone.
  ServiceShape more = shape;
  more.name = "more";
  more.cluster_ip = "10.96.7.2";
  more.type = "ClusterIP";
  more.external_ips = {};
  manifests.Write("more.yaml", more.Manifest());
  CHECK(WaitUntil(Agent::kPatience,
                  [&] { return absl::StrContains(diff(), "\n--A -t 10.96.7.2:80 -s rr\n"); }));
  manifests.Remove("more.yaml");
  CHECK(WaitUntil(Agent::kPatience, [&] { return !absl::StrContains(diff(), "10.96.7.2"); }));
  CHECK(Snapshot(node) == before);
  // Where the other proxy has made good what differed.
  Run(node, "ipvsadm -d -t 10.96.7.1:80 -r 10.244.9.9:8080");
  before = Snapshot(node);
  CHECK(WaitUntil(Agent::kPatience, [&] {
    return !absl::StrContains(diff(), "+-a -t 10.96.7.1:80 -r 10.244.9.9:8080");
  }));

  CHECK(Snapshot(node) == before);
  REQUIRE((*agent)->process().Kill(SIGTERM).ok());
  CHECK((*agent)->process().Wait(absl::Seconds(20)) == 0);
  CHECK(Snapshot(node) == before);
}

}  // namespace
}  // namespace fairlead::lab
