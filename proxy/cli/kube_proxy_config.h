// kube-proxy's configuration file, as far as it says what Fairlead has too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace fairlead {

// A field that is set and has no effect here.
struct IgnoredField {
  std::string path;    // "iptables.masqueradeBit".
  std::string reason;  // In words, without a full stop.

  friend bool operator==(const IgnoredField&, const IgnoredField&) = default;
};

// Of KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1, Kubernetes 1.36). A zero value is an
// unset field, as it is for kube-proxy. What kube-proxy fills in by itself is filled in here where
// Fairlead's own default is another.
struct KubeProxyConfig {
  std::string hostname_override;
  // The node's primary address; empty where it is any.
  std::string node_ip;
  std::string healthz_bind_address;  // With a port.
  std::string metrics_bind_address;  // With a port.
  // Empty: the API server of the cluster in which this runs as a Pod.
  std::string kubeconfig;
  // Messages of more detail than usual are wanted.
  bool verbose = false;

  std::string mode;  // "ipvs", "iptables", "nftables"; empty is "iptables".
  std::string scheduler;
  bool strict_arp = false;
  bool masquerade_all = false;
  absl::Duration sync_period = absl::ZeroDuration();
  // Of connections that IPVS balances.
  absl::Duration ipvs_tcp_timeout = absl::ZeroDuration();
  absl::Duration ipvs_tcp_fin_timeout = absl::ZeroDuration();
  absl::Duration ipvs_udp_timeout = absl::ZeroDuration();

  std::string detect_local_mode;
  std::string bridge_interface;
  std::string interface_name_prefix;
  std::vector<std::string> cluster_cidrs;
  std::vector<std::string> node_port_addresses;

  // Of connection tracking; 0: left as it is.
  int32_t conntrack_max_per_core = 0;
  int32_t conntrack_min = 0;
  bool conntrack_tcp_be_liberal = false;
  absl::Duration conntrack_tcp_established_timeout = absl::ZeroDuration();
  absl::Duration conntrack_tcp_close_wait_timeout = absl::ZeroDuration();
  absl::Duration conntrack_udp_timeout = absl::ZeroDuration();
  absl::Duration conntrack_udp_stream_timeout = absl::ZeroDuration();

  // In the order in which they are read.
  std::vector<IgnoredField> ignored;

  friend bool operator==(const KubeProxyConfig&, const KubeProxyConfig&) = default;
};

// Pure. Of several documents that one is read that is a KubeProxyConfiguration. INVALID_ARGUMENT
// has a line for each fault, with `file`, line and field: a field that the API does not have, a
// value of the wrong type or without meaning, no such document or two, a mode of Windows.
absl::StatusOr<KubeProxyConfig> ParseKubeProxyConfig(absl::string_view text,
                                                     const std::string& file);

// Reads a file; errors name it.
absl::StatusOr<KubeProxyConfig> LoadKubeProxyConfig(const std::string& path);

}  // namespace fairlead
