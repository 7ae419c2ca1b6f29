// What kube-proxy's modes leave on a node, as programs take it: after kube-proxy 1.36's
// pkg/proxy/{ipvs,iptables,nftables}. For tests on a kernel.
#pragma once

#include <string>

namespace fairlead::testing {

// For `ipset restore`: the IPVS mode's sets of one family, with a ClusterIP (10.96.0.1 or
// fd00:96::1, TCP 80), a node port (TCP 30080) and the VIPs.
std::string KubeProxyIpsetText(bool ipv6);

// For `iptables-restore --noflush`: the IPVS mode's chains and rules, which need those ipsets, and
// those of the iptables mode, with a Service.
std::string KubeProxyIpvsRules(bool ipv6);
std::string KubeProxyIptablesRules(bool ipv6);

// The same for what is on such a node too and has to stay: rules and chains of kubelet's, of a
// container runtime's and of an operator's, in filter, nat, mangle and raw.
std::string OthersRules(bool ipv6);

// For `nft -f -`: the nftables mode's tables, and one of others whose name is similar.
std::string KubeProxyNftTables();
std::string OthersNftTables();

}  // namespace fairlead::testing
