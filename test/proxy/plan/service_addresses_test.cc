#include "proxy/plan/service_addresses.h"

#include <catch2/catch.hpp>
#include <functional>

#include "absl/strings/str_cat.h"
#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using testing::Address;
using testing::Lines;
using testing::MakeNode;
using testing::MakeService;
using testing::Prefix;

// "LoadBalancer 203.0.113.1 Cluster vip from 10.0.0.0/8", then "! " and each problem.
Lines Describe(const ServiceAddresses& addresses) {
  Lines lines;
  for (const ServiceAddress& address : addresses.served) {
    std::string line = absl::StrCat(FormatAddressKind(address.kind), " ", address.address.Format(),
                                    " ", FormatPolicy(address.policy), address.vip ? " vip" : "");
    for (const IpPrefix& sources : address.sources) {
      absl::StrAppend(&line, " from ", sources.Format());
    }
    lines.push_back(std::move(line));
  }
  for (const std::string& problem : addresses.problems) lines.push_back("! " + problem);
  return lines;
}

// What differs from a Service of type LoadBalancer at 10.96.0.1 and 203.0.113.1 with the external
// IP 198.51.100.1, on MakeNode with node ports on 192.168.1.1.
struct AddressCase {
  std::string name;
  std::function<void(Service&, NodeConfig&)> change;
  Lines expected;
};

void CheckAddresses(const AddressCase& row) {
  INFO(row.name);
  Service service = MakeService();
  service.type = ServiceType::kLoadBalancer;
  service.load_balancer_ips = {Address("203.0.113.1")};
  service.external_ips = {Address("198.51.100.1")};
  NodeConfig node = MakeNode();
  node.node_port_addresses = {Address("192.168.1.1")};
  row.change(service, node);
  CHECK(Describe(SelectAddresses(service, node)) == row.expected);
}

const char kClusterIp[] = "ClusterIP 10.96.0.1 Cluster vip";
const char kLoadBalancer[] = "LoadBalancer 203.0.113.1 Cluster vip";
const char kExternalIp[] = "ExternalIP 198.51.100.1 Cluster vip";
const char kNodePort[] = "NodePort 192.168.1.1 Cluster";

TEST_CASE("A Service's type, policies and families decide which addresses it is served at") {
  CheckAddresses(GENERATE(values<AddressCase>({
      {"one of every kind",
       [](Service&, NodeConfig&) {},
       {kClusterIp, kLoadBalancer, kExternalIp, kNodePort}},
      {"type NodePort has them too",
       [](Service& service, NodeConfig&) { service.type = ServiceType::kNodePort; },
       {kClusterIp, kLoadBalancer, kExternalIp, kNodePort}},
      {"type ClusterIP has no node ports",
       [](Service& service, NodeConfig&) { service.type = ServiceType::kClusterIp; },
       {kClusterIp, kLoadBalancer, kExternalIp}},
      {"type ExternalName has none at all",
       [](Service& service, NodeConfig&) { service.type = ServiceType::kExternalName; },
       {}},
      {"an invisible Service has none at all",
       [](Service& service, NodeConfig&) { service.headless_label = true; },
       {}},
      {"without a clusterIP there is none at all",
       [](Service& service, NodeConfig&) { service.cluster_ips.clear(); },
       {}},
      {"the external policy is that of all but the clusterIP",
       [](Service& service, NodeConfig&) {
         service.external_traffic_policy = TrafficPolicy::kLocal;
       },
       {kClusterIp, "LoadBalancer 203.0.113.1 Local vip", "ExternalIP 198.51.100.1 Local vip",
        "NodePort 192.168.1.1 Local"}},
      {"the internal policy is that of the clusterIP",
       [](Service& service, NodeConfig&) {
         service.internal_traffic_policy = TrafficPolicy::kLocal;
       },
       {"ClusterIP 10.96.0.1 Local vip", kLoadBalancer, kExternalIp, kNodePort}},
      {"the external policy does not count where only a load balancer's address is left behind",
       [](Service& service, NodeConfig&) {
         service.type = ServiceType::kClusterIp;
         service.external_ips.clear();
         service.external_traffic_policy = TrafficPolicy::kLocal;
       },
       {kClusterIp, kLoadBalancer}},
      {"several of a kind, in their order",
       [](Service& service, NodeConfig& node) {
         service.load_balancer_ips = {Address("203.0.113.9"), Address("203.0.113.1")};
         service.external_ips.push_back(Address("198.51.100.0"));
         node.node_port_addresses.push_back(Address("192.168.2.1"));
       },
       {kClusterIp, "LoadBalancer 203.0.113.9 Cluster vip", kLoadBalancer, kExternalIp,
        "ExternalIP 198.51.100.0 Cluster vip", kNodePort, "NodePort 192.168.2.1 Cluster"}},
      {"both families",
       [](Service& service, NodeConfig& node) {
         service.cluster_ips.push_back(Address("fd00:96::1"));
         service.load_balancer_ips.push_back(Address("2001:db8::1"));
         service.external_ips.push_back(Address("2001:db8::2"));
         node.node_port_addresses.push_back(Address("fd00:1::1"));
       },
       {kClusterIp, "ClusterIP fd00:96::1 Cluster vip", kLoadBalancer,
        "LoadBalancer 2001:db8::1 Cluster vip", kExternalIp, "ExternalIP 2001:db8::2 Cluster vip",
        kNodePort, "NodePort fd00:1::1 Cluster"}},
      {"a family without a clusterIP has none, which is no problem",
       [](Service& service, NodeConfig& node) {
         service.load_balancer_ips.push_back(Address("2001:db8::1"));
         service.external_ips.push_back(Address("2001:db8::2"));
         node.node_port_addresses.push_back(Address("fd00:1::1"));
       },
       {kClusterIp, kLoadBalancer, kExternalIp, kNodePort}},
      {"of such a family not even an unfit one is a problem",
       [](Service& service, NodeConfig&) { service.external_ips.push_back(Address("::1")); },
       {kClusterIp, kLoadBalancer, kExternalIp, kNodePort}},
  })));
}

