// Which schedulers the running kernel has. It has no list of them.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ipvs/table.h"

namespace fairlead::ipvs {

// Tries schedulers out, with virtual servers in a network namespace made for it: the caller's table
// and threads are not touched. The kernel may load modules for it. Thread-compatible.
class SchedulerProbe {
 public:
  // Makes the namespace. PERMISSION_DENIED where the process may not (CAP_SYS_ADMIN);
  // FAILED_PRECONDITION where the kernel has no IPVS.
  static absl::StatusOr<SchedulerProbe> Open();

  // OK if it is there. NOT_FOUND says which module is missing. INVALID_ARGUMENT where `name` cannot
  // be a scheduler's. PERMISSION_DENIED without CAP_NET_ADMIN, which is all it needs.
  absl::Status Probe(absl::string_view name);

 private:
  explicit SchedulerProbe(std::unique_ptr<Table> table) : table_(std::move(table)) {}

  std::unique_ptr<Table> table_;  // Of the namespace, which lives as long.
};

// The same, for a single one, on a thread of its own. Takes some milliseconds.
absl::Status ProbeScheduler(absl::string_view name);

// What the files of modules below `root` say of a kernel of this release ("6.1.0-28-amd64"): OK or
// NOT_FOUND as above, UNAVAILABLE where they are not there to be asked.
absl::Status FindSchedulerModule(absl::string_view name, absl::string_view release,
                                 const std::string& root = "");

}  // namespace fairlead::ipvs
