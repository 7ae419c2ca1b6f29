// The differences between plan and kernel of an agent that is at work meanwhile.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "proxy/inspect/difference.h"

namespace fairlead {

// What is asked; the errors are passed on.
struct DifferenceSources {
  std::function<absl::StatusOr<AgentReport>()> report;
  std::function<absl::StatusOr<WantedState>()> wanted;
  std::function<absl::StatusOr<KernelState>()> kernel;
  // The agent writes nothing to this kernel: what is Fairlead's there, the kernel's own record
  // says, not the agent's account.
  bool shadow = false;
};

// How often plan and kernel are read before a node is taken for one that never rests.
inline constexpr int kMaxComparisons = 3;

// Reads plan, kernel and plan again, until the agent has planned and written nothing in between.
// Where that does not come to pass, what differs is what every reading has found. FAILED_
// PRECONDITION: nothing is planned yet.
absl::StatusOr<std::vector<Difference>> ReadDifferences(const DifferenceSources& sources);

}  // namespace fairlead
