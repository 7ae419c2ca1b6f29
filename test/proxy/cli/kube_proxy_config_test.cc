#include "proxy/cli/kube_proxy_config.h"

#include <catch2/catch.hpp>
#include <functional>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

using Strings = std::vector<std::string>;
using Fields = std::vector<IgnoredField>;

constexpr char kHeader[] =
    "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"
    "kind: KubeProxyConfiguration\n";

absl::StatusOr<KubeProxyConfig> Parse(const std::string& body) {
  return ParseKubeProxyConfig(absl::StrCat(kHeader, body), "config.conf");
}

// What a file says that has nothing but the header.
KubeProxyConfig Defaults() {
  KubeProxyConfig config;
  config.conntrack_max_per_core = 32768;
  config.conntrack_min = 131072;
  config.conntrack_tcp_established_timeout = absl::Hours(24);
  config.conntrack_tcp_close_wait_timeout = absl::Hours(1);
  return config;
}

// kubeadm 1.36.3: kubeadm config print init-defaults --component-configs KubeProxyConfiguration
constexpr char kKubeadm[] = R"(apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: ""
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
)";

TEST_CASE("kubeadm's configuration, which has every field, ignores nothing") {
  const auto config = ParseKubeProxyConfig(kKubeadm, "config.conf");
  INFO(config.status());
  REQUIRE(config.ok());
  KubeProxyConfig wanted = Defaults();
  wanted.kubeconfig = "/var/lib/kube-proxy/kubeconfig.conf";
  CHECK(config->ignored == Fields{});
  CHECK(*config == wanted);
}

