// The running kernel as Fairlead sees it. Reads only.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proxy/inspect/difference.h"
#include "proxy/kernel/sysctl.h"

namespace fairlead {

// All of it, of the network namespace of the calling thread, by sockets of its own. A kernel
// without IPVS has no virtual servers, one without nftables no table: that is no error. Others are
// those of what is read; an error is never "empty". Takes as long as a dump of the whole table.
absl::StatusOr<KernelState> ReadKernelState(absl::string_view proc_root = kProcRoot);

}  // namespace fairlead