TEST_CASE("An address of the node is served as it is, without being a VIP") {
  CheckAddresses(GENERATE(values<AddressCase>({
      {"its main address",
       [](Service& service, NodeConfig&) { service.external_ips = {Address("192.168.1.1")}; },
       {kClusterIp, kLoadBalancer, "ExternalIP 192.168.1.1 Cluster", kNodePort}},
      {"one on which it serves node ports",
       [](Service& service, NodeConfig& node) {
         node.node_port_addresses = {Address("192.168.1.9")};
         service.load_balancer_ips = {Address("192.168.1.9")};
       },
       {kClusterIp, "LoadBalancer 192.168.1.9 Cluster", kExternalIp,
        "NodePort 192.168.1.9 Cluster"}},
      {"one of its devices, with source ranges",
       [](Service& service, NodeConfig& node) {
         node.own_addresses = {Address("203.0.113.1")};
         service.load_balancer_source_ranges = {Prefix("10.0.0.0/8")};
       },
       {kClusterIp, "LoadBalancer 203.0.113.1 Cluster from 10.0.0.0/8 from 203.0.113.1/32",
        kExternalIp, kNodePort}},
      {"another node's is a VIP",
       [](Service& service, NodeConfig&) { service.external_ips = {Address("192.168.1.2")}; },
       {kClusterIp, kLoadBalancer, "ExternalIP 192.168.1.2 Cluster vip", kNodePort}},
  })));
}

TEST_CASE("An address that cannot be served, or is there twice, is a problem") {
  const auto external = [](std::string address) {
    return [address](Service& service, NodeConfig&) { service.external_ips = {Address(address)}; };
  };
  const auto unfit = [](std::string problem) {
    return Lines{kClusterIp, kLoadBalancer, kNodePort, "! " + problem};
  };
  CheckAddresses(GENERATE_COPY(values<AddressCase>({
      {"a loopback address", external("127.0.0.1"),
       unfit("externalIPs: 127.0.0.1 is a loopback address and is not served")},
      {"a multicast address", external("224.0.0.1"),
       unfit("externalIPs: 224.0.0.1 is a multicast address and is not served")},
      {"the unspecified address", external("0.0.0.0"),
       unfit("externalIPs: 0.0.0.0 is the unspecified address and is not served")},
      {"of a load balancer",
       [](Service& service, NodeConfig&) {
         service.load_balancer_ips.push_back(Address("127.1.2.3"));
       },
       {kClusterIp, kLoadBalancer, kExternalIp, kNodePort,
        "! status.loadBalancer.ingress: 127.1.2.3 is a loopback address and is not served"}},
      {"a clusterIP that is the node's: its family keeps its other addresses",
       [](Service& service, NodeConfig&) { service.cluster_ips = {Address("192.168.1.1")}; },
       {kLoadBalancer, kExternalIp, kNodePort,
        "! clusterIPs: 192.168.1.1 is an address of this node and is not served"}},
      {"an external IP that is the load balancer's too keeps the source ranges",
       [](Service& service, NodeConfig&) {
         service.external_ips = {Address("203.0.113.1")};
         service.load_balancer_source_ranges = {Prefix("10.0.0.0/8")};
       },
       {kClusterIp, "LoadBalancer 203.0.113.1 Cluster vip from 10.0.0.0/8 from 203.0.113.1/32",
        kNodePort,
        "! externalIPs: 203.0.113.1 is the Service's LoadBalancer too and is served as that"}},
      {"a load balancer's address that is the clusterIP",
       [](Service& service, NodeConfig&) { service.load_balancer_ips = {Address("10.96.0.1")}; },
       {kClusterIp, kExternalIp, kNodePort,
        "! status.loadBalancer.ingress: 10.96.0.1 is the Service's ClusterIP too and is served as "
        "that"}},
      {"each problem is told",
       [](Service& service, NodeConfig&) {
         service.external_ips = {Address("127.0.0.1"), Address("203.0.113.1"),
                                 Address("198.51.100.1")};
       },
       {kClusterIp, kLoadBalancer, kExternalIp, kNodePort,
        "! externalIPs: 127.0.0.1 is a loopback address and is not served",
        "! externalIPs: 203.0.113.1 is the Service's LoadBalancer too and is served as that"}},
  })));
}