TEST_CASE("each field that applies is read") {
  struct Row {
    std::string name;
    std::string body;
    std::function<void(KubeProxyConfig&)> set;
  };
  using Config = KubeProxyConfig;
  const std::vector<Row> rows = {
      {"nothing", "", [](Config&) {}},
      {"name", "hostnameOverride: Node-1", [](Config& c) { c.hostname_override = "Node-1"; }},
      {"address", "bindAddress: 192.0.2.5", [](Config& c) { c.node_ip = "192.0.2.5"; }},
      {"any address", "bindAddress: 0.0.0.0", [](Config&) {}},
      {"any address of IPv6", "bindAddress: '::'",
       [](Config& c) { c.metrics_bind_address = "[::1]:10249"; }},
      {"an address of IPv6", "bindAddress: fd00::5",
       [](Config& c) {
         c.node_ip = "fd00::5";
         c.metrics_bind_address = "[::1]:10249";
       }},
      {"health", "healthzBindAddress: 127.0.0.1:1",
       [](Config& c) { c.healthz_bind_address = "127.0.0.1:1"; }},
      {"health without a port", "healthzBindAddress: 127.0.0.1",
       [](Config& c) { c.healthz_bind_address = "127.0.0.1:10256"; }},
      {"metrics", "metricsBindAddress: '[::]:2'",
       [](Config& c) { c.metrics_bind_address = "[::]:2"; }},
      {"metrics without a port", "metricsBindAddress: fd00::5",
       [](Config& c) { c.metrics_bind_address = "[fd00::5]:10249"; }},
      {"API server", "clientConnection: {kubeconfig: /etc/kube}",
       [](Config& c) { c.kubeconfig = "/etc/kube"; }},
      {"verbosity", "logging: {verbosity: 4, format: text}", [](Config& c) { c.verbose = true; }},
      {"little verbosity", "logging: {verbosity: 3}", [](Config&) {}},
      {"mode", "mode: ipvs", [](Config& c) { c.mode = "ipvs"; }},
      {"scheduler", "ipvs: {scheduler: lc}", [](Config& c) { c.scheduler = "lc"; }},
      {"ARP", "ipvs: {strictARP: true}", [](Config& c) { c.strict_arp = true; }},
      {"timeouts of IPVS", "ipvs: {tcpTimeout: 15m, tcpFinTimeout: 1m30s, udpTimeout: 250ms}",
       [](Config& c) {
         c.ipvs_tcp_timeout = absl::Minutes(15);
         c.ipvs_tcp_fin_timeout = absl::Seconds(90);
         c.ipvs_udp_timeout = absl::Milliseconds(250);
       }},
      {"masquerade without a mode", "iptables: {masqueradeAll: true}",
       [](Config& c) { c.masquerade_all = true; }},
      {"masquerade of the IPVS mode", "mode: ipvs\niptables: {masqueradeAll: true}",
       [](Config& c) {
         c.mode = "ipvs";
         c.masquerade_all = true;
       }},
      {"period without a mode", "iptables: {syncPeriod: 1h2m3s}",
       [](Config& c) { c.sync_period = absl::Seconds(3723); }},
      {"period of the IPVS mode", "mode: ipvs\nipvs: {syncPeriod: 1.5h}",
       [](Config& c) {
         c.mode = "ipvs";
         c.sync_period = absl::Minutes(90);
       }},
      {"pods by ranges", "clusterCIDR: '10.244.0.0/16, fd44::/48'\ndetectLocalMode: ClusterCIDR",
       [](Config& c) {
         c.detect_local_mode = "ClusterCIDR";
         c.cluster_cidrs = {"10.244.0.0/16", "fd44::/48"};
       }},
      {"pods by a range, without a mode", "clusterCIDR: 10.244.0.0/16",
       [](Config& c) { c.cluster_cidrs = {"10.244.0.0/16"}; }},
      {"pods by a bridge", "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}",
       [](Config& c) {
         c.detect_local_mode = "BridgeInterface";
         c.bridge_interface = "cni0";
       }},
      {"pods by devices",
       "detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: veth}",
       [](Config& c) {
         c.detect_local_mode = "InterfaceNamePrefix";
         c.interface_name_prefix = "veth";
       }},
      {"pods of the node", "detectLocalMode: NodeCIDR",
       [](Config& c) { c.detect_local_mode = "NodeCIDR"; }},
      {"node ports", "nodePortAddresses: [192.0.2.0/24, 'fd00::/64']",
       [](Config& c) {
         c.node_port_addresses = {"192.0.2.0/24", "fd00::/64"};
       }},
      {"node ports on the primary addresses", "nodePortAddresses: [primary]",
       [](Config& c) { c.node_port_addresses = {"primary"}; }},
      {"connection tracking",
       "conntrack: {maxPerCore: 1000, min: 2000, tcpBeLiberal: true, tcpEstablishedTimeout: 2h,"
       " tcpCloseWaitTimeout: 3m, udpTimeout: 4s, udpStreamTimeout: 5s}",
       [](Config& c) {
         c.conntrack_max_per_core = 1000;
         c.conntrack_min = 2000;
         c.conntrack_tcp_be_liberal = true;
         c.conntrack_tcp_established_timeout = absl::Hours(2);
         c.conntrack_tcp_close_wait_timeout = absl::Minutes(3);
         c.conntrack_udp_timeout = absl::Seconds(4);
         c.conntrack_udp_stream_timeout = absl::Seconds(5);
       }},
      {"connection tracking left alone",
       "conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}",
       [](Config& c) {
         c.conntrack_max_per_core = 0;
         c.conntrack_tcp_established_timeout = absl::ZeroDuration();
         c.conntrack_tcp_close_wait_timeout = absl::ZeroDuration();
       }},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto config = Parse(row.body);
    INFO(config.status());
    REQUIRE(config.ok());
    KubeProxyConfig wanted = Defaults();
    row.set(wanted);
    CHECK(*config == wanted);
  }
}

