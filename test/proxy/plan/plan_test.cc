#include "proxy/plan/plan.h"

#include <catch2/catch.hpp>
#include <functional>

#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using ipvs::Protocol;
using testing::Address;
using testing::Describe;
using testing::Lines;
using testing::MakeNode;
using testing::MakePlan;
using testing::MakeService;
using testing::MakeSlice;
using testing::MakeSlices;
using testing::Prefix;

// What differs from MakeService at MakeNode with one ready endpoint, 10.244.1.2 on n1.
struct PlanCase {
  std::string name;
  std::function<void(Service&, NodeConfig&)> change;
  Lines expected;
  std::vector<EndpointSlice> slices = {MakeSlice("s1", {"10.244.1.2@n1"})};
};

void CheckPlan(const PlanCase& row) {
  INFO(row.name);
  Service service = MakeService();
  NodeConfig node = MakeNode();
  row.change(service, node);
  const Snapshot::Slices slices = MakeSlices(row.slices);
  const ServicePlan plan = MakePlan(service, slices, node);
  CHECK(plan.service == service.name);
  CHECK(plan.created == service.created);
  CHECK(Describe(plan) == row.expected);
}

const char kHttpEndpoint[] = "  10.244.1.2:8080 weight 1 Masq ready local n1 - pod-10.244.1.2";
const char kHttpClusterIp[] =
    "shop/cart http: TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders rr";
const char kHttpNodePort[] =
    "shop/cart http: TCP 192.168.1.1:30080 NodePort Cluster balance always rr";
const Lines kWholePlan = {kHttpClusterIp, kHttpEndpoint, kHttpNodePort, kHttpEndpoint};
const Lines kNothing;

TEST_CASE("A plan has every field of a virtual server and its real servers") {
  Service service = MakeService();
  service.type = ServiceType::kClusterIp;
  service.created = absl::FromUnixSeconds(1000);
  service.affinity_timeout = absl::Seconds(10800);
  EndpointSlice slice = MakeSlice("s1", {"10.244.1.2@n1"});
  slice.endpoints[0].zone = "a";

  PlannedRealServer real_server;
  real_server.key = {Address("10.244.1.2"), 8080};
  real_server.config = {ipvs::ForwardingMethod::kMasquerade, 1, 0, 0};
  real_server.local = true;
  real_server.state = EndpointState::kReady;
  real_server.node_name = "n1";
  real_server.zone = "a";
  real_server.target_name = "pod-10.244.1.2";
  PlannedVirtualServer server;
  server.key = ipvs::VirtualServerKey::ForAddress(Protocol::kTcp, Address("10.96.0.1"), 80);
  server.config = {"rr", ipvs::kFlagPersistent, absl::Seconds(10800), 32, ""};
  server.service = {"shop", "cart"};
  server.port_name = "http";
  server.protocol = Protocol::kTcp;
  server.kind = AddressKind::kClusterIp;
  server.vip = true;
  server.policy = TrafficPolicy::kCluster;
  server.verdict = Verdict::kBalance;
  server.masquerade = Masquerade::kOutsiders;
  server.real_servers = {real_server};
  const ServicePlan expected{{"shop", "cart"}, absl::FromUnixSeconds(1000), {server}, {}, {}};

  CHECK(MakePlan(service, MakeSlices({slice}), MakeNode()) == expected);
}

TEST_CASE("Labels, type and clusterIP decide whether a Service is forwarded") {
  CheckPlan(GENERATE(values<PlanCase>({
      {"an ordinary Service is", [](Service&, NodeConfig&) {}, kWholePlan},
      {"with the headless label it is not",
       [](Service& service, NodeConfig&) { service.headless_label = true; }, kNothing},
      {"with a proxy's name it is not, where this agent has none",
       [](Service& service, NodeConfig&) { service.proxy_name_label = "other"; }, kNothing},
      {"with an empty proxy's name it is not either",
       [](Service& service, NodeConfig&) { service.proxy_name_label = ""; }, kNothing},
      {"with another proxy's name it is not",
       [](Service& service, NodeConfig& node) {
         service.proxy_name_label = "other";
         node.service_proxy_name = "fairlead";
       },
       kNothing},
      {"with this agent's name it is",
       [](Service& service, NodeConfig& node) {
         service.proxy_name_label = "fairlead";
         node.service_proxy_name = "fairlead";
       },
       kWholePlan},
      {"without a proxy's name it is, also where this agent has one",
       [](Service&, NodeConfig& node) { node.service_proxy_name = "fairlead"; }, kWholePlan},
      {"of type ExternalName it is not",
       [](Service& service, NodeConfig&) { service.type = ServiceType::kExternalName; }, kNothing},
      {"without a clusterIP it is not, and has no node port",
       [](Service& service, NodeConfig&) { service.cluster_ips.clear(); }, kNothing},
      {"an invisible one gives no warnings",
       [](Service& service, NodeConfig&) {
         service.headless_label = true;
         service.scheduler = "fastest";
       },
       kNothing},
  })));
}

