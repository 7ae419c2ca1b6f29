// Where a packet goes on this node, and why: which rule decides, in words.
//
// The verdict is taken from the desired state that the kernel is brought to, not decided anew; the
// words come from the Service and its slices.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proxy/plan/planner.h"
#include "watcher/snapshot.h"

namespace fairlead {

// The first packet of a connection.
struct ExplainQuery {
  IpAddress from;
  // The device by which it reaches the node; needed where pods are told by devices.
  std::string from_interface;
  IpAddress to;  // Of the family of `from`.
  uint16_t port = 0;
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;
};

enum class ExplainedVerdict : uint8_t {
  kBalance,
  kReject,
  kDrop,
  kNone,  // No Service has the address and port: Fairlead leaves the packet alone.
};
absl::string_view FormatExplainedVerdict(ExplainedVerdict verdict);  // "balance", "none", …

struct Explanation {
  ExplainedVerdict verdict = ExplainedVerdict::kNone;
  // "shop/cart:http", "shop/cart" where the port has no name; empty where no Service is hit.
  std::string service;
  // Those that the connection may go to, sorted.
  std::vector<ipvs::RealServerKey> endpoints;
  // Whether the rules replace the source by the node's address, for whichever endpoint.
  bool masquerade = false;
  // What decided, in the order in which it does; then each endpoint with "used" or why not.
  std::vector<std::string> because;
  // Where the kernel balances it.
  std::optional<ipvs::VirtualServerKey> virtual_server;
};

// "10.96.0.10:80/tcp", "[fd00::1]:53/udp"; without a protocol TCP. INVALID_ARGUMENT names the text.
struct Destination {
  IpAddress address;
  uint16_t port = 0;
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;
};
absl::StatusOr<Destination> ParseDestination(absl::string_view text);

// INVALID_ARGUMENT: `from` and `to` are not of one family, or the interface is needed.
absl::StatusOr<Explanation> Explain(const ExplainQuery& query, const Planner& planner,
                                    const Snapshot& snapshot);

// {"verdict", "service", "endpoints", "masquerade", "because"}, indented by two spaces.
std::string FormatExplanationJson(const Explanation& explanation);
// The same for people.
std::string FormatExplanationText(const Explanation& explanation);

}  // namespace fairlead
