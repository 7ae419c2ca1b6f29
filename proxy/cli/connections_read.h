// The kernel's table of balanced connections, as /proc/net/ip_vs_conn gives it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ipvs/ip_address.h"

namespace fairlead {

// That of the network namespace of the thread that opens it.
inline constexpr char kConnectionsPath[] = "/proc/net/ip_vs_conn";

// A connection from a client to a virtual address, and the real server that has it. Where a virtual
// server has affinity there is also one from the client's port 0, which stands for the affinity.
struct BalancedConnection {
  std::string
      protocol;  // As the kernel writes it: "TCP", "UDP", "SCTP", "IP" for a mark's affinity.
  AddressPort client;
  AddressPort virtual_server;
  AddressPort real_server;
  std::string state;  // "ESTABLISHED".
  uint32_t expires_seconds = 0;

  friend bool operator==(const BalancedConnection&, const BalancedConnection&) = default;
};

// One line of the file, but for its first; what newer kernels add behind is left out.
// INVALID_ARGUMENT names the text.
absl::StatusOr<BalancedConnection> ParseConnection(absl::string_view line);

// Calls `take` with each connection, in the kernel's order, until it returns false or there is no
// more; holds one at a time. FAILED_PRECONDITION: there is no such file, as without IPVS. INTERNAL:
// a line that is not understood.
absl::Status ReadConnections(const std::string& path,
                             absl::FunctionRef<bool(const BalancedConnection&)> take);

}  // namespace fairlead
