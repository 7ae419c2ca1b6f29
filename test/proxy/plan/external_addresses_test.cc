// Plans of external IPs, load-balancer addresses and node ports: two sets of endpoints by firewall
// mark, source ranges, health checks.
#include <catch2/catch.hpp>
#include <functional>

#include "absl/strings/str_cat.h"
#include "proxy/plan/plan.h"
#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using ipvs::Protocol;
using testing::Address;
using testing::Describe;
using testing::kHttpMark;
using testing::Lines;
using testing::MakeNode;
using testing::MakePlan;
using testing::MakeService;
using testing::MakeSlice;
using testing::MakeSlices;
using testing::Prefix;

const char kLocalEndpoint[] = "  10.244.1.2:8080 weight 1 Masq ready local n1 - pod-10.244.1.2";
const char kRemoteEndpoint[] = "  10.244.2.2:8080 weight 1 Masq ready remote n2 - pod-10.244.2.2";

// "shop/cart http: TCP 203.0.113.1:80" and what follows, with the endpoints of n1, or of both.
Lines Server(const std::string& rest, bool all) {
  Lines lines = {"shop/cart http: " + rest, kLocalEndpoint};
  if (all) lines.push_back(kRemoteEndpoint);
  return lines;
}

Lines Join(const std::vector<Lines>& parts) {
  Lines lines;
  for (const Lines& part : parts) lines.insert(lines.end(), part.begin(), part.end());
  return lines;
}

const Lines kClusterIp = Server("TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders rr", true);

// Type LoadBalancer at 10.96.0.1, 203.0.113.1 and 198.51.100.1, without node port.
Service ExternalService(TrafficPolicy policy) {
  Service service = MakeService();
  service.type = ServiceType::kLoadBalancer;
  service.load_balancer_ips = {Address("203.0.113.1")};
  service.external_ips = {Address("198.51.100.1")};
  service.ports[0].node_port = 0;
  service.external_traffic_policy = policy;
  return service;
}

struct ExternalCase {
  std::string name;
  TrafficPolicy policy;
  std::function<void(Service&, NodeConfig&)> change;
  Lines expected;
  Lines endpoints = {"10.244.1.2@n1", "10.244.2.2@n2"};
};

void CheckExternal(const ExternalCase& row) {
  INFO(row.name);
  Service service = ExternalService(row.policy);
  NodeConfig node = MakeNode();
  row.change(service, node);
  const Snapshot::Slices slices = MakeSlices({MakeSlice("s1", row.endpoints)});
  CHECK(Describe(MakePlan(service, slices, node)) == row.expected);
}

const auto kNoChange = [](Service&, NodeConfig&) {};

TEST_CASE("With policy Cluster external addresses lead everybody to every endpoint") {
  constexpr TrafficPolicy kCluster = TrafficPolicy::kCluster;
  const Lines external_ip =
      Server("TCP 198.51.100.1:80 ExternalIP Cluster balance always rr vip", true);
  CheckExternal(GENERATE_COPY(values<ExternalCase>({
      {"both kinds", kCluster, kNoChange,
       Join({kClusterIp, external_ip,
             Server("TCP 203.0.113.1:80 LoadBalancer Cluster balance always rr vip", true)})},
      {"source ranges are the load balancer's", kCluster,
       [](Service& service, NodeConfig&) {
         service.load_balancer_source_ranges = {Prefix("10.0.0.0/8")};
       },
       Join({kClusterIp, external_ip,
             Server("TCP 203.0.113.1:80 LoadBalancer Cluster balance always rr vip from 10.0.0.0/8 "
                    "from 203.0.113.1/32",
                    true)})},
      {"the node's own address is no VIP", kCluster,
       [](Service& service, NodeConfig&) {
         service.external_ips.clear();
         service.load_balancer_ips = {Address("192.168.1.1")};
       },
       Join({kClusterIp,
             Server("TCP 192.168.1.1:80 LoadBalancer Cluster balance always rr", true)})},
      {"affinity is everywhere", kCluster,
       [](Service& service, NodeConfig&) {
         service.external_ips.clear();
         service.affinity_timeout = absl::Seconds(90);
       },
       Join({Server("TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders rr persistent 90s", true),
             Server("TCP 203.0.113.1:80 LoadBalancer Cluster balance always rr persistent 90s vip",
                    true)})},
      {"without endpoints they refuse",
       kCluster,
       kNoChange,
       {"shop/cart http: TCP 10.96.0.1:80 ClusterIP Cluster reject outsiders rr",
        "shop/cart http: TCP 198.51.100.1:80 ExternalIP Cluster reject always rr vip",
        "shop/cart http: TCP 203.0.113.1:80 LoadBalancer Cluster reject always rr vip"},
       {}},
      {"an external IP that is a load balancer's address is planned once", kCluster,
       [](Service& service, NodeConfig&) { service.external_ips = {Address("203.0.113.1")}; },
       Join({kClusterIp,
             Server("TCP 203.0.113.1:80 LoadBalancer Cluster balance always rr vip", true),
             {"! Service shop/cart: externalIPs: 203.0.113.1 is the Service's LoadBalancer too and "
              "is served as that"}})},
      {"a node port's number on an address that is the node's: the first port has it", kCluster,
       [](Service& service, NodeConfig&) {
         service.external_ips = {Address("192.168.1.1")};
         service.load_balancer_ips.clear();
         service.ports.push_back({"again", Protocol::kTcp, 81, 80});
       },
       Join({kClusterIp,
             {"shop/cart again: TCP 10.96.0.1:81 ClusterIP Cluster reject outsiders rr"},
             Server("TCP 192.168.1.1:80 ExternalIP Cluster balance always rr", true),
             {"shop/cart again: TCP 192.168.1.1:81 ExternalIP Cluster reject always rr",
              "! Service shop/cart: port \"again\": TCP 192.168.1.1:80 is another port's of the "
              "Service already"}})},
  })));
}

