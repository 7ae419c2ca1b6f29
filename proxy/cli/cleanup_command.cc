#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "ipvs/kernel_table.h"
#include "proxy/cleanup/kube_proxy.h"
#include "proxy/cleanup/nft_tables.h"
#include "proxy/cleanup/owned.h"
#include "proxy/cleanup/report.h"
#include "proxy/cleanup/running.h"
#include "proxy/cleanup/state_files.h"
#include "proxy/cleanup/vip_device.h"
#include "proxy/cli/command.h"
#include "proxy/kernel/netlink_routes.h"

namespace fairlead {
namespace {

constexpr char kKubeProxy[] = "kube-proxy";

struct CleanupFlags {
  std::string socket = kDefaultSocket;
  std::string state_dir;
  std::string output = "text";
  bool kube_proxy = false;
  bool keep_virtual_servers = false;
  bool dry_run = false;
};

int Fail(absl::string_view message, int exit_code = kExitFailure) {
  std::fprintf(stderr, "fairlead cleanup: %s\n", std::string(message).c_str());
  return exit_code;
}

// The kernel's own, for this network namespace.
struct Kernel {
  std::unique_ptr<ipvs::KernelTable> table;  // Null: this kernel has no IPVS.
  std::unique_ptr<FoundFirewall> firewall;
  std::unique_ptr<NetlinkRoutes> routes;
  std::unique_ptr<NetlinkVipDevice> device;
};

absl::StatusOr<Kernel> OpenKernel() {
  Kernel kernel;
  auto table = ipvs::KernelTable::Open();
  // A module that is not loaded has no virtual servers, and is not loaded for the question.
  if (!table.ok() && !absl::IsFailedPrecondition(table.status())) return table.status();
  if (table.ok()) kernel.table = *std::move(table);
  auto firewall = FoundFirewall::Open();
  if (!firewall.ok()) return firewall.status();
  kernel.firewall = *std::move(firewall);
  auto routes = NetlinkRoutes::Open();
  if (!routes.ok()) return routes.status();
  kernel.routes = *std::move(routes);
  auto device = NetlinkVipDevice::Open();
  if (!device.ok()) return device.status();
  kernel.device = *std::move(device);
  return kernel;
}

// Empty, or why nothing may be removed now: what goes would come again.
std::string WhyNotNow(const CleanupFlags& flags, bool agent_runs) {
  if (agent_runs) {
    return absl::StrCat(
        "an agent runs on this node, and answers at ", flags.socket,
        ": stop it first (systemctl stop fairlead-proxy, or take its DaemonSet from this "
        "node)");
  }
  if (!flags.kube_proxy) return "";
  const std::optional<int> pid = FindProgram(kKubeProxy);
  if (!pid) return "";
  return absl::StrCat("kube-proxy runs on this node, as process ", *pid,
                      ": stop it first (take its DaemonSet from this node)");
}

CleanupReport CleanUp(const CleanupFlags& flags, const Kernel& kernel) {
  const OwnedKernel owned{.table = kernel.table.get(),
                          .firewall = *kernel.firewall,
                          .routes = *kernel.routes,
                          .delete_firewall = DeleteFirewallTable};
  const OwnedOptions options{.keep_virtual_servers = flags.keep_virtual_servers};
  CleanupReport report;
  // First, while Fairlead's guard is there: on kube-ipvs0 VIPs are the node's own without a route.
  if (flags.kube_proxy) {
    const auto left =
        KubeProxyKernel::Of(kernel.table.get(), *kernel.firewall, *kernel.routes, *kernel.device);
    report = flags.dry_run ? PlanKubeProxyRemoval(FindKubeProxy(left)) : RemoveKubeProxy(left, {});
  }
  report.Append(flags.dry_run ? PlanOwnedRemoval(FindOwned(owned), options)
                              : RemoveOwned(owned, options));
  if (!flags.state_dir.empty()) {
    report.Append(RemoveStateFiles(flags.state_dir, flags.dry_run));
  }
  return report;
}

int Cleanup(const CleanupFlags& flags) {
  const absl::StatusOr<bool> agent_runs = IsAgentRunning(flags.socket);
  if (!agent_runs.ok()) {
    return Fail(agent_runs.status().message(),
                absl::IsInvalidArgument(agent_runs.status()) ? kExitUsage : kExitFailure);
  }
  const std::string why_not = WhyNotNow(flags, *agent_runs);
  if (!why_not.empty() && !flags.dry_run) return Fail(why_not);
  const absl::StatusOr<Kernel> kernel = OpenKernel();
  if (!kernel.ok()) return Fail(kernel.status().message());
  CleanupReport report = CleanUp(flags, *kernel);
  if (!why_not.empty()) report.notes.push_back(why_not);
  if (!report.removed.empty()) {
    report.notes.emplace_back(
        "sysctls are left as they are: others on this node may rely on them by now");
  }
  const std::string text = flags.output == "json" ? FormatCleanupJson(report, flags.dry_run)
                                                  : FormatCleanupText(report, flags.dry_run);
  std::fputs(text.c_str(), stdout);
  return report.failed.empty() ? kExitOk : kExitFailure;
}

}  // namespace

void AddCleanupCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "cleanup",
      "Remove what Fairlead owns on this node: routes, virtual servers, its firewall table");
  auto flags = std::make_shared<CleanupFlags>();
  command->add_option("--socket", flags->socket, "Unix socket of the agent that must not run")
      ->capture_default_str();
  command->add_option("--state-dir", flags->state_dir,
                      "Remove Fairlead's files in this folder too, and no others");
  CLI::Option* const keep = command->add_flag(
      "--keep-virtual-servers", flags->keep_virtual_servers,
      "Leave the virtual servers: for the way back to kube-proxy, which takes them over");
  command
      ->add_flag("--kube-proxy", flags->kube_proxy,
                 "Remove what kube-proxy has left too: kube-ipvs0, virtual servers, chains and "
                 "rules of iptables, ipsets, tables of nftables")
      ->excludes(keep);
  command->add_flag("--dry-run", flags->dry_run, "Only print what would be removed");
  command->add_option("-o,--output", flags->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command->callback([flags, &run] { run = [flags] { return Cleanup(*flags); }; });
}

}  // namespace fairlead
