// The device on which kube-proxy's IPVS mode keeps the VIPs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipvs/ip_address.h"
#include "proxy/kernel/netlink_socket.h"
#include "proxy/kernel/node_addresses.h"

namespace fairlead {

// Of the kind that kube-proxy makes it; another of that name is somebody else's.
inline constexpr char kVipDeviceKind[] = "dummy";

struct FoundVipDevice {
  std::string kind;                  // "dummy".
  std::vector<IpAddress> addresses;  // Sorted; without link-local ones.

  friend bool operator==(const FoundVipDevice&, const FoundVipDevice&) = default;
};

// Thread-compatible.
class VipDevice {
 public:
  virtual ~VipDevice() = default;

  // Unset: there is none.
  virtual absl::StatusOr<std::optional<FoundVipDevice>> Read() = 0;
  // A status for each. One that is not there is no error.
  virtual std::vector<absl::Status> DeleteAddresses(absl::Span<const IpAddress> addresses) = 0;
  // With all its addresses. One that is not there is no error.
  virtual absl::Status Delete() = 0;
};

// kube-ipvs0 of one network namespace, by rtnetlink. Needs CAP_NET_ADMIN. Statuses are those of
// NetlinkStatus.
class NetlinkVipDevice : public VipDevice {
 public:
  // For the network namespace of the calling thread.
  static absl::StatusOr<std::unique_ptr<NetlinkVipDevice>> Open();

  absl::StatusOr<std::optional<FoundVipDevice>> Read() override;
  std::vector<absl::Status> DeleteAddresses(absl::Span<const IpAddress> addresses) override;
  absl::Status Delete() override;

 private:
  struct Link {
    int index = 0;
    std::string kind;
  };

  explicit NetlinkVipDevice(NetlinkSocket socket) : socket_(std::move(socket)) {}

  absl::StatusOr<std::optional<Link>> ReadLink();
  absl::Status ReadAddresses(int index, std::vector<IpAddress>& addresses);
  // Sends one request and takes its acknowledgement.
  absl::Status Request(const std::string& request, const std::string& context);

  NetlinkSocket socket_;
};

}  // namespace fairlead