TEST_CASE("each field that is set and has no effect is named") {
  struct Row {
    std::string body;
    Strings paths;
  };
  const std::vector<Row> rows = {
      {"bindAddressHardFail: true", {"bindAddressHardFail"}},
      {"clientConnection: {acceptContentTypes: a, contentType: b, qps: 0.5, burst: 7}",
       {"clientConnection.acceptContentTypes", "clientConnection.contentType",
        "clientConnection.qps", "clientConnection.burst"}},
      {"logging: {format: json, flushFrequency: 5s, vmodule: [{filePattern: a, verbosity: 1}],"
       " options: {json: {infoBufferSize: 1Ki}}}",
       {"logging.format", "logging.flushFrequency", "logging.options", "logging.vmodule"}},
      {"enableProfiling: true", {"enableProfiling"}},
      {"showHiddenMetricsForVersion: '1.35'", {"showHiddenMetricsForVersion"}},
      {"featureGates: {A: true, B: false}", {"featureGates.A", "featureGates.B"}},
      {"mode: iptables", {"mode"}},
      {"mode: nftables\nnftables: {syncPeriod: 1s, minSyncPeriod: 1s, masqueradeBit: 3}",
       {"mode", "nftables.minSyncPeriod", "nftables.masqueradeBit"}},
      {"mode: ipvs\nnftables: {syncPeriod: 1s, minSyncPeriod: 1s, masqueradeAll: true}",
       {"nftables.masqueradeAll", "nftables.syncPeriod", "nftables.minSyncPeriod"}},
      {"mode: nftables\niptables: {masqueradeAll: true}", {"mode", "iptables.masqueradeAll"}},
      {"iptables: {masqueradeBit: 14, localhostNodePorts: true, minSyncPeriod: 1s}",
       {"iptables.minSyncPeriod", "iptables.masqueradeBit", "iptables.localhostNodePorts"}},
      {"mode: ipvs\nipvs: {minSyncPeriod: 1s, excludeCIDRs: [10.0.0.0/8]}",
       {"ipvs.minSyncPeriod", "ipvs.excludeCIDRs"}},
      {"ipvs: {syncPeriod: 1s}", {"ipvs.syncPeriod"}},
      {"winkernel: {networkName: a, sourceVip: b, enableDSR: true, rootHnsEndpointName: c,"
       " forwardHealthCheckVip: true}\nwindowsRunAsService: true",
       {"winkernel.networkName", "winkernel.sourceVip", "winkernel.enableDSR",
        "winkernel.rootHnsEndpointName", "winkernel.forwardHealthCheckVip", "windowsRunAsService"}},
      {"detectLocalMode: NodeCIDR\nclusterCIDR: 10.0.0.0/8\n"
       "detectLocal: {bridgeInterface: a, interfaceNamePrefix: b}",
       {"clusterCIDR", "detectLocal.bridgeInterface", "detectLocal.interfaceNamePrefix"}},
      {"oomScoreAdj: -999", {"oomScoreAdj"}},
      {"configSyncPeriod: 15m0s", {"configSyncPeriod"}},
      {"portRange: 1-2", {"portRange"}},
  };
  for (const Row& row : rows) {
    INFO(row.body);
    const auto config = Parse(row.body);
    INFO(config.status());
    REQUIRE(config.ok());
    Strings paths;
    for (const IgnoredField& field : config->ignored) {
      paths.push_back(field.path);
      CHECK_FALSE(field.reason.empty());
    }
    CHECK(paths == row.paths);
  }
}

TEST_CASE("masqueradeAll and syncPeriod are those of the mode") {
  const auto config = Parse(
      "mode: nftables\nnftables: {masqueradeAll: true, syncPeriod: 7s}\n"
      "iptables: {masqueradeAll: false, syncPeriod: 8s}\nipvs: {syncPeriod: 9s}\n");
  REQUIRE(config.ok());
  CHECK(config->masquerade_all);
  CHECK(config->sync_period == absl::Seconds(7));
}

