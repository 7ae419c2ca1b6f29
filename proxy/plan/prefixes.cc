#include "proxy/plan/prefixes.h"

#include <algorithm>

namespace fairlead {

std::vector<IpPrefix> Disjoint(std::vector<IpPrefix> prefixes, IpFamily family) {
  std::sort(prefixes.begin(), prefixes.end());
  std::vector<IpPrefix> result;
  for (const IpPrefix& prefix : prefixes) {
    if (prefix.family() != family) continue;
    // A prefix sorts behind those that contain it.
    if (!result.empty() && result.back().Contains(prefix.address())) continue;
    result.push_back(prefix);
  }
  return result;
}

}  // namespace fairlead