TEST_CASE("With policy Local a mark leads pods and the node to every endpoint") {
  constexpr TrafficPolicy kLocal = TrafficPolicy::kLocal;
  const std::string with_mark = absl::StrCat(" mark ", kHttpMark);
  const std::string mark_key = absl::StrCat(kHttpMark, " IPv4 TCP");
  const Lines external_ip =
      Server("TCP 198.51.100.1:80 ExternalIP Local balance never rr vip" + with_mark, false);
  const Lines load_balancer =
      Server("TCP 203.0.113.1:80 LoadBalancer Local balance never rr vip" + with_mark, false);
  const Lines inside = Server(mark_key + " Internal Cluster balance never rr", true);
  CheckExternal(GENERATE_COPY(values<ExternalCase>({
      {"all addresses of a port have one mark", kLocal,
       [](Service& service, NodeConfig&) { service.ports[0].node_port = 30080; },
       Join({kClusterIp,
             Server("TCP 192.168.1.1:30080 NodePort Local balance never rr" + with_mark, false),
             external_ip, load_balancer, inside})},
      {"a node port alone has one too", kLocal,
       [](Service& service, NodeConfig&) {
         service = MakeService();
         service.external_traffic_policy = TrafficPolicy::kLocal;
       },
       Join({kClusterIp,
             Server("TCP 192.168.1.1:30080 NodePort Local balance never rr" + with_mark, false),
             inside})},
      {"a clusterIP with policy Local has none, nobody gets around that", kLocal,
       [](Service& service, NodeConfig&) {
         service.internal_traffic_policy = TrafficPolicy::kLocal;
         service.type = ServiceType::kClusterIp;
         service.external_ips.clear();
         service.load_balancer_ips.clear();
       },
       Server("TCP 10.96.0.1:80 ClusterIP Local balance outsiders rr", false)},
      {"a port without a node port, where there is nothing else, has none", kLocal,
       [](Service& service, NodeConfig&) {
         service.external_ips.clear();
         service.load_balancer_ips.clear();
       },
       kClusterIp},
      {"sources are limited, marked or not", kLocal,
       [](Service& service, NodeConfig&) {
         service.external_ips.clear();
         service.load_balancer_source_ranges = {Prefix("203.0.113.0/24")};
       },
       Join({kClusterIp,
             Server("TCP 203.0.113.1:80 LoadBalancer Local balance never rr vip" + with_mark +
                        " from 203.0.113.0/24",
                    false),
             inside})},
      {"the node's own address", kLocal,
       [](Service& service, NodeConfig&) {
         service.external_ips = {Address("192.168.1.1")};
         service.load_balancer_ips.clear();
       },
       Join({kClusterIp,
             Server("TCP 192.168.1.1:80 ExternalIP Local balance never rr" + with_mark, false),
             inside})},
      {"none here: silence outside, every endpoint inside",
       kLocal,
       [](Service& service, NodeConfig&) { service.external_ips.clear(); },
       Join({{"shop/cart http: TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders rr",
              kRemoteEndpoint,
              "shop/cart http: TCP 203.0.113.1:80 LoadBalancer Local drop never rr vip" + with_mark,
              "shop/cart http: " + mark_key + " Internal Cluster balance never rr",
              kRemoteEndpoint}}),
       {"10.244.2.2@n2"}},
      {"none anywhere: refused on both sides",
       kLocal,
       [](Service& service, NodeConfig&) { service.external_ips.clear(); },
       {"shop/cart http: TCP 10.96.0.1:80 ClusterIP Cluster reject outsiders rr",
        "shop/cart http: TCP 203.0.113.1:80 LoadBalancer Local reject never rr vip" + with_mark,
        "shop/cart http: " + mark_key + " Internal Cluster reject never rr"},
       {}},
      {"affinity inside is by a hash of the client's address", kLocal,
       [](Service& service, NodeConfig&) {
         service.external_ips.clear();
         service.affinity_timeout = absl::Seconds(90);
       },
       Join({Server("TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders rr persistent 90s", true),
             Server("TCP 203.0.113.1:80 LoadBalancer Local balance never rr persistent 90s vip" +
                        with_mark,
                    false),
             Server(mark_key + " Internal Cluster balance never mh flags 8 0s", true)})},
      {"affinity by the scheduler that the node has for it, whatever the Service's", kLocal,
       [](Service& service, NodeConfig& node) {
         service.load_balancer_ips.clear();
         service.affinity_timeout = absl::Seconds(90);
         service.scheduler = "lc";
         node.affinity_scheduler = "sh";
       },
       Join({Server("TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders lc persistent 90s", true),
             Server("TCP 198.51.100.1:80 ExternalIP Local balance never lc persistent 90s vip" +
                        with_mark,
                    false),
             Server(mark_key + " Internal Cluster balance never sh flags 8 0s", true)})},
      {"without affinity it is the Service's scheduler", kLocal,
       [](Service& service, NodeConfig&) {
         service.load_balancer_ips.clear();
         service.scheduler = "lc";
       },
       Join({Server("TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders lc", true),
             Server("TCP 198.51.100.1:80 ExternalIP Local balance never lc vip" + with_mark, false),
             Server(mark_key + " Internal Cluster balance never lc", true)})},
      {"two ports of one name have one mark, and one server for it", kLocal,
       [](Service& service, NodeConfig&) {
         service.load_balancer_ips.clear();
         service.ports.push_back({"http", Protocol::kTcp, 81, 0});
       },
       Join({kClusterIp, Server("TCP 10.96.0.1:81 ClusterIP Cluster balance outsiders rr", true),
             external_ip,
             Server("TCP 198.51.100.1:81 ExternalIP Local balance never rr vip" + with_mark, false),
             inside})},
  })));
}

