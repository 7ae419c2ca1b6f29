#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <memory>
#include <string>

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
  std::string log_level = "info";
};

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "fairlead proxy: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

int Proxy(const ProxyFlags& flags) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("fairlead"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  spdlog::set_level(spdlog::level::from_str(flags.log_level));

  absl::StatusOr<NodeSettings> node = ParseNodeSettings(flags.node);
  if (!node.ok()) return Fail(node.status(), kExitUsage);
  absl::StatusOr<ManifestOptions> manifests = ParseManifestOptions(flags.node);
  if (!manifests.ok()) return Fail(manifests.status(), kExitUsage);
  NodeAgentOptions options{.node = *std::move(node),
                           .manifests = *std::move(manifests),
                           .socket = flags.socket,
                           .drain_timeout = absl::ZeroDuration()};
  if (!absl::ParseDuration(flags.drain_timeout, &options.drain_timeout) ||
      options.drain_timeout < absl::ZeroDuration()) {
    return Fail(absl::InvalidArgumentError("--drain-timeout: \"" + flags.drain_timeout +
                                           "\" is no duration such as 90s or 5m"),
                kExitUsage);
  }
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
  AddNodeFlags(*command, flags->node);
  command->add_option("--socket", flags->socket, "Unix socket for `fairlead list`")
      ->capture_default_str()
      ->group("Agent");
  command
      ->add_option("--drain-timeout", flags->drain_timeout,
                   "How long an endpoint that leaves keeps its connections")
      ->capture_default_str()
      ->group("Agent");
  command->add_option("--log-level", flags->log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str()
      ->group("Agent");
  command->callback([flags, &run] { run = [flags] { return Proxy(*flags); }; });
}

}  // namespace fairlead
