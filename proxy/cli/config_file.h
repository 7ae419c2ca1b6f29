// Flags from elsewhere than the command line: a file of YAML, and the environment. One set of
// names: the flag --drain-timeout is the key drain-timeout, and the variable
// FAIRLEAD_DRAIN_TIMEOUT. The command line comes before the environment, and that before the file.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead {

// "--drain-timeout" -> "FAIRLEAD_DRAIN_TIMEOUT".
std::string VariableOf(absl::string_view flag);

// Lets every flag of the subcommands of `app`, and of theirs, be given by its variable. Call before
// the command line is parsed.
void BindEnvironment(CLI::App& app);

// Whether the text is such a file, and no object of Kubernetes: that has a kind.
absl::StatusOr<bool> IsConfigFile(const std::string& path);

// Gives those flags of `command`, which is parsed, what the file at `path` says that neither the
// command line nor the environment has given. INVALID_ARGUMENT has a line for each fault, with
// file, line and key, and for a key that is none the nearest one that is; then nothing has been
// given. NOT_FOUND: it cannot be read.
absl::Status ApplyConfigFile(const std::string& path, CLI::App& command);

// The word that is meant in all likelihood, or empty if none is near.
std::string NearestWord(absl::string_view word, const std::vector<std::string>& words);

// For arguments that the command line has too many of: "unknown flag --drain-timout: is
// --drain-timeout meant?", a line each. `app` has parsed them.
std::string DescribeUnknown(const CLI::App& app);

}  // namespace fairlead
