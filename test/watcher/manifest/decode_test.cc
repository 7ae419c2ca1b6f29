#include "watcher/manifest/decode.h"

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "test/watcher/manifest/testing.h"

namespace fairlead::manifest {
namespace {

// The one object of the text, which has no problems.
template <typename T>
T DecodeOne(const std::string& text) {
  const DecodedFile file = DecodeFile("test.yaml", text);
  for (const InvalidObject& object : file.invalid) {
    for (const Problem& problem : object.problems) FAIL(problem.Format());
  }
  for (const Problem& problem : file.problems) FAIL(problem.Format());
  REQUIRE(file.objects.size() == 1);
  return file.objects[0].As<T>();
}

// The problems of a text, and with "-" before them those of objects that are left out.
std::vector<std::string> Problems(const std::string& text) {
  const DecodedFile file = DecodeFile("test.yaml", text);
  std::vector<std::string> problems = FormatProblems(file.problems);
  for (const InvalidObject& object : file.invalid) {
    for (const Problem& problem : object.problems) problems.push_back("-" + problem.Format());
  }
  return problems;
}

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }

TEST_CASE("a drain timeout that is none is ignored with a warning, and the Service is served") {
  for (const char* text : {"soon", "", "-1s", "169h", "5"}) {
    INFO(text);
    const std::string manifest = absl::StrCat(R"(
apiVersion: v1
kind: Service
metadata:
  name: cart
  namespace: shop
  annotations: {fairlead.dev/drain-timeout: ")",
                                              text, R"("}
spec: {ports: [{port: 80}]}
)");
    const DecodedFile file = DecodeFile("test.yaml", manifest);
    REQUIRE(file.objects.size() == 1);
    CHECK(file.objects[0].As<ServiceManifest>().service.drain_timeout == std::nullopt);
    REQUIRE(file.problems.size() == 1);
    CHECK(file.problems[0].severity == Severity::kWarning);
    CHECK(absl::StrContains(file.problems[0].Format(), "fairlead.dev/drain-timeout"));
    CHECK(absl::StrContains(file.problems[0].Format(), "\"90s\""));
  }
}

TEST_CASE("a Service with everything that is read") {
  const auto manifest = DecodeOne<ServiceManifest>(R"(
apiVersion: v1
kind: Service
metadata:
  namespace: shop
  name: cart
  creationTimestamp: 2024-05-01T10:00:00Z
  labels:
    service.kubernetes.io/service-proxy-name: other
    service.kubernetes.io/headless: ""
  annotations: {fairlead.dev/scheduler: lc, fairlead.dev/drain-timeout: 1m30s, fairlead.dev/udp-drain-timeout: "0"}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00::10"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  selector: {app: cart}
  externalIPs: [203.0.113.7, 203.0.113.7]
  loadBalancerSourceRanges: [" 198.51.100.0/24 ", "2001:db8::/32"]
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  healthCheckNodePort: 31999
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  publishNotReadyAddresses: true
  allocateLoadBalancerNodePorts: false
  ports:
  - {name: dns, protocol: UDP, port: 53, targetPort: 5353, nodePort: 30053}
  - {name: http, port: 80, targetPort: web}
  - {name: plain, port: 8080}
status:
  loadBalancer:
    ingress:
    - {ip: 198.51.100.9}
    - {ip: 198.51.100.10, ipMode: Proxy}
    - {ip: 198.51.100.11, ipMode: VIP}
    - {hostname: lb.example}
)");
  ServiceManifest want;
  Service& service = want.service;
  service.name = {"shop", "cart"};
  service.type = ServiceType::kLoadBalancer;
  service.created = absl::FromUnixSeconds(1714557600);
  service.headless_label = true;
  service.proxy_name_label = "other";
  service.scheduler = "lc";
  service.drain_timeout = absl::Seconds(90);
  service.udp_drain_timeout = absl::ZeroDuration();
  service.cluster_ips = {Ip("10.96.0.10"), Ip("fd00::10")};
  service.external_ips = {Ip("203.0.113.7")};
  service.load_balancer_ips = {Ip("198.51.100.9"), Ip("198.51.100.11")};
  service.load_balancer_source_ranges = {*IpPrefix::Parse("198.51.100.0/24"),
                                         *IpPrefix::Parse("2001:db8::/32")};
  service.external_traffic_policy = TrafficPolicy::kLocal;
  service.internal_traffic_policy = TrafficPolicy::kLocal;
  service.health_check_node_port = 31999;
  service.affinity_timeout = absl::Seconds(60);
  service.ports = {{"dns", ipvs::Protocol::kUdp, 53, 30053},
                   {"http", ipvs::Protocol::kTcp, 80, 0},
                   {"plain", ipvs::Protocol::kTcp, 8080, 0}};
  want.families = {IpFamily::kIpv4, IpFamily::kIpv6};
  want.family_policy = FamilyPolicy::kRequireDualStack;
  want.selector = {{"app", "cart"}};
  want.target_ports = {{"", 5353}, {"web", 0}, {"", 8080}};
  want.port_lines = {29, 30, 31};
  want.cluster_ip_line = 15;
  want.publish_not_ready = true;
  want.allocate_node_ports = false;
  CHECK(manifest == want);
}

TEST_CASE("a Service with next to nothing has the defaults") {
  const auto manifest = DecodeOne<ServiceManifest>(
      R"({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "creationTimestamp": null},
          "spec": {"type": "", "clusterIP": "", "ports": [{"port": 80, "nodePort": 0,
          "targetPort": 0}]}, "status": {"loadBalancer": {}}})");
  ServiceManifest want;
  want.service.name = {"default", "a"};
  want.service.ports = {{"", ipvs::Protocol::kTcp, 80, 0}};
  want.target_ports = {{"", 80}};
  want.port_lines = {2};
  CHECK(manifest == want);
}

