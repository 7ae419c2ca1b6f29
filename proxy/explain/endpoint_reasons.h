// Each endpoint of a Service's port with "used", or why it is not.
#pragma once

#include <string>
#include <vector>

#include "proxy/plan/plan.h"

namespace fairlead {

// Lines such as "endpoint 10.244.1.2:8080 (cart-5d9c on n1): used". First the slices that do not
// count, then the endpoints of the family sorted by address and port, then those of the other
// family. Pure.
std::vector<std::string> EndpointReasons(const Snapshot::Slices& slices, IpFamily family,
                                         const ServicePort& port, TrafficPolicy policy,
                                         const NodeConfig& node);

}  // namespace fairlead
