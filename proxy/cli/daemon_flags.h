// Flags that all roles in the background have.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proxy/daemon/daemon.h"

namespace fairlead {

struct DaemonFlags {
  std::string socket;
  std::string healthz_bind_address;
  std::string metrics_bind_address;
  std::string log_level = "info";
  std::string log_format = "text";
  bool check_config = false;
};

// The defaults are those that `flags` has.
void AddDaemonFlags(CLI::App& command, DaemonFlags& flags, const std::string& group);

// INVALID_ARGUMENT names the flag.
absl::Status ParseDurationFlag(const char* flag, const std::string& text, absl::Duration& value);
// The same, where 0 is none.
absl::Status ParsePositiveDurationFlag(const char* flag, const std::string& text,
                                       absl::Duration& value);
// Empty: nothing.
absl::Status ParseAddressFlag(const char* flag, const std::string& text,
                              std::optional<HttpAddress>& value);

void StartLogging(const DaemonFlags& flags);

}  // namespace fairlead
