#include "proxy/cli/kube_proxy_start.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

constexpr char kConfigFlag[] = "--config";
constexpr char kTakeOverFlag[] = "--take-over-kube-proxy";

std::string Hostname() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

}  // namespace

void AddKubeProxyStartFlags(CLI::App& command, KubeProxyStartFlags& flags) {
  const std::string group = "Migration";
  command
      .add_option(
          kConfigFlag, flags.config,
          "A file of YAML: these flags as keys, without dashes; or kube-proxy's "
          "configuration file (KubeProxyConfiguration v1alpha1). What it says is the default "
          "of the other flags; read with --check-config too")
      ->group(group);
  command
      .add_flag(absl::StrCat(kTakeOverFlag, ",!--no-take-over-kube-proxy"), flags.take_over,
                "When everything works, remove what kube-proxy has left on this node; default with "
                "its file in --config")
      ->group(group);
}

absl::StatusOr<KubeProxyStart> ReadKubeProxyStart(const KubeProxyStartFlags& flags,
                                                  const CLI::App& command,
                                                  const KubeProxyFlags& open) {
  KubeProxyStart start{.take_over = flags.take_over};
  if (flags.config.empty() || flags.own_config) {
    if (!open.node.node_name.empty()) return start;
    return absl::InvalidArgumentError("--node-name is required");
  }
  const absl::StatusOr<KubeProxyConfig> config = LoadKubeProxyConfig(flags.config);
  if (!config.ok()) return InFlag(kConfigFlag, config.status());
  ApplyKubeProxyConfig(*config, command, Hostname(), open);
  if (command.count(kTakeOverFlag) == 0) start.take_over = !open.beside_kube_proxy;
  start.kernel = KernelSettingsOf(
      *config, static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  start.ignored = IgnoredLines(*config);
  return start;
}

void PrintIgnored(const KubeProxyStart& start) {
  for (const std::string& line : start.ignored) {
    std::printf("%s\n", line.c_str());
  }
}

void LogIgnored(const KubeProxyStart& start) {
  for (const std::string& line : start.ignored) {
    spdlog::warn("{}", line);
  }
}

}  // namespace fairlead
