#include "proxy/agent/node_settings.h"

#include <catch2/catch.hpp>

#include "memory_kernel.h"

namespace fairlead::testing {
namespace {

using Addresses = std::vector<IpAddress>;

Addresses Parse(const Lines& texts) {
  Addresses addresses;
  for (const std::string& text : texts) addresses.push_back(Address(text));
  return addresses;
}

TEST_CASE("the node's own addresses are those of the flag, of the Node, or of the machine") {
  struct Row {
    std::string name;
    Lines flag;
    std::optional<Lines> node;
    Lines machine;
    Lines node_ips;
    Lines node_port_addresses;
  };
  const std::vector<Row> rows = {
      {"nothing is known", {}, {}, {}, {}, {}},
      {"the flag has the first word",
       {"192.168.1.1"},
       Lines{"192.168.1.2"},
       {"192.168.1.1", "192.168.1.3"},
       {"192.168.1.1"},
       {"192.168.1.1", "192.168.1.3"}},
      {"the flag, both families, in its order",
       {"fd00:1::1", "192.168.1.1"},
       {},
       {},
       {"fd00:1::1", "192.168.1.1"},
       {"192.168.1.1", "fd00:1::1"}},
      {"the Node's, the first of each family",
       {},
       Lines{"192.168.1.2", "192.168.1.3", "fd00:1::2", "fd00:1::3"},
       {"10.0.0.1", "192.168.1.2"},
       {"192.168.1.2", "fd00:1::2"},
       {"10.0.0.1", "192.168.1.2"}},
      {"a Node without addresses: the machine's first",
       {},
       Lines{},
       {"127.0.0.1", "10.0.0.1", "192.168.1.2", "::1", "fd00:1::1", "fe80::1"},
       {"10.0.0.1", "fd00:1::1"},
       {"10.0.0.1", "192.168.1.2", "fd00:1::1"}},
      {"no Node: the machine's first, but what cannot be a source",
       {},
       {},
       {"127.0.0.1", "169.254.1.1", "192.168.1.2"},
       {"192.168.1.2"},
       {"169.254.1.1", "192.168.1.2"}},
      {"no machine: node ports are served on the node's own addresses",
       {},
       Lines{"192.168.1.2", "fd00:1::2"},
       {},
       {"192.168.1.2", "fd00:1::2"},
       {"192.168.1.2", "fd00:1::2"}},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      NodeSettings settings{.node_name = "n1", .node_ips = Parse(row.flag)};
      Node node;
      if (row.node.has_value()) node.internal_ips = Parse(*row.node);
      std::vector<NodeAddress> machine;
      for (const IpAddress& address : Parse(row.machine)) machine.push_back({address, "eth0"});
      NodeConfig expected;
      expected.node_name = "n1";
      expected.node_ips = Parse(row.node_ips);
      expected.node_port_addresses = Parse(row.node_port_addresses);
      expected.own_addresses = expected.node_port_addresses;
      expected.affinity_scheduler = "sh";
      CHECK(MakeNodeConfig(settings, row.node.has_value() ? &node : nullptr, machine, {}) ==
            expected);
    }
  }
}

TEST_CASE("what else the operator and the Node say is passed on") {
  NodeSettings settings{.node_name = "n1",
                        .cluster_cidrs = {IpPrefix::Parse("10.244.0.0/16").value()},
                        .masquerade_all = true,
                        .default_scheduler = "lc",
                        .service_proxy_name = "fairlead",
                        .marks = {.first = 256, .last = 1023}};
  Node node{.name = "n1", .zone = "a"};
  NodeConfig expected;
  expected.node_name = "n1";
  expected.zone = "a";
  expected.pods.prefixes = settings.cluster_cidrs;
  expected.marks = {.first = 256, .last = 1023};
  expected.affinity_scheduler = "sh";
  expected.masquerade_all = true;
  expected.default_scheduler = "lc";
  expected.schedulers = {"lc", "rr"};
  expected.service_proxy_name = "fairlead";
  CHECK(MakeNodeConfig(settings, &node, {}, {"rr", "lc"}) == expected);
}

TEST_CASE("pods are told from others as the operator says") {
  const NodeSettings settings{.node_name = "n1",
                              .cluster_cidrs = {Prefix("10.244.0.0/16")},
                              .pod_bridge_interface = "cni0",
                              .pod_interface_name_prefix = "veth"};
  Node node;
  node.pod_cidrs = {Prefix("10.244.1.0/24"), Prefix("fd00:244:1::/64")};
  struct Row {
    std::string name;
    LocalMode mode;
    const Node* node;
    PodDetector expected;
  };
  const std::vector<Row> rows = {
      {"by the cluster's prefixes",
       LocalMode::kClusterCidr,
       &node,
       {.prefixes = {Prefix("10.244.0.0/16")}}},
      {"by the Node's", LocalMode::kNodeCidr, &node, {.prefixes = node.pod_cidrs}},
      {"by the Node's, which is not known", LocalMode::kNodeCidr, nullptr, {}},
      {"by a bridge", LocalMode::kBridgeInterface, nullptr, {.prefixes = {}, .device = "cni0"}},
      {"by names of devices",
       LocalMode::kInterfaceNamePrefix,
       &node,
       {.prefixes = {}, .device = "veth", .device_is_prefix = true}},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      NodeSettings with_mode = settings;
      with_mode.local_mode = row.mode;
      CHECK(MakePodDetector(with_mode, row.node) == row.expected);
      CHECK(MakeNodeConfig(with_mode, row.node, {}, {}).pods == row.expected);
    }
  }
}

