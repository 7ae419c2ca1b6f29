// The node's own addresses, and which of them serve node ports.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "ipvs/ip_address.h"

namespace fairlead {

// kube-proxy's IPVS mode has every VIP as an address of this device, until it is cleaned up.
inline constexpr char kKubeProxyDevice[] = "kube-ipvs0";

struct NodeAddress {
  IpAddress address;
  std::string device;  // "eth0".

  auto operator<=>(const NodeAddress&) const = default;
};

// The addresses on the devices of the calling thread's network namespace, both families, sorted.
// UNAVAILABLE if they change all the time. Thread-safe.
absl::StatusOr<std::vector<NodeAddress>> ReadNodeAddresses();

// Which addresses serve node ports: by default all.
struct NodePortSelector {
  // The node's addresses as the Node object has them, and no `prefixes`.
  bool primary = false;
  // Addresses in any of these; empty: all.
  std::vector<IpPrefix> prefixes;

  friend bool operator==(const NodePortSelector&, const NodePortSelector&) = default;
};

// The flag --nodeport-addresses: CIDRs with commas between, `primary`, or nothing. INVALID_ARGUMENT
// names what is wrong.
absl::StatusOr<NodePortSelector> ParseNodePortAddresses(absl::string_view text);

// Of `addresses`, those that serve node ports, sorted, each once. Never one of loopback, IPv6
// link-local, multicast, or on the device where kube-proxy keeps its VIPs: those of Fairlead are on
// no device. `node_ips` is what `primary` means; those that are on no device serve nothing.
std::vector<IpAddress> SelectNodePortAddresses(absl::Span<const NodeAddress> addresses,
                                               const NodePortSelector& selector,
                                               absl::Span<const IpAddress> node_ips);

}  // namespace fairlead