TEST_CASE("Each port has a mark of its own, and one for both families") {
  Service service = ExternalService(TrafficPolicy::kLocal);
  service.cluster_ips.push_back(Address("fd00:96::1"));
  service.load_balancer_ips = {Address("2001:db8::1")};
  service.ports.push_back({"dns", Protocol::kUdp, 53, 0});
  EndpointSlice v6 = MakeSlice("s2", {"fd00:244::2@n2"});
  v6.ports = {{"dns", Protocol::kUdp, 5353}};
  const ServicePlan plan =
      MakePlan(service, MakeSlices({MakeSlice("s1", {"10.244.1.2@n1"}), v6}), MakeNode());
  CHECK(Describe(plan) ==
        Lines{
            "shop/cart http: TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders rr",
            kLocalEndpoint,
            "shop/cart http: TCP 198.51.100.1:80 ExternalIP Local balance never rr vip mark "
            "0x46020fff",
            kLocalEndpoint,
            "shop/cart dns: UDP 10.96.0.1:53 ClusterIP Cluster reject outsiders rr",
            "shop/cart dns: UDP 198.51.100.1:53 ExternalIP Local reject never rr vip mark "
            "0x4604f4d4",
            "shop/cart http: 0x46020fff IPv4 TCP Internal Cluster balance never rr",
            kLocalEndpoint,
            "shop/cart dns: 0x4604f4d4 IPv4 UDP Internal Cluster reject never rr",
            "shop/cart http: TCP [2001:db8::1]:80 LoadBalancer Local reject never rr vip mark "
            "0x46020fff",
            "shop/cart http: TCP [fd00:96::1]:80 ClusterIP Cluster reject outsiders rr",
            "shop/cart dns: UDP [2001:db8::1]:53 LoadBalancer Local drop never rr vip mark "
            "0x4604f4d4",
            "shop/cart dns: UDP [fd00:96::1]:53 ClusterIP Cluster balance outsiders rr",
            "  [fd00:244::2]:5353 weight 1 Masq ready remote n2 - pod-fd00:244::2",
            "shop/cart http: 0x46020fff IPv6 TCP Internal Cluster reject never rr",
            "shop/cart dns: 0x4604f4d4 IPv6 UDP Internal Cluster balance never rr",
            "  [fd00:244::2]:5353 weight 1 Masq ready remote n2 - pod-fd00:244::2",
        });
}

