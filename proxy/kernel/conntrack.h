// The flows that the kernel's connection tracking remembers, and the forgetting of some.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipvs/ip_address.h"
#include "ipvs/types.h"

namespace fairlead {

struct FlowAddress {
  IpAddress address;
  uint16_t port = 0;

  // "10.96.0.10:53".
  std::string Format() const { return FormatAddressPort(address, port); }

  auto operator<=>(const FlowAddress&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const FlowAddress& address) {
    return H::combine(std::move(state), address.address, address.port);
  }
};

// A tracked flow.
struct Flow {
  ipvs::Protocol protocol = ipvs::Protocol::kUdp;
  FlowAddress client;
  // What the client asked for: a Service's address and port, a node port.
  FlowAddress destination;
  // Who answers: the reply's source. IPVS and destination NAT put the endpoint there; of a flow
  // that nobody translated it is the destination.
  IpAddress endpoint;
  uint16_t endpoint_port = 0;

  auto operator<=>(const Flow&) const = default;
};

// Which flows are meant, whoever the client is.
struct FlowMatch {
  ipvs::Protocol protocol = ipvs::Protocol::kUdp;
  // What the client asked for; unset: any address and port but the endpoint's own, which is traffic
  // that was balanced. The endpoint's own finds what was never translated, such as flows to a VIP
  // that began before its virtual server was there.
  std::optional<FlowAddress> destination;
  // Who answers.
  IpAddress endpoint;
  uint16_t endpoint_port = 0;

  bool Fits(const Flow& flow) const {
    return protocol == flow.protocol && endpoint == flow.endpoint &&
           endpoint_port == flow.endpoint_port &&
           (destination.has_value() ? *destination == flow.destination
                                    : flow.destination != FlowAddress{endpoint, endpoint_port});
  }

  auto operator<=>(const FlowMatch&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const FlowMatch& match) {
    return H::combine(std::move(state), match.protocol, match.destination.has_value(),
                      match.destination.value_or(FlowAddress()), match.endpoint,
                      match.endpoint_port);
  }
};

// Thread-compatible.
class Conntrack {
 public:
  virtual ~Conntrack() = default;

  // Deletes every tracked flow that one of the matches fits, and returns how many. A flow that
  // vanishes meanwhile is no error and does not count. One that begins meanwhile may stay: what
  // would tie it to the endpoint has to be gone before.
  //
  // Reads the table once for each family that the endpoints are of, however many matches there are:
  // collect them. No matches cost nothing. FAILED_PRECONDITION: the kernel has no ctnetlink; the
  // message says what to load. After an error some of the flows may have been deleted.
  virtual absl::StatusOr<int> DeleteFlows(absl::Span<const FlowMatch> matches) = 0;
};

}  // namespace fairlead