TEST_CASE("what kind of Service it is") {
  CHECK(DecodeOne<ServiceManifest>(ServiceYaml("a", "  clusterIP: None")).headless);
  CHECK(DecodeOne<ServiceManifest>(ServiceYaml("a", "  clusterIPs: [None]")).headless);
  CHECK(DecodeOne<ServiceManifest>(ServiceYaml("a", "  clusterIP: None\n  ports: []")).headless);
  const auto external = DecodeOne<ServiceManifest>(
      "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
      "spec: {type: ExternalName, externalName: example.org}\n");
  CHECK(external.service.type == ServiceType::kExternalName);
  const auto affinity = DecodeOne<ServiceManifest>(ServiceYaml("a", "  sessionAffinity: ClientIP"));
  CHECK(affinity.service.affinity_timeout == absl::Seconds(10800));
}

TEST_CASE("what is wrong with a Service is said with its field") {
  struct Case {
    const char* name;
    const char* spec;  // Below "spec:", at line 8 after the given ports.
    const char* want;  // Behind "test.yaml:<line>: Service default/a: ".
  };
  const Case cases[] = {
      {"port as a string", "  ports: [{port: \"80\"}]",
       "-spec.ports[0].port: is the string \"80\", not a whole number"},
      {"port too large", "  ports: [{port: 70000}]",
       "-spec.ports[0].port: 70000 is not a port number (1 to 65535)"},
      {"port 0", "  ports: [{port: 0}]",
       "-spec.ports[0].port: 0 is not a port number (1 to 65535)"},
      {"negative port", "  ports: [{port: -1}]",
       "-spec.ports[0].port: -1 is not a port number (1 to 65535)"},
      {"half a port", "  ports: [{port: 80.5}]",
       "-spec.ports[0].port: is the number 80.5, not a whole number"},
      {"no port", "  ports: [{name: a}]", "-spec.ports[0].port: is missing"},
      {"ports are a map", "  ports: {port: 80}", "-spec.ports: is a map, not a list"},
      {"a port is a number", "  ports: [80]", "-spec.ports[0]: is the number 80, not a map"},
      {"no ports", "  ports: []", "-spec.ports: is empty"},
      {"null ports", "  ports:", "-spec.ports: is missing"},
      {"protocol", "  ports: [{port: 80, protocol: tcp}]",
       "-spec.ports[0].protocol: \"tcp\" is not a protocol (TCP, UDP or SCTP)"},
      {"port name", "  ports: [{port: 80, name: A_b}]",
       "-spec.ports[0].name: \"A_b\" is not a port name (lower-case letters, digits and '-')"},
      {"port name that is a boolean", "  ports: [{port: 80, name: yes}]",
       "-spec.ports[0].name: is the boolean yes, not a string"},
      {"target port", "  ports: [{port: 80, targetPort: 65536}]",
       "-spec.ports[0].targetPort: 65536 is not a port number (1 to 65535)"},
      {"target port as a quoted number", "  ports: [{port: 80, targetPort: \"8080\"}]",
       "-spec.ports[0].targetPort: the string \"8080\" is not the name of a Pod's port (at most 15 "
       "characters, at least one of them a letter)"},
      {"node port", "  type: NodePort\n  ports: [{port: 80, nodePort: 99999}]",
       "-spec.ports[0].nodePort: 99999 is not a port number (1 to 65535)"},
      {"node port of a ClusterIP", "  ports: [{port: 80, nodePort: 30080}]",
       "spec.ports[0].nodePort: ignored: only types NodePort and LoadBalancer have node ports"},
      {"same port", "  ports: [{port: 80, name: a}, {port: 80, name: b}]",
       "-spec.ports[1].port: 80/TCP is given twice"},
      {"same node port",
       "  type: NodePort\n  ports: [{port: 80, name: a, nodePort: 30080}, {port: 81, name: b, "
       "nodePort: 30080}]",
       "-spec.ports[1].nodePort: 30080/TCP is given twice"},
      {"same port name", "  ports: [{port: 80, name: a}, {port: 81, name: a}]",
       "-spec.ports[1].name: \"a\" is given twice"},
      {"port without a name", "  ports: [{port: 80, name: a}, {port: 81}]",
       "-spec.ports[1].name: is missing, which is only possible for a single port"},
      {"type", "  type: Nodeport",
       "-spec.type: \"Nodeport\" is not one of ClusterIP, NodePort, LoadBalancer, ExternalName"},
      {"type of the wrong type", "  type: [NodePort]", "-spec.type: is a list, not a string"},
      {"affinity", "  sessionAffinity: Cookie",
       "-spec.sessionAffinity: \"Cookie\" is not one of None, ClientIP"},
      {"affinity timeout",
       "  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}",
       "-spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 is not a number of seconds from "
       "1 to 86400"},
      {"external policy", "  externalTrafficPolicy: local",
       "-spec.externalTrafficPolicy: \"local\" is not one of Cluster, Local"},
      {"internal policy", "  internalTrafficPolicy: 1",
       "-spec.internalTrafficPolicy: is the number 1, not a string"},
      {"cluster IP", "  clusterIP: 10.96.0.256",
       "-spec.clusterIP: \"10.96.0.256\" is not an IP address"},
      {"cluster IP of the loopback", "  clusterIP: 127.0.0.1",
       "-spec.clusterIP: 127.0.0.1 is a loopback address, which a Service cannot use"},
      {"cluster IP as a number", "  clusterIPs: [10]",
       "-spec.clusterIPs[0]: is the number 10, not a string"},
      {"two cluster IPs of a family", "  clusterIPs: [10.96.0.1, 10.96.0.2]",
       "-spec.clusterIPs[1]: is a second IPv4 address"},
      {"cluster IPs that disagree", "  clusterIP: 10.96.0.1\n  clusterIPs: [10.96.0.2]",
       "-spec.clusterIPs: begins with another address than spec.clusterIP, \"10.96.0.1\""},
      {"cluster IP of another family", "  clusterIP: 10.96.0.1\n  ipFamilies: [IPv6]",
       "-spec.clusterIP: 10.96.0.1 is not of spec.ipFamilies[0], IPv6"},
      {"None with a type", "  type: NodePort\n  clusterIP: None",
       "-spec.clusterIP: None is only possible for type ClusterIP"},
      {"family", "  ipFamilies: [IPv5]", "-spec.ipFamilies[0]: \"IPv5\" is not one of IPv4, IPv6"},
      {"family twice", "  ipFamilies: [IPv4, IPv4]", "-spec.ipFamilies[1]: IPv4 is given twice"},
      {"family policy", "  ipFamilyPolicy: DualStack",
       "-spec.ipFamilyPolicy: \"DualStack\" is not one of SingleStack, PreferDualStack, "
       "RequireDualStack"},
      {"external IP", "  externalIPs: [nonsense]",
       "spec.externalIPs[0]: \"nonsense\" is not an IP address: ignored"},
      {"external IP of a link", "  externalIPs: [\"fe80::1\"]",
       "spec.externalIPs[0]: fe80::1 is a link-local address, which a Service cannot use: ignored"},
      {"one bad source range", "  loadBalancerSourceRanges: [10.0.0.0/8, 10.0.0.0/33]",
       "spec.loadBalancerSourceRanges[1]: \"10.0.0.0/33\" is not an address range: ignored"},
      {"health check port", "  type: LoadBalancer\n  healthCheckNodePort: 31000",
       "spec.healthCheckNodePort: ignored: only type LoadBalancer with externalTrafficPolicy Local "
       "has one"},
      {"selector", "  selector: [a]", "-spec.selector: is a list, not a map"},
      {"duplicate key", "  type: NodePort\n  type: NodePort", "-spec: gives \"type\" twice"},
      {"long nonsense",
       "  type: "
       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
       "-spec.type: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\" is not one "
       "of "
       "ClusterIP, NodePort, LoadBalancer, ExternalName"},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    std::string text = ServiceYaml("a", c.spec);
    if (std::string(c.name) == "selector")
      text = absl::StrReplaceAll(text, {{"  selector: {app: a}\n", ""}});
    std::vector<std::string> problems = Problems(text);
    for (std::string& problem : problems) {
      const std::string object = ": Service default/a: ";
      const size_t at = problem.find(object);
      REQUIRE(at != std::string::npos);
      problem = (problem[0] == '-' ? "-" : "") + problem.substr(at + object.size());
    }
    CHECK(problems == std::vector<std::string>{c.want});
  }
}

