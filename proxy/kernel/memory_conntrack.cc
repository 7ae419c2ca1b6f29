#include "proxy/kernel/memory_conntrack.h"

#include <algorithm>

namespace fairlead {

void MemoryConntrack::FailNextCalls(int calls, const absl::Status& error) {
  failing_calls_ = calls;
  error_ = error;
}

absl::StatusOr<int> MemoryConntrack::DeleteFlows(absl::Span<const FlowMatch> matches) {
  if (matches.empty()) return 0;
  ++reads_;
  if (failing_calls_ > 0) {
    --failing_calls_;
    return error_;
  }
  return static_cast<int>(std::erase_if(flows_, [&](const Flow& flow) {
    return std::any_of(matches.begin(), matches.end(),
                       [&](const FlowMatch& match) { return match.Fits(flow); });
  }));
}

}  // namespace fairlead
