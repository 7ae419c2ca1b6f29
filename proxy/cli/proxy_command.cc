#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "proxy/agent/node_agent.h"
#include "proxy/cli/command.h"
#include "proxy/cli/node_flags.h"

namespace fairlead {
namespace {

struct ProxyFlags {
  NodeFlags node;
  std::string socket = kDefaultSocket;
  std::string drain_timeout = "5m";
  std::string sync_period = "30s";
  std::string healthz_bind_address = "[::]:10256";
  std::string metrics_bind_address = "127.0.0.1:10249";
  std::string log_level = "info";
};

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "fairlead proxy: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

absl::Status ParseDurationFlag(const char* flag, const std::string& text, absl::Duration& value) {
  if (absl::ParseDuration(text, &value) && value >= absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": \"", text, "\" is no duration such as 90s or 5m"));
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

int Proxy(const ProxyFlags& flags) {
  absl::StatusOr<NodeSettings> node = ParseNodeSettings(flags.node);
  if (!node.ok()) return Fail(node.status(), kExitUsage);
  absl::StatusOr<ManifestOptions> manifests = ParseManifestOptions(flags.node);
  if (!manifests.ok()) return Fail(manifests.status(), kExitUsage);
  NodeAgentOptions options{.node = *std::move(node),
                           .manifests = *std::move(manifests),
                           .socket = flags.socket,
                           .drain_timeout = absl::ZeroDuration(),
                           .sync_period = absl::ZeroDuration(),
                           .healthz = std::nullopt,
                           .metrics = std::nullopt};
  for (const absl::Status& status :
       {ParseDurationFlag("--drain-timeout", flags.drain_timeout, options.drain_timeout),
        ParseDurationFlag("--sync-period", flags.sync_period, options.sync_period),
        ParseAddressFlag("--healthz-bind-address", flags.healthz_bind_address, options.healthz),
        ParseAddressFlag("--metrics-bind-address", flags.metrics_bind_address, options.metrics)}) {
    if (!status.ok()) return Fail(status, kExitUsage);
  }
  spdlog::set_default_logger(spdlog::stderr_color_mt("fairlead"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  spdlog::set_level(spdlog::level::from_str(flags.log_level));
  if (absl::Status status = RunNodeAgent(options); !status.ok()) {
    return Fail(status, kExitFailure);
  }
  return kExitOk;
}

}  // namespace

void AddProxyCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "proxy", "Keep this node's IPVS table in step with the Services of manifests");
  auto flags = std::make_shared<ProxyFlags>();
  AddNodeFlags(*command, flags->node, /*required=*/true);
  command->add_option("--socket", flags->socket, "Unix socket for `fairlead list`")
      ->capture_default_str()
      ->group("Agent");
  command
      ->add_option("--drain-timeout", flags->drain_timeout,
                   "How long an endpoint that leaves keeps its connections")
      ->capture_default_str()
      ->group("Agent");
  command
      ->add_option("--healthz-bind-address", flags->healthz_bind_address,
                   "Where /healthz and /livez are served; empty: nowhere")
      ->capture_default_str()
      ->group("Agent");
  command
      ->add_option("--metrics-bind-address", flags->metrics_bind_address,
                   "Where /metrics is served; empty: nowhere")
      ->capture_default_str()
      ->group("Agent");
  command
      ->add_option("--sync-period", flags->sync_period,
                   "A change that waits for twice as long makes /healthz and /livez fail")
      ->capture_default_str()
      ->group("Agent");
  command->add_option("--log-level", flags->log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str()
      ->group("Agent");
  command->callback([flags, &run] { run = [flags] { return Proxy(*flags); }; });
}

}  // namespace fairlead
