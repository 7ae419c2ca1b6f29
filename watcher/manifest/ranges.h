// The ranges that cluster addresses and node ports are given out of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ipvs/ip_address.h"

namespace fairlead {

// Ports from `first` to `last`, both included.
struct PortRange {
  uint16_t first = 30000;
  uint16_t last = 32767;

  bool Contains(uint16_t port) const { return port >= first && port <= last; }
  int size() const { return last - first + 1; }
  // "30000-32767".
  std::string Format() const;

  friend bool operator==(const PortRange&, const PortRange&) = default;
};

// Defaults of the API server's flags of the same names.
inline constexpr char kDefaultServiceClusterIpRange[] = "10.96.0.0/12";
inline constexpr char kDefaultServiceNodePortRange[] = "30000-32767";

// "10.96.0.0/12" or "10.96.0.0/12,fd00::/112": one prefix, or one of each family, the first family
// being that of Services which ask for none. INVALID_ARGUMENT names the text.
absl::StatusOr<std::vector<IpPrefix>> ParseServiceClusterIpRanges(absl::string_view text);

// "30000-32767" or "30000". INVALID_ARGUMENT names the text.
absl::StatusOr<PortRange> ParsePortRange(absl::string_view text);

}  // namespace fairlead
