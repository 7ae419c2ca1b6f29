// The values of an IPVS table: virtual servers, their real servers, and what the kernel counts.
//
// Identity (…Key), configuration (…Config) and statistics are types of their own: a key never
// changes, a configuration is what an edit writes, statistics are only read.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "ipvs/ip_address.h"

namespace fairlead::ipvs {

// Transport protocols that IPVS balances, with their IANA numbers.
enum class Protocol : uint8_t { kTcp = 6, kUdp = 17, kSctp = 132 };

// "TCP", "UDP" or "SCTP".
absl::string_view FormatProtocol(Protocol protocol);
// Case-sensitive, as Kubernetes writes them; INVALID_ARGUMENT names the text.
absl::StatusOr<Protocol> ParseProtocol(absl::string_view text);

// What a virtual server listens to: protocol, address and port; or, where `firewall_mark` is not 0,
// the packets of `family` with that mark, and then the other fields are at their defaults.
struct VirtualServerKey {
  IpFamily family = IpFamily::kIpv4;
  uint32_t firewall_mark = 0;
  Protocol protocol = Protocol::kTcp;
  IpAddress address;
  uint16_t port = 0;

  static VirtualServerKey ForAddress(Protocol protocol, const IpAddress& address, uint16_t port);
  // `mark` is not 0.
  static VirtualServerKey ForMark(IpFamily family, uint32_t mark);

  bool is_mark() const { return firewall_mark != 0; }

  // "TCP 10.96.0.1:443", "UDP [fd00::1]:53" or "FWM 7 IPv4".
  std::string Format() const;

  auto operator<=>(const VirtualServerKey&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const VirtualServerKey& key) {
    return H::combine(std::move(state), key.family, key.firewall_mark, key.protocol, key.address,
                      key.port);
  }
};

// Flags of a virtual server, as in include/uapi/linux/ip_vs.h. The kernel's own "hashed" bit (0x2)
// is never part of a configuration.
inline constexpr uint32_t kFlagPersistent = 0x1;
inline constexpr uint32_t kFlagOnePacket = 0x4;    // UDP: each datagram is scheduled anew.
inline constexpr uint32_t kFlagScheduler1 = 0x8;   // sh-fallback, mh-fallback.
inline constexpr uint32_t kFlagScheduler2 = 0x10;  // sh-port, mh-port.
inline constexpr uint32_t kFlagScheduler3 = 0x20;
inline constexpr uint32_t kConfigurableFlags =
    kFlagPersistent | kFlagOnePacket | kFlagScheduler1 | kFlagScheduler2 | kFlagScheduler3;

// Longest scheduler name the kernel takes (IP_VS_SCHEDNAME_MAXLEN - 1).
inline constexpr int kMaxSchedulerName = 15;

struct VirtualServerConfig {
  std::string scheduler = "rr";
  // Of kConfigurableFlags.
  uint32_t flags = 0;
  // Whole seconds; zero unless kFlagPersistent is set.
  absl::Duration persistence_timeout = absl::ZeroDuration();
  // Clients whose addresses share this many leading bits share an affinity: at most 32 or 128,
  // which is also what a virtual server without persistence has.
  uint8_t persistence_prefix_length = 32;
  // Persistence engine ("sip"), empty for none.
  std::string persistence_engine;

  // No persistence, one client per affinity.
  static VirtualServerConfig ForFamily(IpFamily family, std::string scheduler);

  bool persistent() const { return (flags & kFlagPersistent) != 0; }

  friend bool operator==(const VirtualServerConfig&, const VirtualServerConfig&) = default;
};

// A real server within its virtual server. Its family may differ from the virtual server's only
// with tunnelling.
struct RealServerKey {
  IpAddress address;
  uint16_t port = 0;

  // "10.244.1.2:8080".
  std::string Format() const { return FormatAddressPort(address, port); }

  auto operator<=>(const RealServerKey&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const RealServerKey& key) {
    return H::combine(std::move(state), key.address, key.port);
  }
};

// Numbers are IP_VS_CONN_F_* of include/uapi/linux/ip_vs.h.
enum class ForwardingMethod : uint8_t { kMasquerade = 0, kLocal = 1, kTunnel = 2, kRoute = 3 };

// As `ipvsadm -L` prints them: "Masq", "Local", "Tunnel", "Route".
absl::string_view FormatForwardingMethod(ForwardingMethod method);

struct RealServerConfig {
  ForwardingMethod forwarding = ForwardingMethod::kMasquerade;
  // 0 takes no new connections and keeps the ones it has.
  int32_t weight = 1;
  // Connections at which the server gets no more, and below which it gets them again; 0 for none.
  uint32_t upper_threshold = 0;
  uint32_t lower_threshold = 0;

  friend bool operator==(const RealServerConfig&, const RealServerConfig&) = default;
};

// Totals since creation, and rates per second as the kernel estimates them.
struct Statistics {
  uint64_t connections = 0;
  uint64_t packets_in = 0;
  uint64_t packets_out = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t connections_per_second = 0;
  uint64_t packets_in_per_second = 0;
  uint64_t packets_out_per_second = 0;
  uint64_t bytes_in_per_second = 0;
  uint64_t bytes_out_per_second = 0;

  friend bool operator==(const Statistics&, const Statistics&) = default;
};

struct RealServer {
  RealServerKey key;
  RealServerConfig config;
  uint32_t active_connections = 0;
  uint32_t inactive_connections = 0;
  uint32_t persistent_connections = 0;
  Statistics statistics;

  friend bool operator==(const RealServer&, const RealServer&) = default;
};

struct VirtualServer {
  VirtualServerKey key;
  VirtualServerConfig config;
  std::vector<RealServer> real_servers;
  Statistics statistics;

  friend bool operator==(const VirtualServer&, const VirtualServer&) = default;
};

}  // namespace fairlead::ipvs