TEST_CASE("a fault is said with its place") {
  struct Row {
    std::string name;
    std::string text;
    std::string error;
  };
  const auto body = [](const std::string& text) { return absl::StrCat(kHeader, text); };
  const std::vector<Row> rows = {
      {"empty", "", "config.conf: has no document of kind KubeProxyConfiguration"},
      {"another kind", "kind: ConfigMap",
       "config.conf: has no document of kind KubeProxyConfiguration"},
      {"a list", "- kind: KubeProxyConfiguration",
       "config.conf: has no document of kind KubeProxyConfiguration"},
      {"two", body("---\n") + kHeader, "config.conf:4: is a second KubeProxyConfiguration"},
      {"no version", "kind: KubeProxyConfiguration",
       "config.conf:1: apiVersion: is not kubeproxy.config.k8s.io/v1alpha1"},
      {"another version", "apiVersion: kubeproxy.config.k8s.io/v2\nkind: KubeProxyConfiguration",
       "config.conf:1: apiVersion: is not kubeproxy.config.k8s.io/v1alpha1"},
      {"a field that there is not", body("modes: ipvs"),
       "config.conf:3: modes: no field of kubeproxy.config.k8s.io/v1alpha1"},
      {"the case of a field", body("clustercidr: 10.0.0.0/8"),
       "config.conf:3: clustercidr: no field of kubeproxy.config.k8s.io/v1alpha1"},
      {"a field in an object", body("ipvs:\n  shceduler: rr"),
       "config.conf:4: ipvs.shceduler: no field of kubeproxy.config.k8s.io/v1alpha1"},
      {"several", body("a: 1\nb: 2"),
       "config.conf:3: a: no field of kubeproxy.config.k8s.io/v1alpha1\n"
       "config.conf:4: b: no field of kubeproxy.config.k8s.io/v1alpha1"},
      {"a field twice", body("mode: ipvs\nmode: ipvs"), "config.conf:1: gives \"mode\" twice"},
      {"no object", body("ipvs: rr"), "config.conf:3: ipvs: is the string \"rr\", not a map"},
      {"no string", body("hostnameOverride: 7"),
       "config.conf:3: hostnameOverride: is the number 7, not a string"},
      {"no boolean", body("iptables: {masqueradeAll: 1}"),
       "config.conf:3: iptables.masqueradeAll: is the number 1, not true or false"},
      {"no duration", body("mode: ipvs\nipvs: {syncPeriod: 30}"),
       "config.conf:4: ipvs.syncPeriod: is the number 30, not a string"},
      {"a duration without unit", body("mode: ipvs\nipvs: {syncPeriod: '30'}"),
       "config.conf:4: ipvs.syncPeriod: \"30\" is no duration such as 90s or 1h30m"},
      {"a duration without end", body("mode: ipvs\nipvs: {syncPeriod: inf}"),
       "config.conf:4: ipvs.syncPeriod: \"inf\" is no duration such as 90s or 1h30m"},
      {"a negative duration", body("conntrack: {udpTimeout: -1s}"),
       "config.conf:3: conntrack.udpTimeout: \"-1s\" is no duration such as 90s or 1h30m"},
      {"a negative number", body("conntrack: {min: -1}"),
       "config.conf:3: conntrack.min: -1 is not between 0 and 2147483647"},
      {"no address", body("bindAddress: n1"),
       "config.conf:3: bindAddress: \"n1\" is not an IP address"},
      {"no address with port", body("healthzBindAddress: n1"),
       "config.conf:3: healthzBindAddress: \"n1\" is not an address with a port, as "
       "0.0.0.0:10256"},
      {"a mode of Windows", body("mode: kernelspace"),
       "config.conf:3: mode: \"kernelspace\" is not a mode of Linux (ipvs, iptables, nftables)"},
      {"no way of detection", body("detectLocalMode: Guess"),
       "config.conf:3: detectLocalMode: \"Guess\" is none of BridgeInterface, ClusterCIDR, "
       "InterfaceNamePrefix, NodeCIDR"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto config = ParseKubeProxyConfig(row.text, "config.conf");
    REQUIRE_FALSE(config.ok());
    CHECK(absl::IsInvalidArgument(config.status()));
    CHECK(std::string(config.status().message()) == row.error);
  }
  CHECK_FALSE(ParseKubeProxyConfig("kind: [", "config.conf").ok());
}

TEST_CASE("the document is found among others, and may be JSON") {
  const std::vector<std::string> texts = {
      absl::StrCat("---\n", kHeader, "mode: ipvs\n"),
      absl::StrCat("kind: InitConfiguration\n---\n", kHeader, "mode: ipvs\n---\nkind: Other\n"),
      R"({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
          "mode": "ipvs"})",
  };
  for (const std::string& text : texts) {
    INFO(text);
    const auto config = ParseKubeProxyConfig(text, "config.conf");
    INFO(config.status());
    REQUIRE(config.ok());
    CHECK(config->mode == "ipvs");
  }
}

TEST_CASE("a file that is not there is named") {
  const auto config = LoadKubeProxyConfig("/nowhere/config.conf");
  REQUIRE_FALSE(config.ok());
  CHECK(std::string(config.status().message()) ==
        "/nowhere/config.conf: No such file or directory");
}

}  // namespace
}  // namespace fairlead
