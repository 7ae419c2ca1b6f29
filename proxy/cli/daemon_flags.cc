#include "proxy/cli/daemon_flags.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "proxy/daemon/log_format.h"

namespace fairlead {

void AddDaemonFlags(CLI::App& command, DaemonFlags& flags, const std::string& group) {
  command.add_option("--socket", flags.socket, "Unix socket for inspections")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--healthz-bind-address", flags.healthz_bind_address,
                  "Where /healthz, /livez and /readyz are served over HTTP; empty: nowhere")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--metrics-bind-address", flags.metrics_bind_address,
                  "Where /metrics is served; empty: nowhere")
      ->capture_default_str()
      ->group(group);
  command.add_option("--log-level", flags.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--log-format", flags.log_format,
                  "text, or json: an object in a line, with time, level, message and, where it is "
                  "about one, object")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str()
      ->group(group);
  command
      .add_flag("--check-config", flags.check_config, "Check the command line, and do nothing else")
      ->group(group);
}

absl::Status ParseDurationFlag(const char* flag, const std::string& text, absl::Duration& value) {
  if (absl::ParseDuration(text, &value) && value >= absl::ZeroDuration() &&
      value < absl::InfiniteDuration()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": \"", text, "\" is no duration such as 90s or 5m"));
}

absl::Status ParsePositiveDurationFlag(const char* flag, const std::string& text,
                                       absl::Duration& value) {
  absl::Status status = ParseDurationFlag(flag, text, value);
  if (!status.ok() || value > absl::ZeroDuration()) return status;
  return absl::InvalidArgumentError(absl::StrCat(flag, ": \"", text, "\" is not more than 0"));
}

absl::Status ParseAddressFlag(const char* flag, const std::string& text,
                              std::optional<HttpAddress>& value) {
  if (text.empty()) return absl::OkStatus();
  const absl::StatusOr<AddressPort> parsed = ParseAddressPort(text);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(flag, ": ", parsed.status().message()));
  }
  value = HttpAddress{parsed->address, parsed->port};
  return absl::OkStatus();
}

void StartLogging(const DaemonFlags& flags) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("fairlead"));
  if (flags.log_format == "json") {
    spdlog::set_formatter(MakeJsonLogFormatter());
  } else {
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  }
  spdlog::set_level(spdlog::level::from_str(flags.log_level));
}

}  // namespace fairlead
