// Kernel modules that Fairlead needs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fairlead {

// Those without which nothing works, under names that all kernels have.
std::vector<std::string> NeededModules();

// All that an agent may come to use, with those of the scheduler. A kernel loads them by itself
// when they are needed, unless it is told not to.
std::vector<std::string> ModulesToLoad(absl::string_view scheduler);

// Runs `modprobe` on them, which loads those that are not loaded yet and goes on after one that it
// does not find; what it has to say is on stderr. Needs CAP_SYS_MODULE. FAILED_PRECONDITION: it
// cannot be run, or did not load all of them.
absl::Status LoadModules(absl::Span<const std::string> modules,
                         const std::string& program = "modprobe");

}  // namespace fairlead
