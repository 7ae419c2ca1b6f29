#include "proxy/cli/kube_proxy_flags.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fairlead {
namespace {

// More than that kube-proxy never asks for (pkg/proxy/conntrack/sysctls.go).
constexpr int64_t kMaxConntrack = 1 << 20;
// Entries for each bucket of connection tracking, as the kernel itself would have it.
constexpr int64_t kEntriesPerBucket = 4;

// As kube-proxy does: names of nodes are DNS names.
std::string AsNodeName(const std::string& text) {
  return absl::AsciiStrToLower(absl::StripAsciiWhitespace(text));
}

void ApplyToNode(const KubeProxyConfig& config, const CLI::App& command,
                 const std::string& hostname, NodeFlags& flags) {
  const auto is_open = [&command](const char* flag) { return command.count(flag) == 0; };
  if (is_open("--node-name")) {
    flags.node_name =
        AsNodeName(config.hostname_override.empty() ? hostname : config.hostname_override);
  }
  if (is_open("--node-ip") && !config.node_ip.empty()) flags.node_ips = {config.node_ip};
  if (is_open("--detect-local-mode") && !config.detect_local_mode.empty()) {
    flags.detect_local_mode = config.detect_local_mode;
  }
  if (is_open("--cluster-cidr")) flags.cluster_cidrs = config.cluster_cidrs;
  // A mode that the command line gives does without the other one's device.
  if (is_open("--pod-bridge-interface") && flags.detect_local_mode == "BridgeInterface") {
    flags.pod_bridge_interface = config.bridge_interface;
  }
  if (is_open("--pod-interface-name-prefix") && flags.detect_local_mode == "InterfaceNamePrefix") {
    flags.pod_interface_name_prefix = config.interface_name_prefix;
  }
  if (is_open("--nodeport-addresses")) {
    flags.node_port_addresses = absl::StrJoin(config.node_port_addresses, ",");
  }
  if (is_open("--scheduler") && !config.scheduler.empty()) flags.scheduler = config.scheduler;
  if (is_open("--masquerade-all")) flags.masquerade_all = config.masquerade_all;
}

Sysctl Conntrack(const char* name, int64_t value, std::string reason, bool minimum = false) {
  return {absl::StrCat("net.netfilter.", name), absl::StrCat(value), std::move(reason), minimum};
}

// 0: is left as it is.
int64_t ConntrackMax(const KubeProxyConfig& config, int cpus) {
  if (config.conntrack_max_per_core == 0) return 0;
  const int64_t scaled = int64_t{config.conntrack_max_per_core} * cpus;
  if (scaled > kMaxConntrack) return kMaxConntrack;
  return std::max(scaled, int64_t{config.conntrack_min});
}

}  // namespace

void ApplyKubeProxyConfig(const KubeProxyConfig& config, const CLI::App& command,
                          const std::string& hostname, const KubeProxyFlags& flags) {
  const auto is_open = [&command](const char* flag) { return command.count(flag) == 0; };
  ApplyToNode(config, command, hostname, flags.node);
  if (is_open("--manifests") && is_open("--kubeconfig") && is_open("--in-cluster") &&
      is_open("--watcher")) {
    flags.kubernetes.kubeconfig = config.kubeconfig;
    flags.kubernetes.in_cluster = config.kubeconfig.empty();
  }
  const auto bind = [&](const char* flag, const std::string& address, std::string& value) {
    if (is_open(flag) && !address.empty() && !flags.beside_kube_proxy) value = address;
  };
  bind("--healthz-bind-address", config.healthz_bind_address, flags.daemon.healthz_bind_address);
  bind("--metrics-bind-address", config.metrics_bind_address, flags.daemon.metrics_bind_address);
  if (is_open("--log-level") && config.verbose) flags.daemon.log_level = "debug";
  if (is_open("--sync-period") && config.sync_period > absl::ZeroDuration()) {
    flags.sync_period = absl::FormatDuration(config.sync_period);
  }
}

KubeProxyKernelSettings KernelSettingsOf(const KubeProxyConfig& config, int cpus) {
  KubeProxyKernelSettings settings{.timeouts = {.tcp = config.ipvs_tcp_timeout,
                                                .tcp_fin = config.ipvs_tcp_fin_timeout,
                                                .udp = config.ipvs_udp_timeout}};
  std::vector<Sysctl>& sysctls = settings.sysctls;
  if (const int64_t max = ConntrackMax(config, cpus); max > 0) {
    sysctls.push_back(Conntrack("nf_conntrack_max", max,
                                "Connections that are tracked: conntrack.maxPerCore and min.",
                                /*minimum=*/true));
    sysctls.push_back(Conntrack("nf_conntrack_buckets", max / kEntriesPerBucket,
                                "So many connections are found fast.", /*minimum=*/true));
  }
  const auto add_time = [&sysctls](const char* name, absl::Duration time, const char* field) {
    const int64_t seconds = absl::ToInt64Seconds(time);
    if (seconds > 0) sysctls.push_back(Conntrack(name, seconds, absl::StrCat(field, ".")));
  };
  add_time("nf_conntrack_tcp_timeout_established", config.conntrack_tcp_established_timeout,
           "conntrack.tcpEstablishedTimeout");
  add_time("nf_conntrack_tcp_timeout_close_wait", config.conntrack_tcp_close_wait_timeout,
           "conntrack.tcpCloseWaitTimeout");
  add_time("nf_conntrack_udp_timeout", config.conntrack_udp_timeout, "conntrack.udpTimeout");
  add_time("nf_conntrack_udp_timeout_stream", config.conntrack_udp_stream_timeout,
           "conntrack.udpStreamTimeout");
  if (config.conntrack_tcp_be_liberal) {
    sysctls.push_back(Conntrack("nf_conntrack_tcp_be_liberal", 1, "conntrack.tcpBeLiberal."));
  }
  // That the node does not answer ARP for VIPs, the other half, is always so.
  if (config.strict_arp) {
    sysctls.push_back({"net.ipv4.conf.all.arp_announce", "2",
                       "ipvs.strictARP: the node does not ask by ARP with a VIP as its own."});
  }
  return settings;
}

std::vector<std::string> IgnoredLines(const KubeProxyConfig& config) {
  std::vector<std::string> lines;
  for (const IgnoredField& field : config.ignored) {
    lines.push_back(absl::StrCat("--config: ", field.path, " has no effect: ", field.reason));
  }
  return lines;
}

}  // namespace fairlead
