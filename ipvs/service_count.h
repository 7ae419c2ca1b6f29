// A cheap sign that somebody has flushed the table.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace fairlead::ipvs {

// How many virtual servers of IPv4 one network namespace has: the one that the thread is in which
// calls Open. Takes some microseconds, whatever the number. Virtual servers for marks count with
// those of their family; of IPv6 the kernel tells no number. Thread-compatible.
//
// Needs CAP_NET_ADMIN: PERMISSION_DENIED without. FAILED_PRECONDITION: the kernel has no IPVS (any
// more).
class ServiceCount {
 public:
  static absl::StatusOr<ServiceCount> Open();

  ServiceCount(ServiceCount&& other) noexcept;
  ServiceCount& operator=(ServiceCount&&) = delete;
  ~ServiceCount();

  absl::StatusOr<uint32_t> CountIpv4VirtualServers() const;

 private:
  explicit ServiceCount(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace fairlead::ipvs