TEST_CASE("Node ports are served for the types that have them, on the node's addresses") {
  const Lines cluster_ip = {kHttpClusterIp, kHttpEndpoint};
  CheckPlan(GENERATE_COPY(values<PlanCase>({
      {"type ClusterIP has none",
       [](Service& service, NodeConfig&) { service.type = ServiceType::kClusterIp; }, cluster_ip},
      {"type LoadBalancer has them",
       [](Service& service, NodeConfig&) { service.type = ServiceType::kLoadBalancer; },
       kWholePlan},
      {"a LoadBalancer without node ports has none",
       [](Service& service, NodeConfig&) {
         service.type = ServiceType::kLoadBalancer;
         service.ports[0].node_port = 0;
       },
       cluster_ip},
      {"no address for node ports: the clusterIP only",
       [](Service&, NodeConfig& node) { node.node_port_addresses.clear(); }, cluster_ip},
      {"every address of the Service's family",
       [](Service&, NodeConfig& node) {
         node.node_port_addresses = {Address("10.0.0.5"), Address("192.168.1.1"),
                                     Address("fd00:1::1")};
       },
       {"shop/cart http: TCP 10.0.0.5:30080 NodePort Cluster balance always rr", kHttpEndpoint,
        kHttpClusterIp, kHttpEndpoint, kHttpNodePort, kHttpEndpoint}},
  })));
}

TEST_CASE("Each port, protocol and family of a Service is planned for itself") {
  const EndpointSlice dns = [] {
    EndpointSlice slice = MakeSlice("s1", {"10.244.1.2@n1"});
    slice.ports = {{"dns", Protocol::kUdp, 5353}, {"dns-tcp", Protocol::kTcp, 5353}};
    return slice;
  }();
  const auto real = [](std::string key) {
    return "  " + key + " weight 1 Masq ready local n1 - pod-10.244.1.2";
  };
  CheckPlan(GENERATE_COPY(values<PlanCase>({
      {"one number with two protocols",
       [](Service& service, NodeConfig&) {
         service.type = ServiceType::kClusterIp;
         service.ports = {{"dns", Protocol::kUdp, 53, 0}, {"dns-tcp", Protocol::kTcp, 53, 0}};
       },
       {"shop/cart dns-tcp: TCP 10.96.0.1:53 ClusterIP Cluster balance outsiders rr",
        real("10.244.1.2:5353"),
        "shop/cart dns: UDP 10.96.0.1:53 ClusterIP Cluster balance outsiders rr",
        real("10.244.1.2:5353")},
       {dns}},
      {"SCTP, with a node port",
       [](Service& service, NodeConfig&) {
         service.ports = {{"sig", Protocol::kSctp, 38412, 30412}};
       },
       {"shop/cart sig: SCTP 10.96.0.1:38412 ClusterIP Cluster balance outsiders rr",
        real("10.244.1.2:38412"),
        "shop/cart sig: SCTP 192.168.1.1:30412 NodePort Cluster balance always rr",
        real("10.244.1.2:38412")},
       {[] {
         EndpointSlice slice = MakeSlice("s1", {"10.244.1.2@n1"});
         slice.ports = {{"sig", Protocol::kSctp, 38412}};
         return slice;
       }()}},
      {"a port without endpoints refuses, whatever the others have",
       [](Service& service, NodeConfig&) {
         service.type = ServiceType::kClusterIp;
         service.ports.push_back({"admin", Protocol::kTcp, 9000, 0});
       },
       {kHttpClusterIp, kHttpEndpoint,
        "shop/cart admin: TCP 10.96.0.1:9000 ClusterIP Cluster reject outsiders rr"}},
      {"a port without a name",
       [](Service& service, NodeConfig&) {
         service.type = ServiceType::kClusterIp;
         service.ports = {{"", Protocol::kTcp, 80, 0}};
       },
       {"shop/cart -: TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders rr",
        real("10.244.1.2:8080")},
       {[] {
         EndpointSlice slice = MakeSlice("s1", {"10.244.1.2@n1"});
         slice.ports[0].name = "";
         return slice;
       }()}},
      {"both families, each with its own endpoints",
       [](Service& service, NodeConfig&) { service.cluster_ips.push_back(Address("fd00:96::1")); },
       {kHttpClusterIp, kHttpEndpoint, kHttpNodePort, kHttpEndpoint,
        "shop/cart http: TCP [fd00:1::1]:30080 NodePort Cluster balance always rr",
        "  [fd00:244::2]:8080 weight 1 Masq ready remote n2 - pod-fd00:244::2",
        "shop/cart http: TCP [fd00:96::1]:80 ClusterIP Cluster balance outsiders rr",
        "  [fd00:244::2]:8080 weight 1 Masq ready remote n2 - pod-fd00:244::2"},
       {MakeSlice("s1", {"10.244.1.2@n1"}), MakeSlice("s2", {"fd00:244::2@n2"})}},
      {"a family without endpoints refuses, the other balances",
       [](Service& service, NodeConfig&) {
         service.type = ServiceType::kClusterIp;
         service.cluster_ips.push_back(Address("fd00:96::1"));
       },
       {kHttpClusterIp, kHttpEndpoint,
        "shop/cart http: TCP [fd00:96::1]:80 ClusterIP Cluster reject outsiders rr"}},
      {"a Service of one family has no address in the other, though there are endpoints",
       [](Service& service, NodeConfig&) { service.cluster_ips = {Address("fd00:96::1")}; },
       {"shop/cart http: TCP [fd00:1::1]:30080 NodePort Cluster reject always rr",
        "shop/cart http: TCP [fd00:96::1]:80 ClusterIP Cluster reject outsiders rr"}},
  })));
}

