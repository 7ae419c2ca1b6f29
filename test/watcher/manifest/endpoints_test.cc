#include "watcher/manifest/endpoints.h"

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "test/watcher/manifest/testing.h"

namespace fairlead::manifest {
namespace {

// The slices of a Service in one line each: "IPv4 http/TCP/8080: 10.0.0.1(a@n1/z1,ready,serving)".
std::vector<std::string> ShowSlices(const Picture& picture, const std::string& service) {
  std::vector<std::string> lines;
  for (const auto& slice : FindSlices(picture, service)) {
    std::string line(FormatFamily(slice->family));
    for (const EndpointPort& port : slice->ports) {
      absl::StrAppend(&line, " ", port.name, "/", ipvs::FormatProtocol(port.protocol), "/",
                      port.port);
    }
    absl::StrAppend(&line, ":");
    for (const Endpoint& endpoint : slice->endpoints) {
      absl::StrAppend(&line, " ", endpoint.address.Format(), "(", endpoint.target_name.view(), "@",
                      endpoint.node_name.view(), endpoint.zone.empty() ? "" : "/",
                      endpoint.zone.view(), endpoint.ready ? ",ready" : "",
                      endpoint.serving ? ",serving" : "",
                      endpoint.terminating ? ",terminating" : "", ")");
    }
    lines.push_back(std::move(line));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

std::string Pod(const std::string& metadata, const std::string& spec, const std::string& status) {
  return absl::StrCat("---\napiVersion: v1\nkind: Pod\nmetadata: {", metadata, "}\nspec: {", spec,
                      "}\nstatus: {", status, "}\n");
}

TEST_CASE("Pods become endpoints") {
  const std::string labels = "labels: {app: s}";
  struct Case {
    const char* name;
    std::string text;
    std::vector<std::string> want;
  };
  const Case cases[] = {
      {"a Pod that is ready",
       ServiceYaml("s") + PodYaml("a", "s", "10.0.0.1"),
       {"IPv4 /TCP/80: 10.0.0.1(a@n1,ready,serving)"}},
      {"no Pod", ServiceYaml("s"), {}},
      {"Pods by name",
       ServiceYaml("s") + PodYaml("b", "s", "10.0.0.2") + PodYaml("a", "s", "10.0.0.1"),
       {"IPv4 /TCP/80: 10.0.0.1(a@n1,ready,serving) 10.0.0.2(b@n1,ready,serving)"}},
      {"another label", ServiceYaml("s") + PodYaml("a", "t", "10.0.0.1"), {}},
      {"another namespace",
       ServiceYaml("s") + Pod("name: a, namespace: x, " + labels, "", "podIP: 10.0.0.1"),
       {}},
      {"all labels of the selector",
       "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"
       "spec: {selector: {app: s, tier: x}, ports: [{port: 80}]}\n" +
           Pod("name: a, labels: {app: s, tier: x, more: z}", "", "podIP: 10.0.0.1") +
           Pod("name: b, labels: {app: s, tier: z}", "", "podIP: 10.0.0.2") +
           Pod("name: c, labels: {app: s}", "", "podIP: 10.0.0.3"),
       {"IPv4 /TCP/80: 10.0.0.1(a@,ready,serving)"}},
      {"no selector",
       "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n" +
           PodYaml("a", "s", "10.0.0.1"),
       {}},
      {"ExternalName",
       ServiceYaml("s", "  type: ExternalName") + PodYaml("a", "s", "10.0.0.1"),
       {}},
      {"headless",
       ServiceYaml("s", "  clusterIP: None") + PodYaml("a", "s", "10.0.0.1"),
       {"IPv4 /TCP/80: 10.0.0.1(a@n1,ready,serving)"}},
      {"not ready",
       ServiceYaml("s") + Pod("name: a, " + labels, "",
                              "podIP: 10.0.0.1, conditions: [{type: Ready, status: \"False\"}]"),
       {"IPv4 /TCP/80: 10.0.0.1(a@)"}},
      {"not ready, published all the same",
       ServiceYaml("s", "  publishNotReadyAddresses: true") +
           Pod("name: a, " + labels, "",
               "podIP: 10.0.0.1, conditions: [{type: Ready, status: \"False\"}]"),
       {"IPv4 /TCP/80: 10.0.0.1(a@,ready)"}},
      {"terminating",
       ServiceYaml("s") + Pod("name: a, deletionTimestamp: 2024-05-01T10:00:00Z, " + labels, "",
                              "podIP: 10.0.0.1"),
       {"IPv4 /TCP/80: 10.0.0.1(a@,serving,terminating)"}},
      {"terminating, published all the same",
       ServiceYaml("s", "  publishNotReadyAddresses: true") +
           Pod("name: a, deletionTimestamp: 2024-05-01T10:00:00Z, " + labels, "",
               "podIP: 10.0.0.1"),
       {"IPv4 /TCP/80: 10.0.0.1(a@,ready,serving,terminating)"}},
      {"finished",
       ServiceYaml("s") + Pod("name: a, " + labels, "", "phase: Failed, podIP: 10.0.0.1"),
       {}},
      {"no address yet", ServiceYaml("s") + Pod("name: a, " + labels, "", "phase: Pending"), {}},
      {"host network",
       ServiceYaml("s") + Pod("name: a, " + labels, "hostNetwork: true", "hostIP: 192.0.2.1"),
       {"IPv4 /TCP/80: 192.0.2.1(a@,ready,serving)"}},
      {"the zone of its node",
       ServiceYaml("s") + PodYaml("a", "s", "10.0.0.1") +
           "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: "
           "{topology.kubernetes.io/zone: z1}}\n",
       {"IPv4 /TCP/80: 10.0.0.1(a@n1/z1,ready,serving)"}},
      {"both families, one wanted",
       ServiceYaml("s") +
           Pod("name: a, " + labels, "", "podIPs: [{ip: 10.0.0.1}, {ip: \"fd01::1\"}]"),
       {"IPv4 /TCP/80: 10.0.0.1(a@,ready,serving)"}},
      {"both families, both wanted",
       ServiceYaml("s", "  ipFamilyPolicy: RequireDualStack") +
           Pod("name: a, " + labels, "", "podIPs: [{ip: 10.0.0.1}, {ip: \"fd01::1\"}]"),
       {"IPv4 /TCP/80: 10.0.0.1(a@,ready,serving)", "IPv6 /TCP/80: fd01::1(a@,ready,serving)"}},
      {"a numeric target port",
       ServiceYaml("s", "  ports: [{port: 80, targetPort: 8080}]") + PodYaml("a", "s", "10.0.0.1"),
       {"IPv4 /TCP/8080: 10.0.0.1(a@n1,ready,serving)"}},
      {"a name with different numbers",
       ServiceYaml("s", "  ports: [{name: http, port: 80, targetPort: web}]") +
           PodYaml("a", "s", "10.0.0.1",
                   "  containers: [{ports: [{name: web, containerPort: 8080}]}]") +
           PodYaml("b", "s", "10.0.0.2",
                   "  containers: [{ports: [{name: web, containerPort: 8081}]}]"),
       {"IPv4 http/TCP/8080: 10.0.0.1(a@n1,ready,serving)",
        "IPv4 http/TCP/8081: 10.0.0.2(b@n1,ready,serving)"}},
      {"the name of another protocol's port",
       ServiceYaml("s", "  ports: [{name: dns, port: 53, protocol: UDP, targetPort: dns}]") +
           PodYaml("a", "s", "10.0.0.1",
                   "  containers: [{ports: [{name: dns, containerPort: 1}, {name: dns, "
                   "containerPort: 53, protocol: UDP}]}]"),
       {"IPv4 dns/UDP/53: 10.0.0.1(a@n1,ready,serving)"}},
      {"a slice is there already",
       ServiceYaml("s") + PodYaml("a", "s", "10.0.0.1") +
           "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: given, "
           "labels: {kubernetes.io/service-name: s}}\naddressType: IPv4\nports: [{name: \"\", "
           "port: "
           "1}]\nendpoints: [{addresses: [10.9.9.9]}]\n",
       {"IPv4 /TCP/1: 10.9.9.9(@,ready,serving)"}},
      {"two Services, one Pod",
       ServiceYaml("s") +
           "---\napiVersion: v1\nkind: Service\nmetadata: {name: t}\nspec: {selector: {app: s}, "
           "ports: [{port: 1}]}\n" +
           PodYaml("a", "s", "10.0.0.1"),
       {"IPv4 /TCP/80: 10.0.0.1(a@n1,ready,serving)"}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const Composition composition = ComposeText(c.text);
    CHECK(FormatProblems(composition.problems) == kNoProblems);
    CHECK(ShowSlices(composition.picture, "s") == c.want);
  }
}

TEST_CASE("a Pod without one of the ports has the others, and a problem says so") {
  const std::string ports =
      "  ports:\n  - {name: http, port: 80, targetPort: web}\n  - {name: raw, port: 81}\n";
  const std::string with = "  containers: [{ports: [{name: web, containerPort: 8080}]}]";
  const Composition composition =
      ComposeText(ServiceYaml("s", ports) + PodYaml("a", "s", "10.0.0.1", with) +
                  PodYaml("b", "s", "10.0.0.2") + PodYaml("c", "s", "10.0.0.3"));
  CHECK(ShowSlices(composition.picture, "s") ==
        std::vector<std::string>{
            "IPv4 http/TCP/8080 raw/TCP/81: 10.0.0.1(a@n1,ready,serving)",
            "IPv4 raw/TCP/81: 10.0.0.2(b@n1,ready,serving) 10.0.0.3(c@n1,ready,serving)"});
  CHECK(
      FormatProblems(composition.problems) ==
      std::vector<std::string>{
          "test.yaml:8: Service default/s: spec.ports[0].targetPort: Pod default/b has no TCP port "
          "\"web\", nor have 1 more of the Service's Pods: no endpoint for port 80"});
}

TEST_CASE("an invalid EndpointSlice is not replaced by Pods") {
  const Composition composition = ComposeText(
      ServiceYaml("s") + PodYaml("a", "s", "10.0.0.1") +
      "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: given, labels: "
      "{kubernetes.io/service-name: s}}\naddressType: IPv4\nendpoints: [{addresses: [x]}]\n");
  CHECK(composition.problems.size() == 1);
  CHECK(ShowSlices(composition.picture, "s").empty());
}

TEST_CASE("the names of slices depend on Service, family and ports alone") {
  const std::string text = ServiceYaml("s") + PodYaml("a", "s", "10.0.0.1");
  const auto one = FindSlices(ComposeText(text).picture, "s");
  const auto two = FindSlices(ComposeText(PodYaml("z", "s", "10.0.0.9") + text).picture, "s");
  REQUIRE(one.size() == 1);
  REQUIRE(two.size() == 1);
  CHECK(one[0]->name == two[0]->name);
  CHECK(absl::StartsWith(one[0]->name.name, "s-pods-ipv4-"));
}

TEST_CASE("an object that is there twice is used once") {
  const Composition composition =
      ComposeTexts({{"a.yaml", ServiceYaml("s", "  clusterIP: 10.96.0.1")},
                    {"b.yaml", ServiceYaml("s", "  clusterIP: 10.96.0.2") + ServiceYaml("t")}},
                   DualStackRanges());
  CHECK(FindService(composition.picture, "s")->cluster_ips[0].Format() == "10.96.0.1");
  CHECK(FindService(composition.picture, "t") != nullptr);
  CHECK(FormatProblems(composition.problems) ==
        std::vector<std::string>{
            "b.yaml:2: Service default/s: metadata.name: is there twice: the one "
            "in a.yaml:2 is used, this one is left out"});
}

}  // namespace
}  // namespace fairlead::manifest