TEST_CASE("affinity by hash is mh's, or sh's where the kernel has no mh") {
  CHECK(MakeNodeConfig({}, nullptr, {}, {"mh", "rr", "sh"}).affinity_scheduler == "mh");
  CHECK(MakeNodeConfig({}, nullptr, {}, {"rr"}).affinity_scheduler == "sh");
}

TEST_CASE("what is the node's own does not depend on where node ports are served") {
  NodeSettings settings{.node_name = "n1"};
  settings.node_port_selector = ParseNodePortAddresses("172.16.0.0/12").value();
  const std::vector<NodeAddress> machine = {{Address("10.0.0.1"), "eth1"},
                                            {Address("10.96.0.1"), "kube-ipvs0"},
                                            {Address("127.0.0.1"), "lo"},
                                            {Address("fd00:1::1"), "eth0"},
                                            {Address("fe80::1"), "eth0"}};
  const NodeConfig config = MakeNodeConfig(settings, nullptr, machine, {});
  CHECK(config.own_addresses == Parse({"10.0.0.1", "fd00:1::1"}));
  CHECK(config.node_port_addresses.empty());
}

TEST_CASE("node ports are served where the operator says") {
  struct Row {
    std::string name;
    std::string flag;
    Lines served;
  };
  const std::vector<Row> rows = {
      {"everywhere", "", {"10.0.0.1", "192.168.1.1", "fd00:1::1"}},
      {"on the node's own addresses", "primary", {"192.168.1.1"}},
      {"in a prefix", "10.0.0.0/8", {"10.0.0.1"}},
      {"in several", "10.0.0.0/8,fd00::/16", {"10.0.0.1", "fd00:1::1"}},
      {"nowhere", "172.16.0.0/12", {}},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      NodeSettings settings{.node_name = "n1"};
      settings.node_port_selector = ParseNodePortAddresses(row.flag).value();
      Node node;
      node.internal_ips = Parse({"192.168.1.1"});
      const std::vector<NodeAddress> machine = {{Address("10.0.0.1"), "eth1"},
                                                {Address("10.96.0.1"), "kube-ipvs0"},
                                                {Address("127.0.0.1"), "lo"},
                                                {Address("192.168.1.1"), "eth0"},
                                                {Address("fd00:1::1"), "eth0"}};
      CHECK(MakeNodeConfig(settings, &node, machine, {}).node_port_addresses == Parse(row.served));
    }
  }
}

}  // namespace
}  // namespace fairlead::testing
