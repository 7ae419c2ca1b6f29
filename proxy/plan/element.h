// The elements of the firewall's sets, and the routes, that a planned virtual server needs.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proxy/plan/plan.h"

namespace fairlead {

// The sets of the table `inet fairlead`; each exists once for IPv4 and once for IPv6. A "port" is
// an address with a protocol and a port number.
enum class SetName : uint8_t {
  kOwned,                // Port of every virtual server that Fairlead made.
  kOwnedMark,            // Firewall mark of every such virtual server that has one.
  kServed,               // Port that any new connection may reach: straight to IPVS.
  kOpen,                 // Port that is open on a guarded address, to what nothing else stops.
  kGuarded,              // Address: VIPs, closed but for what kServed and kOpen have.
  kMasqueradeAlways,     // Port.
  kMasqueradeOutsiders,  // Port: unless the source is a pod.
  kHairpin,              // Address twice: a local endpoint that reaches itself is masqueraded.
  kLimited,              // Port that only the sources of kAllowed reach.
  kAllowed,              // Port with a prefix of sources.
  kMark,                 // Map from a port to the firewall mark that pods and the node get.
  kDrop,                 // Port: silence.
  kReject,               // Port: refused.
};
inline constexpr int kSetNames = 13;

// What identifies an element of a set.
enum class SetKey : uint8_t {
  kAddress,
  kAddressTwice,
  kPort,            // address . protocol . port
  kPortAndSources,  // address . protocol . port . prefix
  kMark,
};
SetKey KeyOf(SetName set);

// "owned", "owned_mark", "served", "open", "guarded", "masquerade_always", "masquerade_outsiders",
// "hairpin", "limited", "allowed", "mark", "drop", "reject"; in the kernel followed by 4 or 6.
absl::string_view FormatSetName(SetName set);

// One element. What is not of its set's key (or of the map's value) is at its default.
struct Element {
  SetName set = SetName::kOwned;
  // In kOwnedMark unspecified, of the family.
  IpAddress address;
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;
  uint16_t port = 0;
  uint32_t mark = 0;
  IpPrefix sources;

  IpFamily family() const { return address.family(); }

  // The set's name in the kernel: "owned4".
  std::string FormatKernelSet() const;
  // As nft writes it within its set: "10.96.0.1 . tcp . 443", in kGuarded "10.96.0.1", in kHairpin
  // "10.244.1.2 . 10.244.1.2", in kOwnedMark "0x46000001", in kAllowed
  // "192.0.2.7 . tcp . 443 . 198.51.100.0/24", in kMark "192.0.2.7 . tcp . 443 : 0x46000001".
  std::string FormatValue() const;
  // "owned4 10.96.0.1 . tcp . 443".
  std::string Format() const;

  auto operator<=>(const Element&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const Element& element) {
    return H::combine(std::move(state), element.set, element.address, element.protocol,
                      element.port, element.mark, element.sources.address(),
                      element.sources.length());
  }
};

// All elements of a planned virtual server, sorted, none twice; several servers may want the same
// one. What masquerades does not depend on there being endpoints: those that come and go cost their
// hairpin, and the first and the last one the elements that refuse or drop, and kServed for kOpen.
std::vector<Element> ElementsOf(const PlannedVirtualServer& server);

// The record that Fairlead made the virtual server.
Element OwnedElement(const ipvs::VirtualServerKey& key);

}  // namespace fairlead
