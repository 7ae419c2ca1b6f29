#include "proxy/plan/pod_detector.h"

#include <algorithm>

namespace fairlead {

bool PodDetector::Detects(IpFamily family) const {
  if (!device.empty()) return true;
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const IpPrefix& prefix) { return prefix.family() == family; });
}

bool PodDetector::IsPod(const IpAddress& source, const std::string& source_device) const {
  if (!device.empty()) {
    return device_is_prefix ? source_device.starts_with(device) : source_device == device;
  }
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const IpPrefix& prefix) { return prefix.Contains(source); });
}

}  // namespace fairlead
