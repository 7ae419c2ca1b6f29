// kube-proxy's ipsets. Pure.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ipvs/types.h"

namespace fairlead {

// Whether it is the name of one of the sets of kube-proxy's IPVS mode, of either family.
bool IsKubeProxyIpset(absl::string_view name);
// Whether it is one that virtual servers are found by: see KubeProxyIpsets.
bool IsKubeProxyRecord(absl::string_view name);

// What the sets of kube-proxy tell of its virtual servers.
struct KubeProxyIpsets {
  std::vector<std::string> names;  // Sorted.
  // Of KUBE-NODE-PORT-…: they do not say on which addresses of the node.
  std::set<std::pair<ipvs::Protocol, uint16_t>> node_ports;
  // Of KUBE-IPVS-IPS: the addresses of kube-ipvs0. kube-proxy has it since 1.27.
  std::set<IpAddress> addresses;

  friend bool operator==(const KubeProxyIpsets&, const KubeProxyIpsets&) = default;
};

// What `ipset save` prints; sets of others are left out. INVALID_ARGUMENT names the line.
absl::StatusOr<KubeProxyIpsets> ParseIpsetSave(absl::string_view text);

}  // namespace fairlead
