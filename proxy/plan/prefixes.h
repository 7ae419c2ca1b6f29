// Sets of address prefixes.
#pragma once

#include <vector>

#include "ipvs/ip_address.h"

namespace fairlead {

// The prefixes of a family, sorted, without those that others contain: nft refuses overlaps.
std::vector<IpPrefix> Disjoint(std::vector<IpPrefix> prefixes, IpFamily family);

}  // namespace fairlead