TEST_CASE("source ranges of which none is left do not let everybody in") {
  CHECK(
      Problems(ServiceYaml("a", "  loadBalancerSourceRanges: [nonsense]")).back() ==
      "-test.yaml:8: Service default/a: spec.loadBalancerSourceRanges: holds no address range that "
      "can be used");
}

TEST_CASE("what is wrong with an object as such") {
  struct Case {
    const char* name;
    const char* text;
    std::vector<std::string> want;
  };
  const Case cases[] = {
      {"another kind", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: 5}", {}},
      {"another version", "apiVersion: serving.knative.dev/v1\nkind: Service\nspec: 5", {}},
      {"values of Helm", "replicas: 3\nimage: {tag: x}", {}},
      {"no kind", "apiVersion: v1\nmetadata: {name: a}", {"test.yaml:1: kind: is missing"}},
      {"no apiVersion",
       "kind: Service\nmetadata: {name: a}",
       {"test.yaml:1: apiVersion: is missing"}},
      {"kind is a number",
       "apiVersion: v1\nkind: 5",
       {"test.yaml:2: kind: is the number 5, not a string"}},
      {"a bare string", "hello", {"test.yaml:1: is the string \"hello\", not a Kubernetes object"}},
      {"a list", "- a\n- b", {"test.yaml:1: is a list, not a Kubernetes object"}},
      {"no metadata",
       "apiVersion: v1\nkind: Node",
       {"-test.yaml:1: Node without a valid name: metadata: is missing"}},
      {"no name",
       "apiVersion: v1\nkind: Node\nmetadata: {labels: {a: b}}",
       {"-test.yaml:3: Node without a valid name: metadata.name: is missing"}},
      {"a name with a slash",
       "apiVersion: v1\nkind: Node\nmetadata: {name: a/b}",
       {"-test.yaml:3: Node without a valid name: metadata.name: \"a/b\" is not a name (lower-case "
        "letters, digits, '-' and '.')"}},
      {"a name that is a number",
       "apiVersion: v1\nkind: Node\nmetadata: {name: 12}",
       {"-test.yaml:3: Node without a valid name: metadata.name: is the number 12, not a string"}},
      {"a bad namespace",
       "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: \"..\"}",
       {"-test.yaml:3: Pod without a valid name: metadata.namespace: \"..\" is not the name of a "
        "namespace"}},
      {"a label that is no string",
       "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {v: 1.0}}",
       {"-test.yaml:3: Pod default/a: metadata.labels[v]: is the number 1.0, not a string"}},
      {"a time that is none",
       "apiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: noon}",
       {"-test.yaml:3: Pod default/a: metadata.creationTimestamp: \"noon\" is not a time (RFC "
        "3339)"}},
      {"a Service without a spec",
       "apiVersion: v1\nkind: Service\nmetadata: {name: a}",
       {"-test.yaml:1: Service default/a: spec: is missing"}},
      {"a List without a list",
       "apiVersion: v1\nkind: List\nitems: 5",
       {"test.yaml:3: items: is the number 5, not a list"}},
      {"control characters in a message",
       "apiVersion: v1\nkind: Node\nmetadata: {name: \"a\\nb\"}",
       {"-test.yaml:3: Node without a valid name: metadata.name: \"a?b\" is not a name (lower-case "
        "letters, digits, '-' and '.')"}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    CHECK(Problems(c.text) == c.want);
  }
}

TEST_CASE("problems of one object are counted when there are too many") {
  std::string ports = "  ports:\n";
  for (int i = 0; i < 15; ++i)
    absl::StrAppend(&ports, "  - {name: p", i, ", port: 0", ", nodePort: -1}\n");
  const std::vector<std::string> problems = Problems(ServiceYaml("a", ports));
  CHECK(problems.size() == kMaxProblemsPerObject);
  CHECK(problems.back().find("(and 35 more problems)") != std::string::npos);
}

TEST_CASE("lists hold objects") {
  struct Case {
    const char* name;
    const char* text;
    std::vector<std::string> want;
  };
  const Case cases[] = {
      {"a List",
       "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: a}}\n"
       "- {apiVersion: v1, kind: Secret}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n",
       {"Node a", "Pod default/b"}},
      {"a typed list whose items do not repeat the kind",
       "{\"apiVersion\": \"v1\", \"kind\": \"NodeList\", \"items\": [{\"metadata\": {\"name\": "
       "\"a\"}}]}",
       {"Node a"}},
      {"a list of EndpointSlices",
       "apiVersion: discovery.k8s.io/v1\nkind: EndpointSliceList\nitems:\n- metadata: {name: a, "
       "labels: {kubernetes.io/service-name: x}}\n  addressType: IPv4\n",
       {"EndpointSlice default/a"}},
      {"a List in a List",
       "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items:\n"
       "  - {apiVersion: v1, kind: Node, metadata: {name: a}}\n",
       {"Node a"}},
      {"an empty List", "apiVersion: v1\nkind: List\nitems: []\n", {}},
      {"merged defaults",
       "apiVersion: v1\nkind: List\nbase: &base {apiVersion: v1, kind: Node}\nitems:\n"
       "- {<<: *base, metadata: {name: a}}\n- {<<: *base, metadata: {name: b}}\n",
       {"Node a", "Node b"}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    std::vector<std::string> keys;
    for (const ManifestObject& object : DecodeFile("test.yaml", c.text).objects) {
      keys.push_back(object.key.Format());
    }
    CHECK(keys == c.want);
    CHECK(Problems(c.text).empty());
  }
}

TEST_CASE("an EndpointSlice with everything that is read") {
  const auto slice = DecodeOne<EndpointSlice>(R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  namespace: shop
  name: cart-1
  labels:
    kubernetes.io/service-name: cart
    service.kubernetes.io/service-proxy-name: other
    service.kubernetes.io/headless: ""
addressType: IPv4
ports:
- {name: http, port: 8080}
- {name: "", port: 53, protocol: UDP}
- {port: 81}
- {name: nil-port}
- {name: zero, port: 0}
endpoints:
- addresses: [10.244.1.2, 10.244.1.3]
  nodeName: n1
  zone: z1
  hints: {forZones: [{name: z1}, {name: z2}], forNodes: [{name: n1}]}
  targetRef: {kind: Pod, name: cart-a}
- addresses: [10.244.1.4]
  conditions: {ready: false, serving: true, terminating: true}
- addresses: [10.244.1.5]
  conditions: {ready: null}
)");
  EndpointSlice want;
  want.name = {"shop", "cart-1"};
  want.service_name = "cart";
  want.headless_label = true;
  want.proxy_name_label = "other";
  want.ports = {{"http", ipvs::Protocol::kTcp, 8080}, {"", ipvs::Protocol::kUdp, 53}};
  want.endpoints = {{.address = Ip("10.244.1.2"),
                     .node_name = "n1",
                     .zone = "z1",
                     .hints = EndpointHints{.zones = {"z1", "z2"}, .nodes = {"n1"}},
                     .target_name = "cart-a"},
                    {.address = Ip("10.244.1.4"), .ready = false, .terminating = true},
                    {.address = Ip("10.244.1.5")}};
  CHECK(slice == want);
}

TEST_CASE("the labels for proxies are read alike of Services and of slices") {
  struct Case {
    const char* name;
    std::string labels;
    bool headless;
    std::optional<std::string> proxy_name;
  };
  const Case cases[] = {
      {"none", "", false, std::nullopt},
      {"headless", "service.kubernetes.io/headless: \"\"", true, std::nullopt},
      {"headless whatever it says", "service.kubernetes.io/headless: \"false\"", true,
       std::nullopt},
      {"a proxy's name", "service.kubernetes.io/service-proxy-name: fairlead", false, "fairlead"},
      {"an empty name", "service.kubernetes.io/service-proxy-name: \"\"", false, ""},
      {"both", "service.kubernetes.io/service-proxy-name: other, service.kubernetes.io/headless: x",
       true, "other"},
      {"labels that sound alike",
       "headless: x, service-proxy-name: x, endpointslice.kubernetes.io/headless: x", false,
       std::nullopt},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const auto slice = DecodeOne<EndpointSlice>(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a, labels: "
        "{kubernetes.io/service-name: x, " +
        c.labels + "}}\naddressType: IPv4\n");
    CHECK(slice.headless_label == c.headless);
    CHECK(slice.proxy_name_label == c.proxy_name);
    const auto service =
        DecodeOne<ServiceManifest>("apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {" +
                                   c.labels + "}}\nspec: {ports: [{port: 80}]}\n");
    CHECK(service.service.headless_label == c.headless);
    CHECK(service.service.proxy_name_label == c.proxy_name);
  }
}

TEST_CASE("what is wrong with an EndpointSlice") {
  const std::string head =
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
      "metadata: {name: a, labels: {kubernetes.io/service-name: x}}\n";
  const std::string object = ": EndpointSlice default/a: ";
  struct Case {
    const char* name;
    std::string text;
    std::vector<std::string> want;
  };
  const Case cases[] = {
      {"names", head + "addressType: FQDN\nendpoints: [{addresses: [example.org]}]", {}},
      {"no Service",
       "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: "
       "IPv4",
       {"test.yaml:3" + object +
        "metadata.labels: the label kubernetes.io/service-name is missing: the slice is ignored"}},
      {"no address type",
       head + "endpoints: []",
       {"-test.yaml:1" + object + "addressType: is missing"}},
      {"unknown address type",
       head + "addressType: IPv5",
       {"-test.yaml:4" + object + "addressType: \"IPv5\" is not one of IPv4, IPv6, FQDN"}},
      {"an address that is none",
       head + "addressType: IPv4\nendpoints: [{addresses: [10.0.0]}]",
       {"-test.yaml:5" + object + "endpoints[0].addresses[0]: \"10.0.0\" is not an IP address"}},
      {"an address of the other family",
       head + "addressType: IPv4\nendpoints:\n- addresses: [\"fd00::1\"]",
       {"-test.yaml:6" + object + "endpoints[0].addresses[0]: fd00::1 is not of addressType IPv4"}},
      {"no address",
       head + "addressType: IPv4\nendpoints: [{addresses: []}]",
       {"-test.yaml:5" + object + "endpoints[0].addresses: holds no address"}},
      {"a condition that is a string",
       head +
           "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: \"true\"}}]",
       {"-test.yaml:5" + object +
        "endpoints[0].conditions.ready: is the string \"true\", not true or false"}},
      {"a port",
       head + "addressType: IPv4\nports: [{name: a, port: 65536}]",
       {"-test.yaml:5" + object + "ports[0].port: 65536 is not a port number (1 to 65535)"}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    CHECK(Problems(c.text) == c.want);
    CHECK(DecodeFile("test.yaml", c.text).objects.empty());
  }
}

TEST_CASE("a Pod's state") {
  struct Case {
    const char* name;
    const char* spec;
    const char* status;
    bool ready;
    bool finished;
    std::vector<std::string> addresses;
  };
  const Case cases[] = {
      {"running, no conditions",
       "{}",
       "{phase: Running, podIP: 10.0.0.1}",
       true,
       false,
       {"10.0.0.1"}},
      {"an address and nothing else", "{}", "{podIP: 10.0.0.1}", true, false, {"10.0.0.1"}},
      {"pending", "{}", "{phase: Pending}", false, false, {}},
      {"condition True", "{}", "{conditions: [{type: Ready, status: \"True\"}]}", true, false, {}},
      {"condition False",
       "{}",
       "{phase: Running, conditions: [{type: Ready, status: \"False\"}]}",
       false,
       false,
       {}},
      {"condition Unknown",
       "{}",
       "{phase: Running, conditions: [{type: Ready, status: Unknown}]}",
       false,
       false,
       {}},
      {"other conditions only",
       "{}",
       "{phase: Running, conditions: [{type: Initialized, status: \"False\"}]}",
       true,
       false,
       {}},
      {"succeeded", "{}", "{phase: Succeeded}", false, true, {}},
      {"failed", "{}", "{phase: Failed}", false, true, {}},
      {"both families",
       "{}",
       "{phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]}",
       true,
       false,
       {"10.0.0.1", "fd00::1"}},
      {"podIPs alone", "{}", "{podIPs: [{ip: \"fd00::1\"}]}", true, false, {"fd00::1"}},
      {"empty podIP", "{}", "{podIP: \"\"}", true, false, {}},
      {"host network", "{hostNetwork: true}", "{hostIP: 192.0.2.1}", true, false, {"192.0.2.1"}},
      {"host network with podIP",
       "{hostNetwork: true}",
       "{hostIP: 192.0.2.1, podIP: 192.0.2.2}",
       true,
       false,
       {"192.0.2.2"}},
      {"hostIP of a Pod of its own", "{}", "{hostIP: 192.0.2.1}", true, false, {}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const auto pod = DecodeOne<PodManifest>(absl::StrCat(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: ", c.spec, "\nstatus: ", c.status));
    CHECK(pod.ready == c.ready);
    CHECK(pod.finished == c.finished);
    std::vector<std::string> addresses;
    for (const IpAddress& address : pod.addresses) addresses.push_back(address.Format());
    CHECK(addresses == c.addresses);
  }
}

TEST_CASE("a Pod's ports are those of its containers and of init containers that stay") {
  const auto pod = DecodeOne<PodManifest>(R"(
apiVersion: v1
kind: Pod
metadata: {name: a, deletionTimestamp: "2024-05-01T10:00:00Z"}
spec:
  containers:
  - {name: x, ports: [{name: http, containerPort: 8080}, {containerPort: 53, protocol: UDP}]}
  - {name: z}
  initContainers:
  - {name: gone, ports: [{name: init, containerPort: 1}]}
  - {name: sidecar, restartPolicy: Always, ports: [{name: side, containerPort: 2}]}
)");
  CHECK(pod.terminating);
  CHECK(pod.ports == std::vector<ContainerPort>{{"http", ipvs::Protocol::kTcp, 8080},
                                                {"", ipvs::Protocol::kUdp, 53},
                                                {"side", ipvs::Protocol::kTcp, 2}});
}

TEST_CASE("a Node with everything that is read") {
  const auto node = DecodeOne<Node>(R"(
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}
spec:
  podCIDR: 10.244.1.0/24
  podCIDRs: [10.244.1.0/24, "fd00:1::/64"]
  taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]
status:
  addresses:
  - {type: Hostname, address: n1}
  - {type: InternalIP, address: 192.0.2.1}
  - {type: InternalIP, address: "2001:db8::1"}
  - {type: ExternalIP, address: 203.0.113.1}
)");
  Node want{.name = "n1", .zone = "z1", .being_removed = true};
  want.internal_ips = {Ip("192.0.2.1"), Ip("2001:db8::1")};
  want.pod_cidrs = {*IpPrefix::Parse("10.244.1.0/24"), *IpPrefix::Parse("fd00:1::/64")};
  CHECK(node == want);
  CHECK(Problems("apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: {podCIDR: x}") ==
        std::vector<std::string>{
            "-test.yaml:4: Node n1: spec.podCIDR: \"x\" is not an address range"});
  CHECK(Problems("apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n"
                 "status: {addresses: [{type: InternalIP, address: x}]}") ==
        std::vector<std::string>{"test.yaml:4: Node n1: status.addresses[0].address: \"x\" is not "
                                 "an IP address: ignored"});
}

}  // namespace
}  // namespace fairlead::manifest
