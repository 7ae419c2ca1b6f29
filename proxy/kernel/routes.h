// The local routes that make VIPs the node's own.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipvs/ip_address.h"

namespace fairlead {

// rtm_protocol of Fairlead's routes: not one of /etc/iproute2/rt_protos. `ip route list table local
// proto 119` shows them.
inline constexpr uint8_t kRouteProtocol = 119;

// `local VIP dev lo table local proto 119 src SOURCE`, for a /32 or /128.
struct VipRoute {
  IpAddress vip;
  // Source of the node's own packets to the VIP; unset: the kernel chooses.
  std::optional<IpAddress> source;

  friend bool operator==(const VipRoute&, const VipRoute&) = default;
};

struct RouteChange {
  enum class Verb {
    kPut,     // Adds the route, or replaces Fairlead's own one to this VIP.
    kDelete,  // One that is not there is no error.
  };
  Verb verb = Verb::kPut;
  VipRoute route;

  friend bool operator==(const RouteChange&, const RouteChange&) = default;
};

// Thread-compatible.
class Routes {
 public:
  virtual ~Routes() = default;

  // Fairlead's routes of both families, sorted by VIP. Those of others are never listed.
  virtual absl::StatusOr<std::vector<VipRoute>> Dump() = 0;

  // Carries out the changes in order, with a status for each. Routes with another protocol number
  // are neither replaced nor deleted: kPut beside one is ALREADY_EXISTS.
  virtual std::vector<absl::Status> Apply(absl::Span<const RouteChange> changes) = 0;
};

}  // namespace fairlead
