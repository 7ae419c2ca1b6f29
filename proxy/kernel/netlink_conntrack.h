// The flows in the kernel's connection tracking.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proxy/kernel/conntrack.h"
#include "proxy/kernel/netlink_socket.h"

namespace fairlead {

// The connection tracking of one network namespace, by netlink. Needs CAP_NET_ADMIN.
// Thread-compatible.
//
// Errors besides those of Conntrack: PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAVAILABLE, INTERNAL,
// UNKNOWN (answers were lost).
class NetlinkConntrack : public Conntrack {
 public:
  // For the network namespace of the calling thread. FAILED_PRECONDITION: the kernel has no
  // nfnetlink. Whether it has ctnetlink shows at the first DeleteFlows, for which the kernel loads
  // the module if it can.
  static absl::StatusOr<std::unique_ptr<NetlinkConntrack>> Open();

  // Deletions per request: all are answered, and the answers fit the receive buffer.
  static constexpr size_t kMaxBatch = 512;

  // The dump is of one protocol where the matches of a family agree on one and the kernel filters
  // (since 5.8). With UDP alone, a node with a million TCP connections reads only its UDP flows;
  // the kernel still walks all, of all network namespaces. Deleting is a request for each flow, in
  // batches.
  absl::StatusOr<int> DeleteFlows(absl::Span<const FlowMatch> matches) override;

 private:
  // Deletions as one request, with consecutive sequence numbers.
  struct Batch {
    std::string bytes;
    uint32_t first_sequence = 0;
    uint32_t count = 0;
  };

  explicit NetlinkConntrack(NetlinkSocket socket) : socket_(std::move(socket)) {}

  // Of a family's flows, the deletions of those that `is_meant` is true for.
  absl::StatusOr<std::vector<Batch>> Select(IpFamily family, std::optional<ipvs::Protocol> protocol,
                                            absl::FunctionRef<bool(const Flow&)> is_meant);
  // How many were there.
  absl::StatusOr<int> Delete(const Batch& batch);

  NetlinkSocket socket_;
};

}  // namespace fairlead
