// Which schedulers the running kernel has.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace fairlead::ipvs {

// Tries the scheduler out, with a virtual server in a network namespace made for it, on a thread of
// its own: the caller's table and threads are not touched. The kernel may load the module for it.
//
// OK if it is there. NOT_FOUND says which module is missing. PERMISSION_DENIED where the process
// may not make a network namespace (CAP_SYS_ADMIN) or write in it; FAILED_PRECONDITION where the
// kernel has no IPVS; INVALID_ARGUMENT where `name` cannot be a scheduler's. Takes some
// milliseconds.
absl::Status ProbeScheduler(absl::string_view name);

}  // namespace fairlead::ipvs
