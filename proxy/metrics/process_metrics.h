// What every program that Prometheus scrapes says of itself: the `process_…` of its client
// libraries, and the version.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead {

// Of /proc/self/stat, proc(5).
struct ProcessStat {
  uint64_t cpu_ticks = 0;    // In user and kernel mode, in 1/sysconf(_SC_CLK_TCK) seconds.
  uint64_t start_ticks = 0;  // Since the machine's start.
  uint64_t virtual_bytes = 0;
  uint64_t resident_pages = 0;

  friend bool operator==(const ProcessStat&, const ProcessStat&) = default;
};

// DATA_LOSS: it is not the text of such a file.
absl::StatusOr<ProcessStat> ParseProcessStat(absl::string_view text);

// What can be read is appended: a metric that cannot be read is left out. Costs some tens of
// microseconds. Thread-safe.
void AppendProcessMetrics(std::string& out, absl::string_view version);

}  // namespace fairlead
