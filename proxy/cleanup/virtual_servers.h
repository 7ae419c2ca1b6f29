// Removing virtual servers.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "ipvs/table.h"
#include "proxy/cleanup/report.h"

namespace fairlead {

// How often what could not be removed is tried: others may be at it at the same time.
inline constexpr int kRemovalAttempts = 3;

// Deletes them, with their real servers; one that is not there is no error, and not reported. True
// if none of them is left.
bool RemoveVirtualServers(ipvs::Table& table, absl::Span<const ipvs::VirtualServerKey> keys,
                          CleanupReport& report);

}  // namespace fairlead
