#include "proxy/cli/node_flags.h"

#include <catch2/catch.hpp>
#include <functional>

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

TEST_CASE("flags that are not given have the defaults of the settings") {
  const NodeSettings settings = ParseNodeSettings(GoodFlags()).value();
  CHECK(settings.node_name == "n1");
  CHECK(settings.node_ips.empty());
  CHECK(settings.cluster_cidrs.empty());
  CHECK(settings.node_port_selector == NodePortSelector());
  CHECK_FALSE(settings.masquerade_all);
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
  AddNodeFlags(command, flags, /*required=*/true);
  command.parse(
      "--node-name n1 --node-ip fd00:1::1,192.168.1.1 --cluster-cidr 10.244.0.0/16 "
      "--cluster-cidr fd00:244::/48 --masquerade-all --nodeport-addresses primary --scheduler lc "
      "--service-proxy-name fairlead --manifests a.yaml --manifests b --state-dir /state "
      "--service-cluster-ip-range 10.0.0.0/16,fd00:96::/112 --service-node-port-range 31000-31999");
  const NodeSettings settings = ParseNodeSettings(flags).value();
  CHECK(settings.node_name == "n1");
  CHECK(Format(settings.node_ips) == Strings{"fd00:1::1", "192.168.1.1"});
  CHECK(Format(settings.cluster_cidrs) == Strings{"10.244.0.0/16", "fd00:244::/48"});
  CHECK(settings.masquerade_all);
  CHECK(settings.node_port_selector == NodePortSelector{.primary = true, .prefixes = {}});
  CHECK(settings.default_scheduler == "lc");
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
    AddNodeFlags(command, flags, /*required=*/true);
    CHECK_THROWS_AS(command.parse(line), CLI::RequiredError);
  }
}

}  // namespace
}  // namespace fairlead
