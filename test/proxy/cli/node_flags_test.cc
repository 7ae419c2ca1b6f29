#include "proxy/cli/node_flags.h"

#include <catch2/catch.hpp>
#include <functional>
#include <map>

#include "absl/strings/match.h"

namespace fairlead {
namespace {

using Strings = std::vector<std::string>;

NodeFlags GoodFlags() {
  NodeFlags flags;
  flags.node_name = "n1";
  flags.manifests = {"shop.yaml"};
  return flags;
}

template <typename T>
Strings Format(const std::vector<T>& values) {
  Strings texts;
  for (const T& value : values) texts.push_back(value.Format());
  return texts;
}

TEST_CASE("a bad value is refused, and the error names its flag once") {
  struct Row {
    std::string flag;
    std::string value;
    std::function<void(NodeFlags&, const std::string&)> set;
  };
  const auto node_ip = [](NodeFlags& flags, const std::string& value) { flags.node_ips = {value}; };
  const auto cidr = [](NodeFlags& flags, const std::string& value) {
    flags.cluster_cidrs = {"10.244.0.0/16", value};
  };
  const auto node_ports = [](NodeFlags& flags, const std::string& value) {
    flags.node_port_addresses = value;
  };
  const auto ip_range = [](NodeFlags& flags, const std::string& value) {
    flags.service_cluster_ip_range = value;
  };
  const auto port_range = [](NodeFlags& flags, const std::string& value) {
    flags.service_node_port_range = value;
  };
  const auto mark_range = [](NodeFlags& flags, const std::string& value) {
    flags.mark_range = value;
  };
  const std::vector<Row> rows = {
      {"--node-name", "",
       [](NodeFlags& flags, const std::string& value) { flags.node_name = value; }},
      {"--node-ip", "n1", node_ip},
      {"--node-ip", "192.168.1.1/24", node_ip},
      {"--node-ip", "192.168.1.1,192.168.1.2", node_ip},
      {"--node-ip", "fd00::1,192.168.1.1,fd00::2", node_ip},
      {"--node-ip", "127.0.0.1", node_ip},
      {"--node-ip", "fe80::1", node_ip},
      {"--node-ip", "0.0.0.0", node_ip},
      {"--cluster-cidr", "10.244.0.0", cidr},
      {"--cluster-cidr", "10.244.0.0/33", cidr},
      {"--cluster-cidr", "fd00::/64,pods", cidr},
      {"--nodeport-addresses", "secondary", node_ports},
      {"--nodeport-addresses", "primary,10.0.0.0/8", node_ports},
      {"--nodeport-addresses", "10.0.0.0/8,", node_ports},
      {"--mark-range", "", mark_range},
      {"--mark-range", "1", mark_range},
      {"--mark-range", "0-1000", mark_range},
      {"--mark-range", "256-510", mark_range},
      {"--mark-range", "1000-1", mark_range},
      {"--mark-range", "0x46000000-0x1ffffffff", mark_range},
      {"--mark-range", "one-thousand", mark_range},
      {"--service-cluster-ip-range", "", ip_range},
      {"--service-cluster-ip-range", "10.96.0.0", ip_range},
      {"--service-cluster-ip-range", "10.96.0.0/12,10.112.0.0/12", ip_range},
      {"--service-node-port-range", "", port_range},
      {"--service-node-port-range", "0-10", port_range},
      {"--service-node-port-range", "32767-30000", port_range},
      {"--service-node-port-range", "30000-70000", port_range},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.flag << "=" << row.value) {
      NodeFlags flags = GoodFlags();
      row.set(flags, row.value);
      absl::Status status = ParseNodeSettings(flags).status();
      if (status.ok()) status = ParseManifestOptions(flags).status();
      CHECK(absl::IsInvalidArgument(status));
      const std::string message(status.message());
      INFO(message);
      CHECK(absl::StartsWith(message, row.flag + ": "));
      CHECK(message.find(row.flag, 1) == std::string::npos);
    }
  }
}

TEST_CASE("a device that pods are told by has to be named, and by its own mode") {
  struct Row {
    std::string name;
    std::string mode;
    std::string bridge;
    std::string prefix;
    std::string error;  // How it starts; empty: it is fine.
  };
  const std::vector<Row> rows = {
      {"addresses", "ClusterCIDR", "", "", ""},
      {"the Node's addresses", "NodeCIDR", "", "", ""},
      {"a bridge", "BridgeInterface", "cni0", "", ""},
      {"a prefix", "InterfaceNamePrefix", "", "veth", ""},
      {"the longest name", "BridgeInterface", "abcdefghijklmno", "", ""},
      {"no bridge", "BridgeInterface", "", "", "--pod-bridge-interface: \"\" is not"},
      {"no prefix", "InterfaceNamePrefix", "", "", "--pod-interface-name-prefix: \"\" is not"},
      {"too long a name", "BridgeInterface", "abcdefghijklmnop", "",
       "--pod-bridge-interface: \"abcdefghijklmnop\" is not"},
      {"a pattern", "InterfaceNamePrefix", "", "veth*",
       "--pod-interface-name-prefix: \"veth*\" is not"},
      {"a quote", "BridgeInterface", "a\"b", "", "--pod-bridge-interface: \"a\"b\" is not"},
      {"a blank", "BridgeInterface", "a b", "", "--pod-bridge-interface: \"a b\" is not"},
      {"a slash", "InterfaceNamePrefix", "", "a/b", "--pod-interface-name-prefix: \"a/b\" is not"},
      {"a bridge by address", "ClusterCIDR", "cni0", "",
       "--pod-bridge-interface: has no effect with --detect-local-mode ClusterCIDR"},
      {"a prefix by address", "NodeCIDR", "", "veth",
       "--pod-interface-name-prefix: has no effect with --detect-local-mode NodeCIDR"},
      {"a prefix beside a bridge", "BridgeInterface", "cni0", "veth",
       "--pod-interface-name-prefix: has no effect with --detect-local-mode BridgeInterface"},
      {"a bridge beside a prefix", "InterfaceNamePrefix", "cni0", "veth",
       "--pod-bridge-interface: has no effect with --detect-local-mode InterfaceNamePrefix"},
  };
  const std::map<std::string, LocalMode> modes = {
      {"ClusterCIDR", LocalMode::kClusterCidr},
      {"NodeCIDR", LocalMode::kNodeCidr},
      {"BridgeInterface", LocalMode::kBridgeInterface},
      {"InterfaceNamePrefix", LocalMode::kInterfaceNamePrefix}};
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      NodeFlags flags = GoodFlags();
      flags.detect_local_mode = row.mode;
      flags.pod_bridge_interface = row.bridge;
      flags.pod_interface_name_prefix = row.prefix;
      const absl::StatusOr<NodeSettings> settings = ParseNodeSettings(flags);
      if (row.error.empty()) {
        REQUIRE(settings.ok());
        CHECK(settings->local_mode == modes.at(row.mode));
        CHECK(settings->pod_bridge_interface == row.bridge);
        CHECK(settings->pod_interface_name_prefix == row.prefix);
      } else {
        CHECK(absl::IsInvalidArgument(settings.status()));
        const std::string message(settings.status().message());
        INFO(message);
        CHECK(absl::StartsWith(message, row.error));
      }
    }
  }
}

