// Whether somebody is at work on this node who would make again what is removed.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead {

// Whether an agent answers at the Unix socket. An error, other than that there is none, names the
// socket.
absl::StatusOr<bool> IsAgentRunning(const std::string& socket);

// The process id of a program of this name (its first 15 letters) in the network namespace of the
// calling thread; of those that this process may see.
std::optional<int> FindProgram(absl::string_view name, absl::string_view proc_root = "/proc");

}  // namespace fairlead
