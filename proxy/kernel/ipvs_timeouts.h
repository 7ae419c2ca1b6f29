// How long IPVS keeps idle connections, of all virtual servers of a network namespace.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace fairlead {

// In whole seconds; 0: is left as it is.
struct IpvsTimeouts {
  absl::Duration tcp = absl::ZeroDuration();
  absl::Duration tcp_fin = absl::ZeroDuration();
  absl::Duration udp = absl::ZeroDuration();

  friend bool operator==(const IpvsTimeouts&, const IpvsTimeouts&) = default;
};

// As `ipvsadm --set`, for the network namespace of the calling thread. Writes nothing where all are
// 0. NOT_FOUND: this kernel has no IPVS; PERMISSION_DENIED: needs CAP_NET_ADMIN; INVALID_ARGUMENT:
// longer than the kernel can count.
absl::Status SetIpvsTimeouts(const IpvsTimeouts& timeouts);

}  // namespace fairlead