TEST_CASE("a mode of telling pods from others that there is not is refused") {
  CLI::App command;
  NodeFlags flags;
  AddNodeFlags(command, flags, Required::kNothing);
  CHECK_THROWS_AS(command.parse("--detect-local-mode Magic"), CLI::ValidationError);
}

TEST_CASE("flags that are not given have the defaults of the settings") {
  const NodeSettings settings = ParseNodeSettings(GoodFlags()).value();
  CHECK(settings.node_name == "n1");
  CHECK(settings.node_ips.empty());
  CHECK(settings.cluster_cidrs.empty());
  CHECK(settings.node_port_selector == NodePortSelector());
  CHECK_FALSE(settings.masquerade_all);
  CHECK(settings.local_mode == LocalMode::kClusterCidr);
  CHECK(settings.pod_bridge_interface.empty());
  CHECK(settings.pod_interface_name_prefix.empty());
  CHECK(settings.marks == MarkRange());
  CHECK(settings.default_scheduler == "rr");
  CHECK(settings.service_proxy_name == std::nullopt);
  const ManifestOptions options = ParseManifestOptions(GoodFlags()).value();
  CHECK(options.paths == Strings{"shop.yaml"});
  CHECK(options.state_dir.empty());
  CHECK(Format(options.service_cluster_ip_ranges) == Strings{kDefaultServiceClusterIpRange});
  CHECK(options.service_node_port_range.Format() == kDefaultServiceNodePortRange);
}

TEST_CASE("a command line becomes settings") {
  CLI::App command;
  NodeFlags flags;
  AddNodeFlags(command, flags, Required::kNodeAndManifests);
  command.parse(
      "--node-name n1 --node-ip fd00:1::1,192.168.1.1 --cluster-cidr 10.244.0.0/16 "
      "--cluster-cidr fd00:244::/48 --masquerade-all --nodeport-addresses primary --scheduler lc "
      "--detect-local-mode InterfaceNamePrefix --pod-interface-name-prefix veth "
      "--mark-range 0x100-1023 --service-proxy-name fairlead --manifests a.yaml --manifests b "
      "--state-dir /state "
      "--service-cluster-ip-range 10.0.0.0/16,fd00:96::/112 --service-node-port-range 31000-31999");
  const NodeSettings settings = ParseNodeSettings(flags).value();
  CHECK(settings.node_name == "n1");
  CHECK(Format(settings.node_ips) == Strings{"fd00:1::1", "192.168.1.1"});
  CHECK(Format(settings.cluster_cidrs) == Strings{"10.244.0.0/16", "fd00:244::/48"});
  CHECK(settings.masquerade_all);
  CHECK(settings.node_port_selector == NodePortSelector{.primary = true, .prefixes = {}});
  CHECK(settings.default_scheduler == "lc");
  CHECK(settings.local_mode == LocalMode::kInterfaceNamePrefix);
  CHECK(settings.pod_interface_name_prefix == "veth");
  CHECK(settings.marks == MarkRange{.first = 256, .last = 1023});
  CHECK(settings.service_proxy_name == "fairlead");
  const ManifestOptions options = ParseManifestOptions(flags).value();
  CHECK(options.paths == Strings{"a.yaml", "b"});
  CHECK(options.state_dir == "/state");
  CHECK(Format(options.service_cluster_ip_ranges) == Strings{"10.0.0.0/16", "fd00:96::/112"});
  CHECK(options.service_node_port_range.Format() == "31000-31999");
}

TEST_CASE("a command line without what is required is refused") {
  for (const char* line : {"", "--node-name n1", "--manifests a.yaml"}) {
    CLI::App command;
    NodeFlags flags;
    AddNodeFlags(command, flags, Required::kNodeAndManifests);
    CHECK_THROWS_AS(command.parse(line), CLI::RequiredError);
  }
}

TEST_CASE("a command that can ask the agent needs neither a node's name nor manifests") {
  CLI::App command;
  NodeFlags flags;
  AddNodeFlags(command, flags, Required::kNothing);
  command.parse("");
  CHECK(flags.node_name.empty());
  CHECK(flags.manifests.empty());
}

}  // namespace
}  // namespace fairlead
