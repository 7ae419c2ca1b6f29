// What an operation must satisfy before it is sent.
#pragma once

#include "absl/status/status.h"
#include "ipvs/table.h"

namespace fairlead::ipvs {

// The kernel computes a persistence timeout in jiffies, in 32 bits, and would wrap silently: this
// many seconds (49 days) fit with any clock rate up to 1000 Hz.
inline constexpr int64_t kMaxPersistenceSeconds = 4'294'967;

// INVALID_ARGUMENT where a value cannot be carried to the kernel or would arrive as another one:
// a key whose fields contradict each other, flags outside kConfigurableFlags, a name that is too
// long or holds a NUL, a timeout that is negative, not in whole seconds or beyond
// kMaxPersistenceSeconds, a prefix length beyond its family's. What the kernel can judge is left to
// the kernel. Allocates nothing when all is well.
absl::Status ValidateOperation(const Operation& operation);

}  // namespace fairlead::ipvs
