#include "proxy/cli/kube_proxy_flags.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

using Strings = std::vector<std::string>;

// The flags of a command line, with those that a file fills in.
struct Flags {
  NodeFlags node;
  KubernetesFlags kubernetes;
  DaemonFlags daemon{.healthz_bind_address = "[::]:10256",
                     .metrics_bind_address = "127.0.0.1:10249"};
  std::string sync_period = "30s";
  Strings watchers;
};

Flags Apply(const KubeProxyConfig& config, Strings words = {}, bool beside = false) {
  Flags flags;
  CLI::App command;
  AddNodeFlags(command, flags.node, Required::kNothing);
  AddKubernetesFlags(command, flags.kubernetes);
  AddDaemonFlags(command, flags.daemon, "Agent");
  command.add_option("--sync-period", flags.sync_period);
  command.add_option("--watcher", flags.watchers);
  command.parse(Strings(words.rbegin(), words.rend()));
  ApplyKubeProxyConfig(config, command, " Host.Example ",
                       {flags.node, flags.kubernetes, flags.daemon, flags.sync_period, beside});
  return flags;
}

KubeProxyConfig Full() {
  KubeProxyConfig config;
  config.hostname_override = "Node-1";
  config.node_ip = "192.0.2.5";
  config.healthz_bind_address = "127.0.0.1:1";
  config.metrics_bind_address = "127.0.0.1:2";
  config.kubeconfig = "/etc/kube";
  config.verbose = true;
  config.scheduler = "lc";
  config.masquerade_all = true;
  config.sync_period = absl::Seconds(90);
  config.detect_local_mode = "BridgeInterface";
  config.bridge_interface = "cni0";
  config.interface_name_prefix = "veth";
  config.cluster_cidrs = {"10.244.0.0/16", "fd44::/48"};
  config.node_port_addresses = {"192.0.2.0/24", "fd00::/64"};
  return config;
}

TEST_CASE("the file says what the command line does not") {
  const Flags flags = Apply(Full());
  CHECK(flags.node.node_name == "node-1");
  CHECK(flags.node.node_ips == Strings{"192.0.2.5"});
  CHECK(flags.node.detect_local_mode == "BridgeInterface");
  CHECK(flags.node.pod_bridge_interface == "cni0");
  CHECK(flags.node.pod_interface_name_prefix.empty());
  CHECK(flags.node.cluster_cidrs == Strings{"10.244.0.0/16", "fd44::/48"});
  CHECK(flags.node.node_port_addresses == "192.0.2.0/24,fd00::/64");
  CHECK(flags.node.scheduler == "lc");
  CHECK(flags.node.masquerade_all);
  CHECK(flags.kubernetes.kubeconfig == "/etc/kube");
  CHECK_FALSE(flags.kubernetes.in_cluster);
  CHECK(flags.daemon.healthz_bind_address == "127.0.0.1:1");
  CHECK(flags.daemon.metrics_bind_address == "127.0.0.1:2");
  CHECK(flags.daemon.log_level == "debug");
  CHECK(flags.sync_period == "1m30s");
}

TEST_CASE("the command line is right") {
  const Flags flags = Apply(
      Full(), {"--node-name=n1", "--node-ip=192.0.2.6", "--detect-local-mode=InterfaceNamePrefix",
               "--pod-interface-name-prefix=pod", "--cluster-cidr=10.0.0.0/8",
               "--nodeport-addresses=primary", "--scheduler=rr", "--watcher=a:1",
               "--healthz-bind-address=127.0.0.1:3", "--metrics-bind-address=127.0.0.1:4",
               "--log-level=error", "--sync-period=1s"});
  CHECK(flags.node.node_name == "n1");
  CHECK(flags.node.node_ips == Strings{"192.0.2.6"});
  CHECK(flags.node.detect_local_mode == "InterfaceNamePrefix");
  CHECK(flags.node.pod_bridge_interface.empty());
  CHECK(flags.node.pod_interface_name_prefix == "pod");
  CHECK(flags.node.cluster_cidrs == Strings{"10.0.0.0/8"});
  CHECK(flags.node.node_port_addresses == "primary");
  CHECK(flags.node.scheduler == "rr");
  CHECK(flags.kubernetes.kubeconfig.empty());
  CHECK_FALSE(flags.kubernetes.in_cluster);
  CHECK(flags.daemon.healthz_bind_address == "127.0.0.1:3");
  CHECK(flags.daemon.metrics_bind_address == "127.0.0.1:4");
  CHECK(flags.daemon.log_level == "error");
  CHECK(flags.sync_period == "1s");
}

