// VIP routes in the kernel, by rtnetlink.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "proxy/kernel/netlink_socket.h"
#include "proxy/kernel/route_codec.h"
#include "proxy/kernel/routes.h"

namespace fairlead {

// The table local of one network namespace. Needs CAP_NET_ADMIN, and the device lo up.
// Thread-compatible.
//
// A kPut first asks the kernel which route it takes to the VIP, since the kernel itself would
// replace a route of others (IPv4), or put ours beside it under another metric (IPv6). Writes are
// for what differs only. The route of an address that kube-proxy left is no reason to refuse: ours
// goes beside it, so that the address can be deleted without a moment in which the VIP is not the
// node's own. Statuses besides those of Routes: FAILED_PRECONDITION (the source is not
// an address of this node, or lo is down), PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNKNOWN (the
// answer was lost: read back), INVALID_ARGUMENT, INTERNAL.
class NetlinkRoutes : public Routes {
 public:
  // For the network namespace of the calling thread.
  static absl::StatusOr<std::unique_ptr<NetlinkRoutes>> Open();

  // Of the socket: the kernel names it where it tells of changes made by it.
  uint32_t port_id() const { return socket_.port_id(); }

  // Changes per request: the answers fit the receive buffer.
  static constexpr size_t kMaxBatch = 512;

  absl::StatusOr<std::vector<VipRoute>> Dump() override;
  std::vector<absl::Status> Apply(absl::Span<const RouteChange> changes) override;

 private:
  using Present = std::optional<RouteEntry>;
  // What is to be written for a change.
  struct Step {
    size_t change = 0;
    RouteVerb verb = RouteVerb::kAdd;
  };

  explicit NetlinkRoutes(NetlinkSocket socket) : socket_(std::move(socket)) {}

  absl::Status DumpFamily(IpFamily family, std::vector<VipRoute>& routes);
  // At most kMaxBatch changes, no VIP twice.
  void ApplyBatch(absl::Span<const RouteChange> changes, absl::Span<absl::Status> results);
  // The route that the kernel takes to each VIP that is to be put; unset: none.
  std::vector<absl::StatusOr<Present>> Lookup(absl::Span<const RouteChange> changes);
  // Fills in the results of the steps' changes that fail.
  void Write(absl::Span<const RouteChange> changes, absl::Span<const Step> steps,
             absl::Span<absl::Status> results);

  NetlinkSocket socket_;
};

// The device that packets of the calling thread's network namespace to the address leave by: "lo"
// for the node's own ones. UNAVAILABLE or the like where there is no route.
absl::StatusOr<std::string> DeviceTowards(const IpAddress& address);

}  // namespace fairlead