struct SourcesCase {
  std::string name;
  std::vector<std::string> ranges;
  std::string load_balancer;  // What comes after the VIP.
  std::string load_balancer6 = "";
};

TEST_CASE("Source ranges limit a load balancer's addresses, each family for itself") {
  const auto row = GENERATE(values<SourcesCase>({
      {"none: everybody", {}, ""},
      {"one, and the address itself", {"10.0.0.0/8"}, " from 10.0.0.0/8 from 203.0.113.1/32"},
      {"sorted",
       {"224.0.0.0/4", "192.0.2.0/24", "10.0.0.0/8"},
       " from 10.0.0.0/8 from 192.0.2.0/24 from 203.0.113.1/32 from 224.0.0.0/4"},
      {"overlaps: the larger one",
       {"10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/24"},
       " from 10.0.0.0/8 from 203.0.113.1/32"},
      {"one that has the address in it", {"203.0.113.0/24"}, " from 203.0.113.0/24"},
      {"the address alone", {"203.0.113.1/32"}, " from 203.0.113.1/32"},
      {"/0: everybody", {"0.0.0.0/0"}, ""},
      {"/0 beside others: everybody", {"10.0.0.0/8", "0.0.0.0/0"}, ""},
      {"all addresses, but not as one range: those",
       {"0.0.0.0/1", "128.0.0.0/1"},
       " from 0.0.0.0/1 from 128.0.0.0/1"},
      {"of the other family only",
       {"2001:db8:1::/48"},
       "",
       " from 2001:db8::1/128 from 2001:db8:1::/48"},
      {"/0 of the other family is not this one's",
       {"10.0.0.0/8", "::/0"},
       " from 10.0.0.0/8 from 203.0.113.1/32",
       ""},
      {"of both",
       {"fd00::/8", "10.0.0.0/8"},
       " from 10.0.0.0/8 from 203.0.113.1/32",
       " from 2001:db8::1/128 from fd00::/8"},
  }));
  // Other addresses have none, whatever the policy.
  const bool local = GENERATE(false, true);
  CheckAddresses({row.name,
                  [&](Service& service, NodeConfig&) {
                    service.cluster_ips.push_back(Address("fd00:96::1"));
                    service.load_balancer_ips.push_back(Address("2001:db8::1"));
                    if (local) service.external_traffic_policy = TrafficPolicy::kLocal;
                    for (const std::string& range : row.ranges) {
                      service.load_balancer_source_ranges.push_back(Prefix(range));
                    }
                  },
                  {kClusterIp, "ClusterIP fd00:96::1 Cluster vip",
                   absl::StrCat("LoadBalancer 203.0.113.1 ", local ? "Local" : "Cluster", " vip",
                                row.load_balancer),
                   absl::StrCat("LoadBalancer 2001:db8::1 ", local ? "Local" : "Cluster", " vip",
                                row.load_balancer6),
                   local ? "ExternalIP 198.51.100.1 Local vip" : kExternalIp,
                   local ? "NodePort 192.168.1.1 Local" : kNodePort}});
}

TEST_CASE("A port is reached under its number, at a node port's address under its other one") {
  const ServicePort port = {"http", ipvs::Protocol::kTcp, 80, 30080};
  const ServicePort without = {"http", ipvs::Protocol::kTcp, 80, 0};
  for (const AddressKind kind :
       {AddressKind::kClusterIp, AddressKind::kExternalIp, AddressKind::kLoadBalancer}) {
    CHECK(ServiceAddress{.kind = kind}.PortOf(port) == 80);
  }
  CHECK(ServiceAddress{.kind = AddressKind::kNodePort}.PortOf(port) == 30080);
  CHECK(ServiceAddress{.kind = AddressKind::kNodePort}.PortOf(without) == 0);
}

}  // namespace
}  // namespace fairlead