TEST_CASE("a file that says nothing leaves the defaults, the host's name and the cluster") {
  const Flags flags = Apply({});
  CHECK(flags.node.node_name == "host.example");
  CHECK(flags.node.node_ips.empty());
  CHECK(flags.node.detect_local_mode == "ClusterCIDR");
  CHECK(flags.node.cluster_cidrs.empty());
  CHECK(flags.node.node_port_addresses.empty());
  CHECK(flags.node.scheduler == "rr");
  CHECK_FALSE(flags.node.masquerade_all);
  CHECK(flags.kubernetes.kubeconfig.empty());
  CHECK(flags.kubernetes.in_cluster);
  CHECK(flags.daemon.healthz_bind_address == "[::]:10256");
  CHECK(flags.daemon.metrics_bind_address == "127.0.0.1:10249");
  CHECK(flags.daemon.log_level == "info");
  CHECK(flags.sync_period == "30s");
}

TEST_CASE("beside kube-proxy its addresses of health and metrics are left to it") {
  const Flags flags = Apply(Full(), {"--metrics-bind-address=127.0.0.1:4"}, /*beside=*/true);
  CHECK(flags.daemon.healthz_bind_address == "[::]:10256");
  CHECK(flags.daemon.metrics_bind_address == "127.0.0.1:4");
  CHECK(flags.node.scheduler == "lc");
}

TEST_CASE("any source that the command line gives is the only one") {
  for (const std::string word :
       {"--manifests=a", "--kubeconfig=a", "--in-cluster", "--watcher=a:1"}) {
    INFO(word);
    const Flags flags = Apply(Full(), {word});
    CHECK(flags.kubernetes.kubeconfig != "/etc/kube");
    CHECK(flags.kubernetes.in_cluster == (word == "--in-cluster"));
  }
}

TEST_CASE("connection tracking is as kube-proxy would have it") {
  struct Row {
    std::string name;
    int32_t max_per_core;
    int32_t min;
    int cpus;
    std::string max;  // Empty: left alone.
    std::string buckets;
  };
  const std::vector<Row> rows = {
      {"few processors", 32768, 131072, 2, "131072", "32768"},
      {"more", 32768, 131072, 8, "262144", "65536"},
      {"no limit but a million", 32768, 131072, 256, "1048576", "262144"},
      {"no lower limit", 1000, 0, 2, "2000", "500"},
      {"left alone", 0, 131072, 8, "", ""},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    KubeProxyConfig config;
    config.conntrack_max_per_core = row.max_per_core;
    config.conntrack_min = row.min;
    const KubeProxyKernelSettings settings = KernelSettingsOf(config, row.cpus);
    Strings values;
    for (const Sysctl& sysctl : settings.sysctls) {
      values.push_back(sysctl.name + "=" + sysctl.value);
      CHECK(sysctl.minimum);
    }
    const Strings wanted = {"net.netfilter.nf_conntrack_max=" + row.max,
                            "net.netfilter.nf_conntrack_buckets=" + row.buckets};
    CHECK(values == (row.max.empty() ? Strings{} : wanted));
    CHECK(settings.timeouts == IpvsTimeouts());
  }
}

TEST_CASE("timeouts and ARP become settings of the kernel") {
  KubeProxyConfig config;
  config.strict_arp = true;
  config.conntrack_tcp_be_liberal = true;
  config.conntrack_tcp_established_timeout = absl::Hours(24);
  config.conntrack_tcp_close_wait_timeout = absl::Hours(1);
  config.conntrack_udp_timeout = absl::Seconds(30);
  config.conntrack_udp_stream_timeout = absl::Milliseconds(5500);
  config.ipvs_tcp_timeout = absl::Minutes(15);
  config.ipvs_tcp_fin_timeout = absl::Minutes(2);
  config.ipvs_udp_timeout = absl::Minutes(5);
  const KubeProxyKernelSettings settings = KernelSettingsOf(config, 2);
  Strings values;
  for (const Sysctl& sysctl : settings.sysctls) {
    values.push_back(sysctl.name + "=" + sysctl.value);
    CHECK_FALSE(sysctl.minimum);
    CHECK_FALSE(sysctl.reason.empty());
  }
  CHECK(values == Strings{"net.netfilter.nf_conntrack_tcp_timeout_established=86400",
                          "net.netfilter.nf_conntrack_tcp_timeout_close_wait=3600",
                          "net.netfilter.nf_conntrack_udp_timeout=30",
                          "net.netfilter.nf_conntrack_udp_timeout_stream=5",
                          "net.netfilter.nf_conntrack_tcp_be_liberal=1",
                          "net.ipv4.conf.all.arp_announce=2"});
  CHECK(settings.timeouts == IpvsTimeouts{.tcp = absl::Minutes(15),
                                          .tcp_fin = absl::Minutes(2),
                                          .udp = absl::Minutes(5)});
}

TEST_CASE("a line for each field that has no effect") {
  KubeProxyConfig config;
  config.ignored = {{"portRange", "it is gone"}, {"oomScoreAdj", "it is for the unit"}};
  CHECK(IgnoredLines(config) == Strings{"--config: portRange has no effect: it is gone",
                                        "--config: oomScoreAdj has no effect: it is for the unit"});
}

}  // namespace
}  // namespace fairlead
