// What kube-proxy's configuration means for Fairlead: its flags, and settings of the kernel.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "proxy/cli/daemon_flags.h"
#include "proxy/cli/kube_proxy_config.h"
#include "proxy/cli/node_flags.h"
#include "proxy/cli/source_flags.h"
#include "proxy/kernel/ipvs_timeouts.h"
#include "proxy/kernel/sysctl.h"

namespace fairlead {

// The flags of `fairlead proxy` that the file can say something of.
struct KubeProxyFlags {
  NodeFlags& node;
  KubernetesFlags& kubernetes;
  DaemonFlags& daemon;
  std::string& sync_period;
  // kube-proxy goes on beside it, and has the addresses of health and metrics.
  bool beside_kube_proxy = false;
};

// Pure: the flags that the command line does not give become what the file says. The API server
// that it names is the source where the command line gives none. `hostname` is the node's name
// where neither says one.
void ApplyKubeProxyConfig(const KubeProxyConfig& config, const CLI::App& command,
                          const std::string& hostname, const KubeProxyFlags& flags);

// What is set of the kernel, for all of the node.
struct KubeProxyKernelSettings {
  std::vector<Sysctl> sysctls;
  IpvsTimeouts timeouts;

  friend bool operator==(const KubeProxyKernelSettings&, const KubeProxyKernelSettings&) = default;
};

// Pure. Of connection tracking also what kube-proxy sets without being told, since the kernel's
// own values differ after the next boot. Limits are raised, and never lowered.
KubeProxyKernelSettings KernelSettingsOf(const KubeProxyConfig& config, int cpus);

// A line for each field that has no effect: "--config: iptables.masqueradeBit has no effect: the
// masquerade needs no mark".
std::vector<std::string> IgnoredLines(const KubeProxyConfig& config);

}  // namespace fairlead
