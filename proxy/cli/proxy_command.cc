#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "proxy/agent/node_agent.h"
#include "proxy/cli/command.h"
#include "proxy/cli/config_file.h"
#include "proxy/cli/daemon_flags.h"
#include "proxy/cli/feed_flags.h"
#include "proxy/cli/kube_proxy_start.h"
#include "proxy/cli/node_flags.h"

namespace fairlead {
namespace {

// In --state-dir.
constexpr char kPictureFile[] = "picture";
constexpr char kDrainsFile[] = "drains";

struct ProxyFlags {
  KubeProxyStartFlags kube_proxy;
  NodeFlags node;
  KubernetesFlags kubernetes;
  std::vector<std::string> watchers;
  TransportFlags transport;
  std::string tls_server_name;
  DaemonFlags daemon{.socket = kDefaultSocket,
                     .healthz_bind_address = "[::]:10256",
                     .metrics_bind_address = "127.0.0.1:10249"};
  std::string drain_timeout = "5m";
  std::string udp_drain_timeout = "0s";
  std::string audit_period = "10s";
  bool cleanup_on_exit = false;
  bool load_modules = false;
  bool dry_run = false;
  std::string sync_period = "30s";
  std::string metrics_detail = "service";
};

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "fairlead proxy: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

absl::StatusOr<RemoteFeedOptions> ParseWatchers(const ProxyFlags& flags) {
  RemoteFeedOptions options{.tls_server_name = flags.tls_server_name};
  for (const std::string& value : flags.watchers) {
    for (absl::string_view address : absl::StrSplit(value, ',', absl::SkipWhitespace())) {
      options.addresses.emplace_back(address);
    }
  }
  if (options.addresses.empty()) return absl::InvalidArgumentError("--watcher: names no address");
  absl::StatusOr<std::optional<TlsFiles>> tls = ParseTransport(flags.transport, "--tls-ca-file");
  if (!tls.ok()) return tls.status();
  options.tls = *std::move(tls);
  return options;
}

absl::StatusOr<FeedOriginOptions> ParseFeed(const ProxyFlags& flags, const NodeSettings& node) {
  std::vector<std::string> given = GivenSources(flags.node, flags.kubernetes);
  if (!flags.watchers.empty()) given.emplace_back("--watcher");
  if (given.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("give one of --manifests, --kubeconfig, --in-cluster and --watcher",
                     given.empty() ? "" : absl::StrCat(", not ", absl::StrJoin(given, " and "))));
  }
  if (!flags.watchers.empty()) {
    absl::StatusOr<RemoteFeedOptions> remote = ParseWatchers(flags);
    if (!remote.ok()) return remote.status();
    return *std::move(remote);
  }
  absl::StatusOr<SourceOptions> source =
      ParseSourceOptions(flags.node, flags.kubernetes, /*load=*/!flags.daemon.check_config);
  if (!source.ok()) return source.status();
  if (source->kubernetes) {
    // Of nothing else does this node need to know.
    source->kubernetes->options.node_name = node.node_name;
    source->kubernetes->options.selector = absl::StrCat(
        kDefaultSelector, ",",
        node.service_proxy_name
            ? absl::StrCat("service.kubernetes.io/service-proxy-name=", *node.service_proxy_name)
            : "!service.kubernetes.io/service-proxy-name");
  }
  return *std::move(source);
}

absl::Status ReadOwnConfig(KubeProxyStartFlags& flags, CLI::App& command) {
  if (flags.config.empty()) return absl::OkStatus();
  const absl::StatusOr<bool> own = IsConfigFile(flags.config);
  if (!own.ok()) return InFlag("--config", own.status());
  flags.own_config = *own;
  const absl::Status applied = *own ? ApplyConfigFile(flags.config, command) : absl::OkStatus();
  return applied.ok() ? applied : InFlag("--config", applied);
}

// Of what the command line lets through.
MetricsDetail ParseMetricsDetail(const std::string& text) {
  if (text == "none") return MetricsDetail::kNone;
  return text == "endpoint" ? MetricsDetail::kEndpoint : MetricsDetail::kService;
}

int Proxy(ProxyFlags flags, const CLI::App& command) {
  const absl::StatusOr<KubeProxyStart> kube_proxy = ReadKubeProxyStart(
      flags.kube_proxy, command,
      {flags.node, flags.kubernetes, flags.daemon, flags.sync_period, flags.dry_run});
  if (!kube_proxy.ok()) return Fail(kube_proxy.status(), kExitUsage);
  if (flags.dry_run) {
    flags.node.state_dir.clear();
    // The proxy that is at work has them.
    if (command.count("--healthz-bind-address") == 0) flags.daemon.healthz_bind_address.clear();
    if (command.count("--metrics-bind-address") == 0) flags.daemon.metrics_bind_address.clear();
  }
  absl::StatusOr<NodeSettings> node = ParseNodeSettings(flags.node);
  if (!node.ok()) return Fail(node.status(), kExitUsage);
  absl::StatusOr<FeedOriginOptions> feed = ParseFeed(flags, *node);
  if (!feed.ok()) return Fail(feed.status(), kExitUsage);
  // Manifests are on disk already.
  const bool keep_picture = !flags.node.state_dir.empty() && flags.node.manifests.empty();
  NodeAgentOptions options{
      .node = *std::move(node),
      .feed = *std::move(feed),
      .picture_path = keep_picture ? absl::StrCat(flags.node.state_dir, "/", kPictureFile) : "",
      .socket = flags.daemon.socket,
      .drains_path =
          flags.node.state_dir.empty() ? "" : absl::StrCat(flags.node.state_dir, "/", kDrainsFile),
      .drain_timeout = absl::ZeroDuration(),
      .udp_drain_timeout = absl::ZeroDuration(),
      .audit_period = absl::ZeroDuration(),
      .cleanup_on_exit = flags.cleanup_on_exit,
      .load_modules = flags.load_modules,
      .shadow = flags.dry_run,
      .take_over_kube_proxy = kube_proxy->take_over,
      .kernel_settings = kube_proxy->kernel.sysctls,
      .ipvs_timeouts = kube_proxy->kernel.timeouts,
      .sync_period = absl::ZeroDuration(),
      .healthz = std::nullopt,
      .metrics = std::nullopt,
      .metrics_detail = ParseMetricsDetail(flags.metrics_detail)};
  for (const absl::Status& status :
       {ParseDurationFlag("--drain-timeout", flags.drain_timeout, options.drain_timeout),
        ParseDurationFlag("--udp-drain-timeout", flags.udp_drain_timeout,
                          options.udp_drain_timeout),
        ParseDurationFlag("--audit-period", flags.audit_period, options.audit_period),
        ParsePositiveDurationFlag("--sync-period", flags.sync_period, options.sync_period),
        ParseAddressFlag("--healthz-bind-address", flags.daemon.healthz_bind_address,
                         options.healthz),
        ParseAddressFlag("--metrics-bind-address", flags.daemon.metrics_bind_address,
                         options.metrics)}) {
    if (!status.ok()) return Fail(status, kExitUsage);
  }
  if (flags.daemon.check_config) {
    PrintIgnored(*kube_proxy);
    return kExitOk;
  }
  StartLogging(flags.daemon);
  LogIgnored(*kube_proxy);
  if (absl::Status status = RunNodeAgent(options); !status.ok()) {
    return Fail(status, kExitFailure);
  }
  return kExitOk;
}

}  // namespace

void AddProxyCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "proxy", "Keep this node's IPVS table in step with a cluster's Services, or those of files");
  auto flags = std::make_shared<ProxyFlags>();
  const std::string feed = "Feed from watchers";
  AddKubeProxyStartFlags(*command, flags->kube_proxy);
  // --config may name it; that somebody does is found out when both are known.
  AddNodeFlags(*command, flags->node, Required::kNothing);
  AddKubernetesFlags(*command, flags->kubernetes);
  command
      ->add_option("--watcher", flags->watchers,
                   "HOST:PORT of `fairlead watcher`; several, with commas or given again: the next "
                   "is tried when one does not answer")
      ->group(feed);
  command
      ->add_option("--tls-cert-file", flags->transport.certificate,
                   "This node's certificate, PEM; read again when it changes, as the others")
      ->group(feed);
  command->add_option("--tls-key-file", flags->transport.key, "Its private key")->group(feed);
  command
      ->add_option("--tls-ca-file", flags->transport.authorities,
                   "Authorities of the watchers' certificates")
      ->group(feed);
  command
      ->add_option("--tls-server-name", flags->tls_server_name,
                   "Name in the watchers' certificates; default: the host of --watcher")
      ->group(feed);
  command
      ->add_flag("--insecure-plaintext", flags->transport.plaintext,
                 "Do without certificates, and trust whoever answers")
      ->group(feed);
  AddDaemonFlags(*command, flags->daemon, "Agent");
  command
      ->add_option(
          "--metrics-detail", flags->metrics_detail,
          "What of the kernel's counters /metrics has: none, those of each Service's port, "
          "or of each endpoint too; of those that have had a packet")
      ->check(CLI::IsMember({"none", "service", "endpoint"}))
      ->capture_default_str()
      ->group("Agent");
  command
      ->add_option(
          "--drain-timeout", flags->drain_timeout,
          "How long an endpoint of TCP or SCTP that leaves keeps its connections; annotation "
          "fairlead.dev/drain-timeout of a Service overrides it")
      ->capture_default_str()
      ->group("Agent");
  command
      ->add_option("--udp-drain-timeout", flags->udp_drain_timeout,
                   "The same for UDP; at 0 its flows move to other endpoints at once; annotation "
                   "fairlead.dev/udp-drain-timeout")
      ->capture_default_str()
      ->group("Agent");
  command
      ->add_option("--audit-period", flags->audit_period,
                   "In which every virtual server is read back from the kernel once, to put right "
                   "what others have changed; 0: none is, and a flush of IPVS is not seen either")
      ->capture_default_str()
      ->group("Agent");
  command
      ->add_flag(
          "--load-modules", flags->load_modules,
          "Load the kernel's modules at the start, by `modprobe`; needs CAP_SYS_MODULE, which "
          "is given up then")
      ->group("Agent");
  command
      ->add_flag("--dry-run", flags->dry_run,
                 "Write nothing: plan, and report how the kernel differs, beside another proxy. "
                 "/healthz and /metrics are served only where their addresses are given")
      ->group("Agent");
  command
      ->add_flag("--cleanup-on-exit", flags->cleanup_on_exit,
                 "Remove what is Fairlead's from the kernel at the end; by default it stays, and "
                 "serves on")
      ->group("Agent");
  command
      ->add_option("--sync-period", flags->sync_period,
                   "A change that waits for twice as long makes /healthz and /livez fail")
      ->capture_default_str()
      ->group("Agent");
  command->callback([flags, command, &run] {
    run = [flags, command] {
      if (absl::Status read = ReadOwnConfig(flags->kube_proxy, *command); !read.ok()) {
        return Fail(read, kExitUsage);
      }
      return Proxy(*flags, *command);
    };
  });
}

}  // namespace fairlead
