#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fairlead/v1/watch.grpc.pb.h"
#include "proxy/cli/command.h"
#include "proxy/cli/config_file.h"
#include "proxy/cli/daemon_flags.h"
#include "proxy/cli/feed_flags.h"
#include "proxy/cli/inspect_client.h"
#include "proxy/cli/log_level_command.h"
#include "proxy/cli/nodes_format.h"
#include "proxy/cli/output.h"
#include "proxy/cli/source_flags.h"
#include "proxy/cli/table.h"
#include "proxy/watch/watcher_daemon.h"

namespace fairlead {
namespace {

constexpr char kDefaultWatcherSocket[] = "/run/fairlead/watcher.sock";

struct WatcherFlags {
  std::string config;
  ManifestFlags manifests;
  KubernetesFlags kubernetes;
  std::string listen = "[::]:10270";
  TransportFlags transport;
  bool require_node_name = false;
  size_t max_subscribers = kMaxSubscribers;
  double max_subscribe_rate = kMaxSubscribeRate;
  DaemonFlags daemon{.socket = kDefaultWatcherSocket,
                     .healthz_bind_address = "[::]:10271",
                     .metrics_bind_address = "127.0.0.1:10272"};
};

struct NodesFlags {
  std::string socket = kDefaultWatcherSocket;
  OutputFlags output;
};

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "fairlead watcher: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

absl::StatusOr<WatcherOptions> ParseOptions(const WatcherFlags& flags) {
  const std::vector<std::string> given = GivenSources(flags.manifests, flags.kubernetes);
  if (given.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("give one of --manifests, --kubeconfig and --in-cluster",
                     given.empty() ? "" : absl::StrCat(", not ", absl::StrJoin(given, " and "))));
  }
  WatcherOptions options{.listen = flags.listen,
                         .require_node_name = flags.require_node_name,
                         .max_subscribers = flags.max_subscribers,
                         .max_subscribe_rate = flags.max_subscribe_rate,
                         .socket = flags.daemon.socket};
  absl::StatusOr<std::optional<TlsFiles>> tls =
      ParseTransport(flags.transport, "--tls-client-ca-file");
  if (!tls.ok()) return tls.status();
  options.tls = *std::move(tls);
  if (flags.require_node_name && !options.tls) {
    return absl::InvalidArgumentError(
        "--require-node-name: needs certificates, and there are none with --insecure-plaintext");
  }
  std::optional<HttpAddress> listen;
  for (const absl::Status& status :
       {ParseAddressFlag("--listen", flags.listen, listen),
        ParseAddressFlag("--healthz-bind-address", flags.daemon.healthz_bind_address,
                         options.healthz),
        ParseAddressFlag("--metrics-bind-address", flags.daemon.metrics_bind_address,
                         options.metrics)}) {
    if (!status.ok()) return status;
  }
  if (!listen.has_value()) return absl::InvalidArgumentError("--listen: is empty");
  absl::StatusOr<SourceOptions> source =
      ParseSourceOptions(flags.manifests, flags.kubernetes, /*load=*/!flags.daemon.check_config);
  if (!source.ok()) return source.status();
  options.source = *std::move(source);
  return options;
}

int Watch(const WatcherFlags& flags) {
  absl::StatusOr<WatcherOptions> options = ParseOptions(flags);
  if (!options.ok()) return Fail(options.status(), kExitUsage);
  if (flags.daemon.check_config) return kExitOk;
  StartLogging(flags.daemon);
  if (absl::Status status = RunWatcher(*options); !status.ok()) return Fail(status, kExitFailure);
  return kExitOk;
}

std::unique_ptr<v1::Watch::Stub> ConnectToWatcher(const std::string& socket) {
  return v1::Watch::NewStub(
      grpc::CreateChannel(absl::StrCat("unix:", socket), grpc::InsecureChannelCredentials()));
}

int Nodes(const NodesFlags& flags) {
  const auto stub = ConnectToWatcher(flags.socket);
  v1::WatchStatusResponse watcher;
  const auto status_context = AskContext();
  grpc::Status status = stub->WatchStatus(status_context.get(), {}, &watcher);
  std::vector<v1::FeedNode> nodes;
  if (status.ok()) {
    const auto list_context = AskContext();
    const auto reader = stub->ListNodes(list_context.get(), {});
    v1::FeedNode node;
    while (reader->Read(&node)) nodes.push_back(node);
    status = reader->Finish();
  }
  if (!status.ok()) {
    return Fail(absl::UnavailableError(absl::StrCat("no watcher answers at ", flags.socket, ": ",
                                                    status.error_message())),
                kExitFailure);
  }
  const Output output = flags.output.output();
  const bool wide = output == Output::kWide;
  std::fputs((wide || output == Output::kText
                  ? FormatNodesText(watcher, nodes, absl::Now(), wide, StdoutWantsColor())
                  : FormatNodesDocument(watcher, nodes, output))
                 .c_str(),
             stdout);
  return kExitOk;
}

void AddNodesCommand(CLI::App& watcher, Run& run) {
  CLI::App* command = watcher.add_subcommand(
      "nodes", "Show which node has which revision, of the watcher that runs here");
  auto flags = std::make_shared<NodesFlags>();
  command->add_option("--socket", flags->socket, "The watcher's Unix socket")
      ->capture_default_str();
  AddOutputFlags(*command, {"text", "wide", "json", "yaml"}, flags->output);
  command->callback([flags, &run] { run = [flags] { return Nodes(*flags); }; });
}

}  // namespace

void AddWatcherCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "watcher", "Follow a cluster's Services, or those of files, and feed any number of agents");
  auto flags = std::make_shared<WatcherFlags>();
  const std::string feed = "Feed";
  command->add_option("--config", flags->config,
                      "A file of YAML: these flags as keys, without dashes; what it says is the "
                      "default of the other flags");
  AddManifestFlags(*command, flags->manifests, /*required=*/false);
  AddKubernetesFlags(*command, flags->kubernetes);
  command->add_option("--listen", flags->listen, "Address and port where agents subscribe")
      ->capture_default_str()
      ->group(feed);
  command
      ->add_option("--tls-cert-file", flags->transport.certificate,
                   "The watcher's certificate, PEM; read again when it changes, as the others")
      ->group(feed);
  command->add_option("--tls-key-file", flags->transport.key, "Its private key")->group(feed);
  command
      ->add_option("--tls-client-ca-file", flags->transport.authorities,
                   "Authorities of the agents' certificates; without one an agent is refused")
      ->group(feed);
  command
      ->add_flag("--require-node-name", flags->require_node_name,
                 "An agent's certificate has to name its node, as DNS name or common name, or as "
                 "the kubelet's common name system:node:NAME")
      ->group(feed);
  command
      ->add_flag("--insecure-plaintext", flags->transport.plaintext,
                 "Do without certificates, and feed whoever asks")
      ->group(feed);
  command
      ->add_option("--max-subscribers", flags->max_subscribers,
                   "Agents at once; others are refused")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(feed);
  command
      ->add_option("--max-subscribe-rate", flags->max_subscribe_rate,
                   "New agents a second in the long run; others are refused")
      ->check(CLI::Range(1.0, 1e6))
      ->capture_default_str()
      ->group(feed);
  AddDaemonFlags(*command, flags->daemon, "Watcher");
  command->require_subcommand(0, 1);
  AddNodesCommand(*command, run);
  AddLogLevelCommand(*command, run,
                     {.command = "watcher log-level",
                      .role = "watcher",
                      .socket = kDefaultWatcherSocket,
                      .ask = [](const std::string& socket, const v1::LogLevelRequest& request,
                                v1::LogLevelResponse* response) {
                        return ConnectToWatcher(socket)->LogLevel(AskContext().get(), request,
                                                                  response);
                      }});
  // CLI11 calls the subcommand's first, and this one as well.
  command->callback([flags, command, &run] {
    if (!command->get_subcommands().empty()) return;
    run = [flags, command] {
      if (!flags->config.empty()) {
        const absl::Status read = ApplyConfigFile(flags->config, *command);
        if (!read.ok()) return Fail(InFlag("--config", read), kExitUsage);
      }
      return Watch(*flags);
    };
  });
}

}  // namespace fairlead
