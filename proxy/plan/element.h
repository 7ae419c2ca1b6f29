// The elements of the firewall's sets, and the routes, that a planned virtual server needs.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proxy/plan/plan.h"

namespace fairlead {

// The sets of the table `inet fairlead`; each exists once for IPv4 and once for IPv6.
enum class SetName : uint8_t {
  kOwned,                // address . protocol . port of every virtual server that Fairlead made.
  kOpen,                 // address . protocol . port: open on a guarded address.
  kGuarded,              // address: VIPs, closed but for what kOpen has.
  kMasqueradeAlways,     // address . protocol . port.
  kMasqueradeOutsiders,  // address . protocol . port: unless the source is a pod.
  kHairpin,              // address . address: a local endpoint that reaches itself is masqueraded.
  kDrop,                 // address . protocol . port: silence.
};
inline constexpr int kSetNames = 7;

// "owned", "open", "guarded", "masquerade_always", "masquerade_outsiders", "hairpin", "drop"; in
// the kernel followed by 4 or 6.
absl::string_view FormatSetName(SetName set);

// One element. `protocol` and `port` are not used in kGuarded and kHairpin, and at their defaults.
struct Element {
  SetName set = SetName::kOwned;
  IpAddress address;
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;
  uint16_t port = 0;

  // The set's name in the kernel: "owned4".
  std::string FormatKernelSet() const;
  // As nft writes it within its set: "10.96.0.1 . tcp . 443", in kGuarded "10.96.0.1", in kHairpin
  // "10.244.1.2 . 10.244.1.2".
  std::string FormatValue() const;
  // "owned4 10.96.0.1 . tcp . 443".
  std::string Format() const;

  auto operator<=>(const Element&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const Element& element) {
    return H::combine(std::move(state), element.set, element.address, element.protocol,
                      element.port);
  }
};

// All elements of a planned virtual server, sorted, none twice; several servers may want the same
// one. What masquerades or is open does not depend on there being endpoints, so that endpoints that
// come and go cost no element but their hairpin.
std::vector<Element> ElementsOf(const PlannedVirtualServer& server);

}  // namespace fairlead
