#include "watcher/manifest/allocate.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "test/watcher/manifest/testing.h"

namespace fairlead::manifest {
namespace {

using Files = std::vector<std::pair<std::string, std::string>>;

Composition ComposeServices(const std::string& text, const char* cluster_ips, PortRange ports = {},
                            const Allocations& kept = {}) {
  return ComposeTexts({{"test.yaml", text}}, {*ParseServiceClusterIpRanges(cluster_ips), ports},
                      kept);
}

std::vector<std::string> ClusterIps(const Composition& composition, const std::string& name) {
  std::vector<std::string> texts;
  const auto service = FindService(composition.picture, name);
  if (service == nullptr) return {"left out"};
  for (const IpAddress& address : service->cluster_ips) texts.push_back(address.Format());
  return texts;
}

std::vector<uint16_t> NodePorts(const Composition& composition, const std::string& name) {
  std::vector<uint16_t> ports;
  const auto service = FindService(composition.picture, name);
  if (service == nullptr) return ports;
  for (const ServicePort& port : service->ports) ports.push_back(port.node_port);
  return ports;
}

std::string AtTime(const std::string& name, const std::string& time, const std::string& spec) {
  return absl::StrCat("---\napiVersion: v1\nkind: Service\nmetadata: {name: ", name,
                      ", creationTimestamp: \"", time, "\"}\nspec:\n", spec, "\n");
}

TEST_CASE("the hash is the same for all time") {
  CHECK(StableHash("") == 17280346270528514342u);
  CHECK(StableHash("shop/cart IPv4") == 7060522186905919822u);
}

TEST_CASE("a Service has the addresses of its families") {
  struct Case {
    const char* name;
    const char* ranges;
    const char* spec;
    std::vector<std::string> want;  // "4" or "6" for one out of the range.
  };
  constexpr char kV4[] = "10.96.0.0/12";
  constexpr char kV6[] = "fd00::/112";
  constexpr char kDual[] = "10.96.0.0/12,fd00::/112";
  constexpr char kDual6[] = "fd00::/112,10.96.0.0/12";
  const Case cases[] = {
      {"by default", kV4, "", {"4"}},
      {"by default, IPv6", kV6, "", {"6"}},
      {"by default, dual-stack", kDual, "", {"4"}},
      {"by default, IPv6 first", kDual6, "", {"6"}},
      {"IPv6 asked for", kDual, "  ipFamilies: [IPv6]", {"6"}},
      {"both asked for", kDual, "  ipFamilies: [IPv6, IPv4]", {"6", "4"}},
      {"SingleStack", kDual, "  ipFamilyPolicy: SingleStack\n  ipFamilies: [IPv4, IPv6]", {"4"}},
      {"PreferDualStack", kDual, "  ipFamilyPolicy: PreferDualStack", {"4", "6"}},
      {"PreferDualStack with one", kV4, "  ipFamilyPolicy: PreferDualStack", {"4"}},
      {"PreferDualStack with one, both named",
       kV4,
       "  ipFamilyPolicy: PreferDualStack\n  ipFamilies: [IPv4, IPv6]",
       {"4"}},
      {"RequireDualStack", kDual6, "  ipFamilyPolicy: RequireDualStack", {"6", "4"}},
      {"RequireDualStack with one", kV4, "  ipFamilyPolicy: RequireDualStack", {"left out"}},
      {"a family that there is not", kV4, "  ipFamilies: [IPv6]", {"left out"}},
      {"an address asked for", kDual, "  clusterIP: 10.96.0.10", {"10.96.0.10"}},
      {"out of the range", kV4, "  clusterIP: 172.20.0.1", {"172.20.0.1"}},
      {"of a family without a range", kV4, "  clusterIP: \"fd00::5\"", {"fd00::5"}},
      {"one of two asked for",
       kDual,
       "  clusterIP: 10.96.0.10\n  ipFamilyPolicy: PreferDualStack",
       {"10.96.0.10", "6"}},
      {"two asked for", kV4, "  clusterIPs: [\"fd00::5\", 10.96.0.9]", {"fd00::5", "10.96.0.9"}},
      {"headless", kDual, "  clusterIP: None", {}},
      {"ExternalName", kDual, "  type: ExternalName", {}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const Composition composition = ComposeServices(ServiceYaml("a", c.spec), c.ranges);
    std::vector<std::string> got = ClusterIps(composition, "a");
    REQUIRE(got.size() == c.want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      if (c.want[i] == "4") {
        CHECK(IpPrefix::Parse(kV4)->Contains(*IpAddress::Parse(got[i])));
      } else if (c.want[i] == "6") {
        CHECK(IpPrefix::Parse(kV6)->Contains(*IpAddress::Parse(got[i])));
      } else {
        CHECK(got[i] == c.want[i]);
      }
    }
    CHECK(composition.problems.size() == (c.want == std::vector<std::string>{"left out"} ? 1 : 0));
  }
}

TEST_CASE("a Service has the node ports of its type") {
  struct Case {
    const char* name;
    const char* spec;
    std::vector<int> want;  // 1: one out of the range; -1: the same as the one before.
  };
  const Case cases[] = {
      {"ClusterIP", "  ports: [{port: 80}]", {0}},
      {"NodePort", "  type: NodePort\n  ports: [{port: 80}]", {1}},
      {"LoadBalancer", "  type: LoadBalancer\n  ports: [{port: 80}]", {1}},
      {"LoadBalancer without",
       "  type: LoadBalancer\n  allocateLoadBalancerNodePorts: false\n  ports: [{port: 80}]",
       {0}},
      {"LoadBalancer without, asked for",
       "  type: LoadBalancer\n  allocateLoadBalancerNodePorts: false\n  ports: [{port: 80, "
       "nodePort: "
       "30080}]",
       {30080}},
      {"asked for", "  type: NodePort\n  ports: [{port: 80, nodePort: 30080}]", {30080}},
      {"asked for, out of the range",
       "  type: NodePort\n  ports: [{port: 80, nodePort: 80}]",
       {80}},
      {"one number for two protocols",
       "  type: NodePort\n  ports: [{name: a, port: 53}, {name: b, port: 53, protocol: UDP}]",
       {1, -1}},
      {"one number for two protocols, asked for",
       "  type: NodePort\n  ports: [{name: a, port: 53}, {name: b, port: 53, protocol: UDP, "
       "nodePort: 30053}]",
       {30053, 30053}},
      {"two ports",
       "  type: NodePort\n  ports: [{name: a, port: 53}, {name: b, port: 54}]",
       {1, 1}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const Composition composition = ComposeText(ServiceYaml("a", c.spec));
    const std::vector<uint16_t> got = NodePorts(composition, "a");
    REQUIRE(got.size() == c.want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      if (c.want[i] == 1) {
        CHECK(PortRange().Contains(got[i]));
        if (i > 0) CHECK(got[i] != got[i - 1]);
      } else {
        CHECK(got[i] == (c.want[i] == -1 ? got[i - 1] : c.want[i]));
      }
    }
    CHECK(composition.problems.empty());
  }
}

TEST_CASE("a LoadBalancer with a Local policy has a health check port") {
  const std::string spec = "  type: LoadBalancer\n  externalTrafficPolicy: Local\n";
  const Composition given = ComposeText(ServiceYaml("a", spec));
  const auto service = FindService(given.picture, "a");
  CHECK(PortRange().Contains(service->health_check_node_port));
  CHECK(service->health_check_node_port != service->ports[0].node_port);
  const Composition asked = ComposeText(ServiceYaml("a", spec + "  healthCheckNodePort: 31999\n"));
  CHECK(FindService(asked.picture, "a")->health_check_node_port == 31999);
  CHECK(FindService(ComposeText(ServiceYaml("a", "  type: LoadBalancer")).picture, "a")
            ->health_check_node_port == 0);
}

TEST_CASE("default/kubernetes has the first address, and nobody else") {
  const Composition composition =
      ComposeServices(ServiceYaml("a") + ServiceYaml("kubernetes"), "10.96.0.0/29");
  CHECK(ClusterIps(composition, "kubernetes") == std::vector<std::string>{"10.96.0.1"});
  CHECK(ClusterIps(composition, "a") != std::vector<std::string>{"10.96.0.1"});
}

TEST_CASE("of two Services that ask for the same, the older one has it, then the first by name") {
  constexpr char kOld[] = "2020-01-01T00:00:00Z";
  constexpr char kNew[] = "2024-01-01T00:00:00Z";
  struct Case {
    const char* name;
    std::string text;
    std::string left_out;
    std::string want;  // The problem.
  };
  const std::string ip = "  clusterIP: 10.96.0.10\n  ports: [{port: 80}]";
  const std::string port = "  type: NodePort\n  ports: [{port: 80, nodePort: 30080}]";
  const std::string health =
      "  type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 30080\n  "
      "ports: "
      "[{port: 80}]";
  const Case cases[] = {
      {"clusterIP by age", AtTime("a", kNew, ip) + AtTime("b", kOld, ip), "a",
       "test.yaml:6: Service default/a: spec.clusterIP: 10.96.0.10 is also asked for by Service "
       "default/b, which has it; the Service is left out"},
      {"clusterIP by name", AtTime("b", kNew, ip) + AtTime("a", kNew, ip), "b",
       "test.yaml:6: Service default/b: spec.clusterIP: 10.96.0.10 is also asked for by Service "
       "default/a, which has it; the Service is left out"},
      {"node port by age", AtTime("a", kNew, port) + AtTime("b", kOld, port), "a",
       "test.yaml:7: Service default/a: spec.ports[0].nodePort: 30080/TCP is also asked for by "
       "Service default/b, which has it; the Service is left out"},
      {"health check port", AtTime("a", kOld, port) + AtTime("b", kNew, health), "b",
       "test.yaml:9: Service default/b: spec.healthCheckNodePort: 30080/TCP is also asked for by "
       "Service default/a, which has it; the Service is left out"},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const Composition composition = ComposeText(c.text + ServiceYaml("bystander"));
    CHECK(FormatProblems(composition.problems) == std::vector<std::string>{c.want});
    CHECK(FindService(composition.picture, c.left_out) == nullptr);
    CHECK(FindService(composition.picture, c.left_out == "a" ? "b" : "a") != nullptr);
    CHECK(FindService(composition.picture, "bystander") != nullptr);
  }
}

TEST_CASE("the same node port with another protocol is no conflict") {
  const Composition composition = ComposeText(
      ServiceYaml("a", "  type: NodePort\n  ports: [{port: 80, nodePort: 30080}]") +
      ServiceYaml("b", "  type: NodePort\n  ports: [{port: 80, nodePort: 30080, protocol: UDP}]"));
  CHECK(composition.problems.empty());
  CHECK(NodePorts(composition, "b") == std::vector<uint16_t>{30080});
}

TEST_CASE("external addresses that an older Service has are pointed out") {
  const Composition composition =
      ComposeText(ServiceYaml("a", "  externalIPs: [203.0.113.7]") +
                  ServiceYaml("b", "  externalIPs: [203.0.113.7]") +
                  ServiceYaml("c", "  externalIPs: [203.0.113.7]\n  ports: [{port: 81}]"));
  CHECK(FormatProblems(composition.problems) ==
        std::vector<std::string>{
            "test.yaml:10: Service default/b: spec.externalIPs: 203.0.113.7:80/TCP "
            "belongs to Service default/a: ignored"});
}

TEST_CASE("an exhausted range is an error of the Services that get nothing") {
  // A /29 without network, first and broadcast address: five.
  std::string text;
  for (int i = 0; i < 6; ++i) text += ServiceYaml(absl::StrCat("s", i));
  const Composition composition = ComposeServices(text, "10.96.0.0/29");
  CHECK(FormatProblems(composition.problems) ==
        std::vector<std::string>{
            "test.yaml:42: Service default/s5: spec.clusterIP: the service cluster "
            "IP range 10.96.0.0/29 is exhausted; the Service is left out"});
  std::set<std::string> addresses;
  for (int i = 0; i < 5; ++i) addresses.insert(ClusterIps(composition, absl::StrCat("s", i))[0]);
  CHECK(addresses ==
        std::set<std::string>{"10.96.0.2", "10.96.0.3", "10.96.0.4", "10.96.0.5", "10.96.0.6"});

  text += ServiceYaml("asks", "  clusterIP: 10.96.0.1");
  CHECK(ClusterIps(ComposeServices(text, "10.96.0.0/29"), "asks") ==
        std::vector<std::string>{"10.96.0.1"});
}

TEST_CASE("an exhausted port range leaves nothing behind") {
  const std::string two = "  type: NodePort\n  ports: [{name: a, port: 80}, {name: b, port: 81}]";
  const std::string one = "  type: NodePort\n  ports: [{port: 80}]";
  const Composition composition =
      ComposeServices(ServiceYaml("a", two) + ServiceYaml("b", two) + ServiceYaml("c", one),
                      "10.96.0.0/12", {.first = 30000, .last = 30002});
  CHECK(FormatProblems(composition.problems) ==
        std::vector<std::string>{
            "test.yaml:16: Service default/b: spec.ports[1].nodePort: the service node port range "
            "30000-30002 is exhausted; the Service is left out"});
  CHECK(NodePorts(composition, "c").size() == 1);
  CHECK(composition.allocations.size() == 2);
}

TEST_CASE("tiny ranges have nothing to give") {
  for (const char* range : {"10.96.0.0/32", "10.96.0.0/31", "10.96.0.0/30", "fd00::/128"}) {
    INFO(range);
    const Composition composition = ComposeServices(ServiceYaml("a") + ServiceYaml("b"), range);
    // A /30 has one address that is nobody's.
    CHECK(composition.problems.size() == (std::string(range) == "10.96.0.0/30" ? 1 : 2));
  }
}

// Services of all sorts, one file each.
Files RandomFiles(std::mt19937* random, int count) {
  Files files;
  const auto pick = [&](int n) { return static_cast<int>((*random)() % n); };
  for (int i = 0; i < count; ++i) {
    std::string spec;
    if (pick(2) == 0) absl::StrAppend(&spec, "  type: NodePort\n");
    if (pick(6) == 0) absl::StrAppend(&spec, "  clusterIP: 10.96.0.", 1 + pick(250), "\n");
    if (pick(4) == 0) absl::StrAppend(&spec, "  ipFamilyPolicy: PreferDualStack\n");
    absl::StrAppend(&spec,
                    "  ports:\n  - {name: a, port: 53}\n  - {name: b, port: 53, protocol: UDP");
    if (pick(6) == 0) absl::StrAppend(&spec, ", nodePort: ", 30000 + pick(100));
    absl::StrAppend(&spec, "}\n");
    files.emplace_back(absl::StrCat("f", i, ".yaml"), ServiceYaml(absl::StrCat("s", i), spec));
  }
  return files;
}

void CheckNothingTwice(const Composition& composition) {
  std::set<IpAddress> addresses;
  std::map<uint16_t, std::set<ObjectName>> numbers;
  std::set<PortProtocol> ports;
  for (const auto& [id, object] : composition.picture) {
    if (id.kind != ObjectKind::kService) continue;
    const Service& service = *std::get<std::shared_ptr<const Service>>(object);
    for (const IpAddress& address : service.cluster_ips) CHECK(addresses.insert(address).second);
    for (const ServicePort& port : service.ports) {
      if (port.node_port == 0) continue;
      CHECK(ports.insert({port.node_port, port.protocol}).second);
    }
  }
  for (const auto& [name, allocation] : composition.allocations) {
    for (const auto& [port, number] : allocation.node_ports) numbers[number].insert(name);
  }
  for (const auto& [number, names] : numbers) CHECK(names.size() == 1);
}

TEST_CASE("allocations do not depend on the order, hold nothing twice, and last") {
  std::mt19937 random(20240501);
  const AllocationRanges ranges{*ParseServiceClusterIpRanges("10.96.0.0/24,fd00::/120"),
                                {.first = 30000, .last = 30199}};
  for (int round = 0; round < 5; ++round) {
    INFO("round " << round);
    Files files = RandomFiles(&random, 90);
    const Composition first = ComposeTexts(files, ranges);
    CheckNothingTwice(first);
    std::shuffle(files.begin(), files.end(), random);
    const Composition shuffled = ComposeTexts(files, ranges);
    CHECK(shuffled.allocations == first.allocations);
    // Once more from what is kept: nothing moves.
    CHECK(ComposeTexts(files, ranges, first.allocations).allocations == first.allocations);
    // Services that come later ask for nothing and take nothing away.
    for (int i = 0; i < 20; ++i) {
      files.emplace_back("z.yaml", ServiceYaml(absl::StrCat("new", i), "  type: NodePort"));
    }
    const Composition more = ComposeTexts(files, ranges, first.allocations);
    CheckNothingTwice(more);
    for (const auto& [name, allocation] : first.allocations) {
      CHECK(more.allocations.at(name) == allocation);
    }
    // What is gone is freed.
    files.resize(10);
    const Composition fewer = ComposeTexts(files, ranges, more.allocations);
    CHECK(fewer.allocations.size() <= 10);
  }
}

TEST_CASE("one who asks for a kept address has it, and the other one is told") {
  const Composition before = ComposeText(ServiceYaml("a"));
  const std::string address = ClusterIps(before, "a")[0];
  const Composition after =
      ComposeTexts({{"test.yaml", ServiceYaml("a") + ServiceYaml("b", "  clusterIP: " + address)}},
                   DualStackRanges(), before.allocations);
  CHECK(ClusterIps(after, "b") == std::vector<std::string>{address});
  CHECK(ClusterIps(after, "a") != std::vector<std::string>{address});
  CHECK(FormatProblems(after.problems) ==
        std::vector<std::string>{absl::StrCat("test.yaml:2: Service default/a: spec: the address ",
                                              address,
                                              " went to Service default/b: this Service has "
                                              "been given another one")});
}

TEST_CASE("an invalid Service keeps what it was given") {
  const Composition before = ComposeText(ServiceYaml("a", "  type: NodePort"));
  REQUIRE(before.allocations.size() == 1);
  const Composition after = ComposeTexts({{"test.yaml", ServiceYaml("a", "  type: Nonsense")}},
                                         DualStackRanges(), before.allocations);
  CHECK(FindService(after.picture, "a") == nullptr);
  CHECK(after.allocations == before.allocations);
}

TEST_CASE("allocations outside of a changed range are given up") {
  const Composition before = ComposeServices(ServiceYaml("a", "  type: NodePort"), "10.96.0.0/12");
  const Composition after = ComposeServices(ServiceYaml("a", "  type: NodePort"), "10.200.0.0/16",
                                            {.first = 20000, .last = 20100}, before.allocations);
  CHECK(IpPrefix::Parse("10.200.0.0/16")->Contains(*IpAddress::Parse(ClusterIps(after, "a")[0])));
  CHECK(NodePorts(after, "a")[0] <= 20100);
}

}  // namespace
}  // namespace fairlead::manifest
