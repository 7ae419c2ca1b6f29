#include "proxy/plan/plan_output.h"

#include <catch2/catch.hpp>

#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using testing::Address;
using testing::Lines;
using testing::MakeNode;
using testing::MakePlan;
using testing::MakeService;
using testing::MakeSlice;
using testing::MakeSlices;
using testing::Prefix;

std::shared_ptr<const ServicePlan> Plan(const Service& service,
                                        const std::vector<EndpointSlice>& slices,
                                        const NodeConfig& node = MakeNode()) {
  return std::make_shared<const ServicePlan>(MakePlan(service, MakeSlices(slices), node));
}

// A node port with affinity in both families, SCTP, and UDP without endpoints. The addresses are
// near enough to each other for ipvsadm's order to be that of numbers.
DesiredState SampleState() {
  NodeConfig node = MakeNode();
  node.node_ips[0] = Address("10.200.0.1");
  node.node_port_addresses = node.node_ips;
  Service cart = MakeService();
  cart.cluster_ips.push_back(Address("fd00:96::1"));
  cart.affinity_timeout = absl::Seconds(10800);
  Service sig = MakeService();
  sig.name.name = "sig";
  sig.type = ServiceType::kClusterIp;
  sig.cluster_ips = {Address("10.96.0.9")};
  sig.scheduler = "lc";
  sig.ports = {{"http", ipvs::Protocol::kSctp, 38412, 0}, {"dns", ipvs::Protocol::kUdp, 53, 0}};
  EndpointSlice sctp = MakeSlice("s1", {"10.244.1.10@n2", "10.244.1.9@n1"});
  sctp.ports = {{"http", ipvs::Protocol::kSctp, 38412}};
  DesiredState desired;
  desired.Update(Plan(
      cart,
      {MakeSlice("s1", {"10.244.1.2@n1", "10.244.2.2@n2"}), MakeSlice("s2", {"fd00:244::2@n1"})},
      node));
  desired.Update(Plan(sig, {sctp}, node));
  return desired;
}

TEST_CASE("The save format is what ipvsadm prints of the planned table") {
  CHECK(FormatPlanSave(SampleState()) ==
        "-A -t 10.96.0.1:80 -s rr -p 10800\n"
        "-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1\n"
        "-a -t 10.96.0.1:80 -r 10.244.2.2:8080 -m -w 1\n"
        "-A -t 10.200.0.1:30080 -s rr -p 10800\n"
        "-a -t 10.200.0.1:30080 -r 10.244.1.2:8080 -m -w 1\n"
        "-a -t 10.200.0.1:30080 -r 10.244.2.2:8080 -m -w 1\n"
        "-A -u 10.96.0.9:53 -s lc\n"
        "-A --sctp-service 10.96.0.9:38412 -s lc\n"
        "-a --sctp-service 10.96.0.9:38412 -r 10.244.1.9:38412 -m -w 1\n"
        "-a --sctp-service 10.96.0.9:38412 -r 10.244.1.10:38412 -m -w 1\n"
        "-A -t [fd00:1::1]:30080 -s rr -p 10800\n"
        "-a -t [fd00:1::1]:30080 -r [fd00:244::2]:8080 -m -w 1\n"
        "-A -t [fd00:96::1]:80 -s rr -p 10800\n"
        "-a -t [fd00:96::1]:80 -r [fd00:244::2]:8080 -m -w 1\n");
}

TEST_CASE("A virtual server for a mark is saved behind those with an address") {
  Service cart = MakeService();
  cart.cluster_ips.push_back(Address("fd00:96::1"));
  cart.external_traffic_policy = TrafficPolicy::kLocal;
  NodeConfig node = MakeNode();
  node.node_port_addresses.pop_back();
  DesiredState desired;
  desired.Update(Plan(cart, {MakeSlice("s1", {"10.244.2.2@n2"})}, node));
  CHECK(FormatPlanSave(desired) ==
        "-A -t 192.168.1.1:30080 -s rr\n"
        "-A -t 10.96.0.1:80 -s rr\n"
        "-a -t 10.96.0.1:80 -r 10.244.2.2:8080 -m -w 1\n"
        "-A -t [fd00:96::1]:80 -s rr\n"
        "-A -f 1174540287 -s rr\n"
        "-a -f 1174540287 -r 10.244.2.2:8080 -m -w 1\n");
}

TEST_CASE("A plan of nothing is an empty table") {
  CHECK(FormatPlanSave(DesiredState()).empty());
  CHECK(ToVirtualServers(DesiredState()).empty());
}

TEST_CASE("The virtual servers are those of the kernel's table, sorted") {
  const DesiredState desired = SampleState();
  const std::vector<ipvs::VirtualServer> servers = ToVirtualServers(desired);
  REQUIRE(servers.size() == 6);
  ipvs::VirtualServer expected;
  expected.key =
      ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, Address("fd00:96::1"), 80);
  expected.config = {"rr", ipvs::kFlagPersistent, absl::Seconds(10800), 128, ""};
  expected.real_servers.resize(1);
  expected.real_servers[0].key = {Address("fd00:244::2"), 8080};
  expected.real_servers[0].config = {ipvs::ForwardingMethod::kMasquerade, 1, 0, 0};
  CHECK(servers.back() == expected);
  CHECK(std::is_sorted(servers.begin(), servers.end(),
                       [](const auto& a, const auto& b) { return a.key < b.key; }));
}

