// Bytes of rtnetlink requests about local routes, as in include/uapi/linux/rtnetlink.h. No I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "proxy/kernel/netlink_message.h"
#include "proxy/kernel/routes.h"

namespace fairlead {

enum class RouteVerb {
  kAdd,      // EEXIST if there is a route with its prefix and metric.
  kPrepend,  // Beside those of others, which stay: IPv4 takes ours from then on, IPv6 the one with
             // the lowest metric, which an address's has. EEXIST if there is ours.
  kReplace,  // The first route with its prefix and metric, whoever made it.
  kDelete,   // Fairlead's route to the VIP, whatever its source; ESRCH if there is none.
};

// Appends a request; `acknowledge` asks for an answer in case of success too.
void EncodeRoute(RouteVerb verb, const VipRoute& route, uint32_t sequence, bool acknowledge,
                 std::string& out);

// Appends the question which route the kernel would take to `address`. It answers with the route
// as it is in its table.
void EncodeRouteLookup(const IpAddress& address, uint32_t sequence, std::string& out);

// Appends the question by which device a packet to `address` leaves.
void EncodeDeviceLookup(const IpAddress& address, uint32_t sequence, std::string& out);
// The index of the device in the answer; DATA_LOSS for another message.
absl::StatusOr<uint32_t> DecodeDevice(const Message& message);

// A dump of Fairlead's routes of a family. A kernel that cannot filter (before 4.20) answers with
// those of others too.
std::string EncodeRouteDump(IpFamily family, uint32_t sequence);

// What is read of a RTM_NEWROUTE.
struct RouteEntry {
  IpPrefix destination;
  uint32_t table = 0;
  uint8_t protocol = 0;
  uint8_t type = 0;     // RTN_LOCAL, ….
  uint32_t device = 0;  // An index: of an address's route that of the address's device.
  std::optional<IpAddress> source;

  // Whether it makes this address, and no other, the node's own.
  bool IsLocalTo(const IpAddress& address) const;
  // A dump says the table. A lookup does not: the kernel keeps the IPv4 tables local and main in
  // one trie as long as there are no rules of others, and answers main (net/ipv4/fib_trie.c,
  // fib_trie_unmerge).
  bool IsInTableLocal() const;
  bool IsOurs() const { return protocol == kRouteProtocol; }
};

// Unset for a route that is neither IPv4 nor IPv6; DATA_LOSS for a malformed message.
absl::StatusOr<std::optional<RouteEntry>> DecodeRoute(const Message& message);

}  // namespace fairlead