TEST_CASE("A port without a mark gets along with the local endpoints, with one warning") {
  Service service = ExternalService(TrafficPolicy::kLocal);
  service.cluster_ips.push_back(Address("fd00:96::1"));
  service.load_balancer_ips.push_back(Address("2001:db8::1"));
  service.ports.push_back({"dns", Protocol::kUdp, 53, 0});
  NodeConfig node = MakeNode();
  node.marks = {1000, 1255};
  const ServiceMarks marks = {{{"dns", Protocol::kUdp}, 1000}};
  const ServicePlan plan =
      PlanService(service, MakeSlices({MakeSlice("s1", {"10.244.2.2@n2"})}), node, marks);
  CHECK(plan.warnings ==
        Lines{"Service shop/cart: port \"http\": no firewall mark of 0x000003e8-0x000004e7 is "
              "free: pods and the node reach only local endpoints through external addresses"});
  std::map<std::string, uint32_t> marked;
  for (const PlannedVirtualServer& server : plan.virtual_servers) {
    if (server.kind == AddressKind::kClusterIp) continue;
    marked[server.key.Format()] = server.mark;
  }
  CHECK(marked == std::map<std::string, uint32_t>{{"TCP 198.51.100.1:80", 0},
                                                  {"TCP 203.0.113.1:80", 0},
                                                  {"TCP [2001:db8::1]:80", 0},
                                                  {"UDP 198.51.100.1:53", 1000},
                                                  {"UDP 203.0.113.1:53", 1000},
                                                  {"UDP [2001:db8::1]:53", 1000},
                                                  {"FWM 1000 IPv4", 0},
                                                  {"FWM 1000 IPv6", 0}});
}

TEST_CASE("Marks are wanted for ports at addresses with two sets of endpoints") {
  struct Row {
    std::string name;
    std::function<void(Service&, NodeConfig&)> change;
    std::map<std::string, Lines> wanted;
  };
  const auto row = GENERATE(values<Row>({
      {"every external address",
       [](Service&, NodeConfig&) {},
       {{"http", {"TCP 203.0.113.1:80", "TCP 198.51.100.1:80"}}}},
      {"a node port on every address of the Service's family",
       [](Service& service, NodeConfig& node) {
         service.external_ips.clear();
         service.ports[0].node_port = 30080;
         node.node_port_addresses = {Address("192.168.1.1"), Address("192.168.2.1"),
                                     Address("fd00:1::1")};
       },
       {{"http", {"TCP 203.0.113.1:80", "TCP 192.168.1.1:30080", "TCP 192.168.2.1:30080"}}}},
      {"each port",
       [](Service& service, NodeConfig&) {
         service.external_ips.clear();
         service.ports.push_back({"admin", Protocol::kTcp, 81, 0});
       },
       {{"admin", {"TCP 203.0.113.1:81"}}, {"http", {"TCP 203.0.113.1:80"}}}},
      {"none with policy Cluster",
       [](Service& service, NodeConfig&) {
         service.external_traffic_policy = TrafficPolicy::kCluster;
       },
       {}},
      {"none of a clusterIP",
       [](Service& service, NodeConfig&) {
         service.internal_traffic_policy = TrafficPolicy::kLocal;
         service.external_ips.clear();
         service.load_balancer_ips.clear();
       },
       {}},
      {"none of a Service that is not served",
       [](Service& service, NodeConfig&) { service.headless_label = true; },
       {}},
      {"none without a clusterIP",
       [](Service& service, NodeConfig&) { service.cluster_ips.clear(); },
       {}},
  }));
  INFO(row.name);
  Service service = ExternalService(TrafficPolicy::kLocal);
  NodeConfig node = MakeNode();
  row.change(service, node);
  std::map<std::string, Lines> wanted;
  for (const auto& [port, keys] : WantedMarks(service, node)) {
    for (const ipvs::VirtualServerKey& key : keys) wanted[port.port_name].push_back(key.Format());
  }
  CHECK(wanted == row.wanted);
}

struct HealthCase {
  std::string name;
  std::function<void(Service&)> change;
  std::vector<EndpointSlice> slices;
  PlannedHealthCheck expected;
};