TEST_CASE("Scheduler and affinity are those of the Service") {
  const auto cluster_ip = [](std::string scheduler_and_more) {
    return "shop/cart http: TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders " +
           scheduler_and_more;
  };
  const auto only_cluster_ip = [](auto change) {
    return [change](Service& service, NodeConfig& node) {
      service.type = ServiceType::kClusterIp;
      change(service, node);
    };
  };
  CheckPlan(GENERATE_COPY(values<PlanCase>({
      {"without an annotation: the default",
       only_cluster_ip([](Service&, NodeConfig& node) { node.default_scheduler = "wlc"; }),
       {cluster_ip("wlc"), kHttpEndpoint}},
      {"the annotation's",
       only_cluster_ip([](Service& service, NodeConfig&) { service.scheduler = "mh"; }),
       {cluster_ip("mh"), kHttpEndpoint}},
      {"one that the kernel does not have: the default, and a warning",
       only_cluster_ip([](Service& service, NodeConfig&) { service.scheduler = "fastest\n"; }),
       {cluster_ip("rr"), kHttpEndpoint,
        "! Service shop/cart: annotation fairlead.dev/scheduler: no scheduler \"fastest\\n\" on "
        "this node, \"rr\" is used"}},
      {"the default's name, of which nothing is known: no warning",
       only_cluster_ip([](Service& service, NodeConfig& node) {
         node.schedulers.clear();
         service.scheduler = "rr";
       }),
       {cluster_ip("rr"), kHttpEndpoint}},
      {"affinity for its timeout",
       only_cluster_ip(
           [](Service& service, NodeConfig&) { service.affinity_timeout = absl::Seconds(90); }),
       {cluster_ip("rr persistent 90s"), kHttpEndpoint}},
      {"affinity in whole seconds",
       only_cluster_ip([](Service& service, NodeConfig&) {
         service.affinity_timeout = absl::Milliseconds(90700);
       }),
       {cluster_ip("rr persistent 90s"), kHttpEndpoint}},
      {"affinity of a node port too",
       [](Service& service, NodeConfig&) { service.affinity_timeout = absl::Seconds(90); },
       {cluster_ip("rr persistent 90s"), kHttpEndpoint,
        "shop/cart http: TCP 192.168.1.1:30080 NodePort Cluster balance always rr persistent 90s",
        kHttpEndpoint}},
  })));
}

