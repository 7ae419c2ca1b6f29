// Tracked flows in memory, for tests.
#pragma once

#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proxy/kernel/conntrack.h"

namespace fairlead {

// Forgets flows as the kernel does, and fails where a test wants it to. Thread-compatible.
class MemoryConntrack : public Conntrack {
 public:
  absl::StatusOr<int> DeleteFlows(absl::Span<const FlowMatch> matches) override;

  // A packet of the flow has passed.
  void AddFlow(const Flow& flow) { flows_.insert(flow); }

  // The next `calls` calls with matches end with `error` and delete nothing.
  void FailNextCalls(int calls, const absl::Status& error);

  // Calls with matches, failed ones too: each reads the whole table.
  int reads() const { return reads_; }
  const std::set<Flow>& flows() const { return flows_; }

 private:
  std::set<Flow> flows_;
  int reads_ = 0;
  int failing_calls_ = 0;
  absl::Status error_;
};

}  // namespace fairlead