TEST_CASE("The whole plan as JSON") {
  NodeConfig node = MakeNode();
  node.node_ips = {Address("192.168.1.1")};
  node.node_port_addresses = node.node_ips;
  Service cart = MakeService();
  cart.affinity_timeout = absl::Seconds(90);
  cart.scheduler = "fastest";
  cart.external_traffic_policy = TrafficPolicy::kLocal;
  EndpointSlice slice = MakeSlice("s1", {"10.244.2.2@n2"});
  slice.endpoints[0].zone = "b";
  Service other = MakeService();
  other.name.name = "\xff-other";
  other.type = ServiceType::kClusterIp;
  other.created = absl::FromUnixSeconds(1);
  other.cluster_ips.push_back(Address("fd00:96::1"));
  Service till = MakeService();
  till.name.name = "till";
  till.type = ServiceType::kLoadBalancer;
  till.cluster_ips.clear();
  till.cluster_ips.push_back(Address("fd00:96::2"));
  till.ports[0].node_port = 0;
  till.load_balancer_ips = {Address("2001:db8::1")};
  till.load_balancer_source_ranges = {Prefix("fd00::/8")};
  till.external_traffic_policy = TrafficPolicy::kLocal;
  till.health_check_node_port = 31000;
  DesiredState desired;
  desired.Update(Plan(cart, {slice}, node));
  desired.Update(Plan(till, {}, node));
  desired.Update(Plan(other, {MakeSlice("s2", {"fd00:244::2@n1 unready terminating"})}, node));
  CHECK(FormatPlanJson(desired, node) ==
        R"({
  "node": "n1",
  "virtualServers": [
    {
      "address": "10.96.0.1",
      "port": 80,
      "protocol": "TCP",
      "firewallMark": null,
      "family": "IPv4",
      "service": "shop/cart",
      "portName": "http",
      "kind": "ClusterIP",
      "policy": "Cluster",
      "verdict": "balance",
      "withoutEndpoints": "reject",
      "scheduler": "rr",
      "persistenceTimeoutSeconds": 90,
      "masquerade": "outsiders",
      "internalMark": null,
      "sources": [],
      "realServers": [
        {
          "address": "10.244.2.2",
          "port": 8080,
          "weight": 1,
          "forwarding": "Masq",
          "node": "n2",
          "zone": "b",
          "state": "ready",
          "local": false,
          "pod": "pod-10.244.2.2"
        }
      ]
    },
    {
      "address": "192.168.1.1",
      "port": 30080,
      "protocol": "TCP",
      "firewallMark": null,
      "family": "IPv4",
      "service": "shop/cart",
      "portName": "http",
      "kind": "NodePort",
      "policy": "Local",
      "verdict": "drop",
      "withoutEndpoints": "drop",
      "scheduler": "rr",
      "persistenceTimeoutSeconds": 90,
      "masquerade": "never",
      "internalMark": 1174540287,
      "sources": [],
      "realServers": []
    },
    {
      "address": null,
      "port": null,
      "protocol": "TCP",
      "firewallMark": 1174540287,
      "family": "IPv4",
      "service": "shop/cart",
      "portName": "http",
      "kind": "Internal",
      "policy": "Cluster",
      "verdict": "balance",
      "withoutEndpoints": "reject",
      "scheduler": "mh",
      "persistenceTimeoutSeconds": 0,
      "masquerade": "never",
      "internalMark": null,
      "sources": [],
      "realServers": [
        {
          "address": "10.244.2.2",
          "port": 8080,
          "weight": 1,
          "forwarding": "Masq",
          "node": "n2",
          "zone": "b",
          "state": "ready",
          "local": false,
          "pod": "pod-10.244.2.2"
        }
      ]
    },
    {
      "address": "2001:db8::1",
      "port": 80,
      "protocol": "TCP",
      "firewallMark": null,
      "family": "IPv6",
      "service": "shop/till",
      "portName": "http",
      "kind": "LoadBalancer",
      "policy": "Local",
      "verdict": "reject",
      "withoutEndpoints": "reject",
      "scheduler": "rr",
      "persistenceTimeoutSeconds": 0,
      "masquerade": "never",
      "internalMark": 1175317828,
      "sources": [
        "2001:db8::1/128",
        "fd00::/8"
      ],
      "realServers": []
    },
    {
      "address": "fd00:96::1",
      "port": 80,
      "protocol": "TCP",
      "firewallMark": null,
      "family": "IPv6",
      "service": "shop/)"
        "\uFFFD"
        R"(-other",
      "portName": "http",
      "kind": "ClusterIP",
      "policy": "Cluster",
      "verdict": "balance",
      "withoutEndpoints": "reject",
      "scheduler": "rr",
      "persistenceTimeoutSeconds": 0,
      "masquerade": "outsiders",
      "internalMark": null,
      "sources": [],
      "realServers": [
        {
          "address": "fd00:244::2",
          "port": 8080,
          "weight": 1,
          "forwarding": "Masq",
          "node": "n1",
          "zone": "",
          "state": "terminating",
          "local": true,
          "pod": "pod-fd00:244::2"
        }
      ]
    },
    {
      "address": "fd00:96::2",
      "port": 80,
      "protocol": "TCP",
      "firewallMark": null,
      "family": "IPv6",
      "service": "shop/till",
      "portName": "http",
      "kind": "ClusterIP",
      "policy": "Cluster",
      "verdict": "reject",
      "withoutEndpoints": "reject",
      "scheduler": "rr",
      "persistenceTimeoutSeconds": 0,
      "masquerade": "outsiders",
      "internalMark": null,
      "sources": [],
      "realServers": []
    },
    {
      "address": null,
      "port": null,
      "protocol": "TCP",
      "firewallMark": 1175317828,
      "family": "IPv6",
      "service": "shop/till",
      "portName": "http",
      "kind": "Internal",
      "policy": "Cluster",
      "verdict": "reject",
      "withoutEndpoints": "reject",
      "scheduler": "rr",
      "persistenceTimeoutSeconds": 0,
      "masquerade": "never",
      "internalMark": null,
      "sources": [],
      "realServers": []
    }
  ],
  "routes": [
    {
      "vip": "10.96.0.1",
      "source": "192.168.1.1",
      "device": "lo",
      "protocol": 119
    },
    {
      "vip": "2001:db8::1",
      "source": null,
      "device": "lo",
      "protocol": 119
    },
    {
      "vip": "fd00:96::1",
      "source": null,
      "device": "lo",
      "protocol": 119
    },
    {
      "vip": "fd00:96::2",
      "source": null,
      "device": "lo",
      "protocol": 119
    }
  ],
  "elements": {
    "owned4": [
      "10.96.0.1 . tcp . 80",
      "192.168.1.1 . tcp . 30080"
    ],
    "owned6": [
      "2001:db8::1 . tcp . 80",
      "fd00:96::1 . tcp . 80",
      "fd00:96::2 . tcp . 80"
    ],
    "owned_mark4": [
      "0x46020fff"
    ],
    "owned_mark6": [
      "0x460ded44"
    ],
    "served4": [
      "10.96.0.1 . tcp . 80"
    ],
    "served6": [
      "fd00:96::1 . tcp . 80"
    ],
    "open4": [],
    "open6": [
      "2001:db8::1 . tcp . 80",
      "fd00:96::2 . tcp . 80"
    ],
    "guarded4": [
      "10.96.0.1"
    ],
    "guarded6": [
      "2001:db8::1",
      "fd00:96::1",
      "fd00:96::2"
    ],
    "masquerade_always4": [],
    "masquerade_always6": [],
    "masquerade_outsiders4": [
      "10.96.0.1 . tcp . 80"
    ],
    "masquerade_outsiders6": [
      "fd00:96::1 . tcp . 80",
      "fd00:96::2 . tcp . 80"
    ],
    "hairpin4": [],
    "hairpin6": [
      "fd00:244::2 . fd00:244::2"
    ],
    "limited4": [],
    "limited6": [
      "2001:db8::1 . tcp . 80"
    ],
    "allowed4": [],
    "allowed6": [
      "2001:db8::1 . tcp . 80 . 2001:db8::1/128",
      "2001:db8::1 . tcp . 80 . fd00::/8"
    ],
    "mark4": [
      "192.168.1.1 . tcp . 30080 : 0x46020fff"
    ],
    "mark6": [
      "2001:db8::1 . tcp . 80 : 0x460ded44"
    ],
    "drop4": [
      "192.168.1.1 . tcp . 30080"
    ],
    "drop6": [],
    "reject4": [],
    "reject6": [
      "2001:db8::1 . tcp . 80",
      "fd00:96::2 . tcp . 80"
    ]
  },
  "healthChecks": [
    {
      "service": "shop/till",
      "port": 31000,
      "localEndpoints": {
        "IPv6": 0
      }
    }
  ],
  "warnings": [
    "Service shop/cart: annotation fairlead.dev/scheduler: no scheduler \"fastest\" on this node, \"rr\" is used"
  ],
  "conflicts": [
    {
      "address": "10.96.0.1",
      "port": 80,
      "protocol": "TCP",
      "winner": "shop/cart",
      "loser": "shop/)"
        "\uFFFD"
        R"(-other",
      "message": "Service shop/)"
        "\uFFFD"
        R"(-other: TCP 10.96.0.1:80 belongs to Service shop/cart, which is older"
    }
  ]
}
)");
}

}  // namespace
}  // namespace fairlead