TEST_CASE("What cannot be served is left out with a warning, and the rest is planned") {
  const auto not_served = [](std::string address, std::string reason) {
    return Lines{
        kHttpNodePort, kHttpEndpoint,
        "! Service shop/cart: clusterIPs: " + address + " is " + reason + " and is not served"};
  };
  const auto cluster_ip = [](std::string address) {
    return [address](Service& service, NodeConfig&) { service.cluster_ips = {Address(address)}; };
  };
  CheckPlan(GENERATE_COPY(values<PlanCase>({
      {"a clusterIP that is the node's address", cluster_ip("192.168.1.1"),
       not_served("192.168.1.1", "an address of this node")},
      {"a clusterIP that is an address of one of the node's devices",
       [](Service& service, NodeConfig& node) {
         node.own_addresses = {Address("192.168.1.7")};
         service.cluster_ips = {Address("192.168.1.7")};
       },
       not_served("192.168.1.7", "an address of this node")},
      {"a clusterIP on which the node serves node ports",
       [](Service& service, NodeConfig& node) {
         node.node_ips.clear();
         service.cluster_ips = {Address("192.168.1.1")};
       },
       not_served("192.168.1.1", "an address of this node")},
      {"a loopback clusterIP", cluster_ip("127.0.0.1"),
       not_served("127.0.0.1", "a loopback address")},
      {"a multicast clusterIP", cluster_ip("224.0.0.1"),
       not_served("224.0.0.1", "a multicast address")},
      {"an unspecified clusterIP", cluster_ip("0.0.0.0"),
       not_served("0.0.0.0", "the unspecified address")},
      {"one port twice: the first has it",
       [](Service& service, NodeConfig&) {
         service.ports.push_back({"again", Protocol::kTcp, 80, 0});
       },
       {kHttpClusterIp, kHttpEndpoint, kHttpNodePort, kHttpEndpoint,
        "! Service shop/cart: port \"again\": port 80 TCP is another port's already"}},
      {"one node port twice: the first has it, and the other its clusterIP",
       [](Service& service, NodeConfig&) {
         service.ports.push_back({"again", Protocol::kTcp, 81, 30080});
       },
       {kHttpClusterIp, kHttpEndpoint,
        "shop/cart again: TCP 10.96.0.1:81 ClusterIP Cluster reject outsiders rr", kHttpNodePort,
        kHttpEndpoint,
        "! Service shop/cart: port \"again\": nodePort 30080 TCP is another port's already"}},
      {"one node port with two protocols is no fault",
       [](Service& service, NodeConfig&) {
         service.ports.push_back({"quic", Protocol::kUdp, 80, 30080});
       },
       {kHttpClusterIp, kHttpEndpoint, kHttpNodePort, kHttpEndpoint,
        "shop/cart quic: UDP 10.96.0.1:80 ClusterIP Cluster reject outsiders rr",
        "shop/cart quic: UDP 192.168.1.1:30080 NodePort Cluster reject always rr"}},
  })));
}

TEST_CASE("A slice's labels decide whether it counts, as a Service's do") {
  struct Row {
    std::string name;
    bool headless_label;
    std::optional<std::string> proxy_name_label;
    std::optional<std::string> node_proxy_name;
    bool counts;
  };
  const auto row = GENERATE(values<Row>({
      {"without labels it does", false, std::nullopt, std::nullopt, true},
      {"without labels it does, also where this agent has a name", false, std::nullopt, "fairlead",
       true},
      {"with the headless label it does not", true, std::nullopt, std::nullopt, false},
      {"with the headless label it does not, though it has this agent's name", true, "fairlead",
       "fairlead", false},
      {"with a proxy's name it does not, where this agent has none", false, "fairlead",
       std::nullopt, false},
      {"with an empty proxy's name it does not either", false, "", std::nullopt, false},
      {"with another proxy's name it does not", false, "other", "fairlead", false},
      {"with this agent's name it does", false, "fairlead", "fairlead", true},
  }));
  INFO(row.name);
  EndpointSlice labelled = MakeSlice("s1", {"10.244.1.2@n1"});
  labelled.headless_label = row.headless_label;
  labelled.proxy_name_label = row.proxy_name_label;
  const Snapshot::Slices slices = MakeSlices({labelled, MakeSlice("s2", {"10.244.1.3@n1"})});
  Service service = MakeService();
  service.type = ServiceType::kClusterIp;
  NodeConfig node = MakeNode();
  node.service_proxy_name = row.node_proxy_name;

  Lines expected = {kHttpClusterIp};
  if (row.counts) expected.push_back(kHttpEndpoint);
  expected.push_back("  10.244.1.3:8080 weight 1 Masq ready local n1 - pod-10.244.1.3");
  CHECK(Describe(MakePlan(service, slices, node)) == expected);
  CHECK(VisibleSlices(slices, node).size() == (row.counts ? 2 : 1));
}

TEST_CASE("The known schedulers are those of Linux 6.12") {
  CHECK(KnownSchedulers() == std::set<std::string>{"dh", "fo", "lblc", "lblcr", "lc", "mh", "nq",
                                                   "ovf", "rr", "sed", "sh", "twos", "wlc", "wrr"});
}

}  // namespace
}  // namespace fairlead