TEST_CASE("A health check counts the addresses of ready endpoints on this node") {
  constexpr auto kV4 = IpFamily::kIpv4;
  constexpr auto kV6 = IpFamily::kIpv6;
  const auto admin_slice = [](Lines endpoints) {
    EndpointSlice slice = MakeSlice("s2", endpoints);
    slice.ports = {{"admin", Protocol::kTcp, 9000}};
    return slice;
  };
  const auto add_admin = [](Service& service) {
    service.ports.push_back({"admin", Protocol::kTcp, 81, 0});
  };
  const auto row = GENERATE_COPY(values<HealthCase>({
      {"none: zero", [](Service&) {}, {}, {31000, {{kV4, 0}}}},
      {"only local ones",
       [](Service&) {},
       {MakeSlice("s1", {"10.244.1.2@n1", "10.244.1.3@n1", "10.244.2.2@n2", "10.244.2.3"})},
       {31000, {{kV4, 2}}}},
      {"only ready ones, also where those that terminate serve as a fallback",
       [](Service&) {},
       {MakeSlice("s1", {"10.244.1.2@n1 unready", "10.244.1.3@n1 unready terminating"})},
       {31000, {{kV4, 0}}}},
      {"ready ones whatever their hints",
       [](Service&) {},
       {MakeSlice("s1", {"10.244.1.2@n1 zone:b", "10.244.2.2@n2 zone:a"})},
       {31000, {{kV4, 1}}}},
      {"an address counts once, though it has several ports",
       add_admin,
       {MakeSlice("s1", {"10.244.1.2@n1"}), admin_slice({"10.244.1.2@n1", "10.244.1.3@n1"})},
       {31000, {{kV4, 2}}}},
      {"ports that the Service does not have do not count",
       [](Service&) {},
       {admin_slice({"10.244.1.2@n1"})},
       {31000, {{kV4, 0}}}},
      {"each family for itself",
       [](Service& service) { service.cluster_ips.push_back(Address("fd00:96::1")); },
       {MakeSlice("s1", {"10.244.1.2@n1"}), MakeSlice("s2", {"fd00:244::1@n1", "fd00:244::2@n1"})},
       {31000, {{kV4, 1}, {kV6, 2}}}},
      {"a family that the Service does not have is not there",
       [](Service& service) { service.cluster_ips = {Address("fd00:96::1")}; },
       {MakeSlice("s1", {"10.244.1.2@n1"})},
       {31000, {{kV6, 0}}}},
      {"invisible slices do not count",
       [](Service&) {},
       {[] {
         EndpointSlice slice = MakeSlice("s1", {"10.244.1.2@n1"});
         slice.headless_label = true;
         return slice;
       }()},
       {31000, {{kV4, 0}}}},
      {"without a port there is none",
       [](Service& service) { service.health_check_node_port = 0; },
       {MakeSlice("s1", {"10.244.1.2@n1"})},
       {}},
      {"with policy Cluster there is none",
       [](Service& service) { service.external_traffic_policy = TrafficPolicy::kCluster; },
       {MakeSlice("s1", {"10.244.1.2@n1"})},
       {}},
      {"of type NodePort there is none",
       [](Service& service) { service.type = ServiceType::kNodePort; },
       {MakeSlice("s1", {"10.244.1.2@n1"})},
       {}},
      {"without a clusterIP there is none",
       [](Service& service) { service.cluster_ips.clear(); },
       {MakeSlice("s1", {"10.244.1.2@n1"})},
       {}},
      {"of an invisible Service there is none",
       [](Service& service) { service.headless_label = true; },
       {MakeSlice("s1", {"10.244.1.2@n1"})},
       {}},
      {"it needs no address of a load balancer",
       [](Service& service) {
         service.load_balancer_ips.clear();
         service.external_ips.clear();
       },
       {MakeSlice("s1", {"10.244.1.2@n1"})},
       {31000, {{kV4, 1}}}},
      {"it stays where no address can be served",
       [](Service& service) {
         service.cluster_ips = {Address("127.0.0.1")};
         service.load_balancer_ips.clear();
         service.external_ips.clear();
       },
       {MakeSlice("s1", {"10.244.1.2@n1"})},
       {31000, {{kV4, 1}}}},
  }));
  INFO(row.name);
  Service service = ExternalService(TrafficPolicy::kLocal);
  service.health_check_node_port = 31000;
  row.change(service);
  const ServicePlan plan = MakePlan(service, MakeSlices(row.slices), MakeNode());
  CHECK(plan.health_check == row.expected);
}

TEST_CASE("A plan of nothing but a health check is not empty") {
  ServicePlan plan;
  plan.service = {"shop", "cart"};
  CHECK(plan.empty());
  plan.health_check.port = 31000;
  CHECK_FALSE(plan.empty());
}

}  // namespace
}  // namespace fairlead
