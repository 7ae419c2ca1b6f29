// Endpoints that drain, as text and JSON.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "fairlead/v1/inspect.pb.h"

namespace fairlead {

// A line for each, in columns as wide as they need:
//   SERVICE VIRTUAL-SERVER ENDPOINT POD ACTIVE INACTIVE SINCE LEFT REASON
// SINCE is how long it has been draining, LEFT how long it may go on; "-" where there is nothing to
// say. `wide` adds NODE and UNTIL, which is a time.
std::string FormatDrainsText(const std::vector<v1::Drain>& drains, absl::Time now, bool wide);

// {"drains": [{"service", "portName", "virtualServer", "endpoint", "pod", "node",
//   "activeConnections", "inactiveConnections", "since", "until" (null: without end), "reason"}]},
// indented by two spaces. What is not known is empty.
std::string FormatDrainsJson(const std::vector<v1::Drain>& drains);

// "10.244.1.2:8080 of TCP 10.96.0.1:80 (Service shop/cart:http, Pod cart-5d9c), with 3 active and 1
// inactive connections".
std::string FormatDrain(const v1::Drain& drain);

}  // namespace fairlead
