// How packets of pods are told from those of others.
#pragma once

#include <string>
#include <vector>

#include "ipvs/ip_address.h"

namespace fairlead {

// By the address they come from, or by the device through which they reach the node. Without
// either, in a family without prefixes, no packet is taken for a pod's.
struct PodDetector {
  // Pods' addresses, both families, in any order; they may overlap.
  std::vector<IpPrefix> prefixes;
  // Name of a device, or where `device_is_prefix` what names of devices start with. Empty: by
  // address.
  std::string device;
  bool device_is_prefix = false;

  // Whether pods of the family can be told from others.
  bool Detects(IpFamily family) const;
  // Whether a packet from the address, that came in by the device, is a pod's.
  bool IsPod(const IpAddress& source, const std::string& source_device) const;

  friend bool operator==(const PodDetector&, const PodDetector&) = default;
};

}  // namespace fairlead
