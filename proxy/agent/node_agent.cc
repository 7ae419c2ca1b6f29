#include "proxy/agent/node_agent.h"

#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "ipvs/kernel_table.h"
#include "ipvs/scheduler_probe.h"
#include "proxy/agent/agent.h"
#include "proxy/agent/inspect_service.h"
#include "proxy/cli/version.h"
#include "proxy/health/http_server.h"
#include "proxy/kernel/address_monitor.h"
#include "proxy/kernel/netlink_conntrack.h"
#include "proxy/kernel/netlink_routes.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/sysctl.h"
#include "watcher/feed/feed_client.h"
#include "watcher/feed/feed_in_process.h"
#include "watcher/feed/feed_mailbox.h"
#include "watcher/manifest/manifest_source.h"

namespace fairlead {
namespace {

// Both families: which ones the Services have is not known at the start, and may change.
void EnsureSysctls() {
  for (const Sysctl& sysctl : RequiredSysctls({IpFamily::kIpv4, IpFamily::kIpv6})) {
    const absl::Status status = EnsureSysctl(sysctl);
    if (!status.ok()) {
      spdlog::error("{} (needed: {})", std::string(status.message()), sysctl.reason);
    }
  }
}

// A scheduler of the command line that the kernel does not have is an error of the start. Where
// that cannot be found out, the kernel says so later.
absl::Status CheckScheduler(const std::string& name) {
  const absl::Status status = ipvs::ProbeScheduler(name);
  if (absl::IsNotFound(status) || absl::IsInvalidArgument(status)) {
    return absl::NotFoundError(absl::StrCat("--scheduler: ", status.message()));
  }
  return absl::OkStatus();
}

// Removes a socket that nobody answers on.
absl::Status ClearSocket(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) {
    return absl::PermissionDeniedError(
        absl::StrCat("--socket: the folder of ", path, ": ", error.message()));
  }
  sockaddr_un address{};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("--socket: ", path, " is too long: at most ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool answered =
      fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  const int connect_error = errno;
  if (fd >= 0) close(fd);
  if (answered) {
    return absl::AlreadyExistsError(absl::StrCat("--socket: another agent answers at ", path));
  }
  if (connect_error == ECONNREFUSED) std::filesystem::remove(path, error);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<grpc::Server>> ServeInspection(InspectService& service,
                                                              const std::string& path) {
  if (absl::Status status = ClearSocket(path); !status.ok()) return status;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("unix:", path), grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  // What it tells is for the machine's administrators.
  const mode_t mask = umask(0077);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  umask(mask);
  if (server == nullptr) {
    return absl::InternalError(absl::StrCat("--socket: cannot listen at ", path));
  }
  return server;
}

// Blocks the signals that end the agent, for this thread and those it starts.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

void PutReading(const Reading& reading, Journal& journal, Agent& agent) {
  // A path of which nothing is known yet may hold Services that are in the kernel.
  if (!reading.complete) return;
  // So may a file: its Services go on as they are until it can be read.
  if (!reading.unread.empty()) agent.HoldRemovalsUntil(std::numeric_limits<uint64_t>::max());
  journal.Replace(reading.picture, absl::Now());
  journal.MarkComplete();
  if (reading.unread.empty()) agent.HoldRemovalsUntil(journal.head_revision());
}

absl::Status ServeSigns(HttpServer& http, const NodeAgentOptions& options, NodeHealth& health,
                        AgentMetrics& metrics) {
  const auto listen = [&http](absl::string_view flag, const std::optional<HttpAddress>& at,
                              const HttpHandler& handler) -> absl::Status {
    if (!at.has_value()) return absl::OkStatus();
    const bool both = !at->address.is_v4() && at->address.IsUnspecified();
    const auto port = http.Listen(at->address, at->port, handler, {.dual_stack = both});
    if (port.ok()) return absl::OkStatus();
    return {port.status().code(), absl::StrCat(flag, ": ", port.status().message())};
  };
  absl::Status status =
      listen("--healthz-bind-address", options.healthz, [&health](const HttpRequest& request) {
        const absl::Time now = absl::Now();
        return AnswerNodeHealth(request.path, health.Check(now), now);
      });
  status.Update(
      listen("--metrics-bind-address", options.metrics, [&metrics](const HttpRequest& request) {
        if (request.path != "/metrics") return HttpResponse{.status = 404, .body = "not found\n"};
        return HttpResponse{.headers = {{"Content-Type", kMetricsContentType}},
                            .body = metrics.Render()};
      }));
  return status;
}

absl::StatusOr<std::unique_ptr<ipvs::Table>> OpenTable() {
  auto opened = ipvs::KernelTable::Open();
  if (!opened.ok()) return opened.status();
  return *std::move(opened);
}

// A packet comes by the device that leads back to its source, unless the query says otherwise.
// Where that cannot be found out the explanation asks for it, if it needs it.
ExplainQuery WithInterface(ExplainQuery query) {
  if (!query.from_interface.empty()) return query;
  absl::StatusOr<std::string> device = DeviceTowards(query.from);
  if (device.ok()) query.from_interface = *std::move(device);
  return query;
}

}  // namespace

absl::Status RunNodeAgent(const NodeAgentOptions& options) {
  const sigset_t signals = BlockSignals();
  auto table = ipvs::KernelTable::Open();
  if (!table.ok()) return table.status();
  auto firewall = NftFirewall::Open();
  if (!firewall.ok()) return firewall.status();
  auto routes = NetlinkRoutes::Open();
  if (!routes.ok()) return routes.status();
  if (absl::Status status = CheckScheduler(options.node.default_scheduler); !status.ok()) {
    return status;
  }

  auto conntrack = NetlinkConntrack::Open();
  if (!conntrack.ok()) return conntrack.status();
  NodeHealth health(options.sync_period);
  AgentMetrics metrics;
  auto http = HttpServer::Start();
  if (!http.ok()) return http.status();
  if (absl::Status status = ServeSigns(**http, options, health, metrics); !status.ok()) {
    return status;
  }
  HealthCheckPorts health_checks(**http, [&health] { return health.Check(absl::Now()).healthy; });

  Reconciler reconciler(**table, **firewall, **routes, **conntrack,
                        {.drain_timeout = options.drain_timeout});
  InProcessFeed feed;
  Agent* to_wake = nullptr;
  FeedMailbox mailbox([&to_wake, &health] {
    health.ChangePending(absl::Now());
    to_wake->Wake();
  });
  FeedClient client(feed.MakeChannel(), {.node_name = options.node.node_name}, mailbox);
  Agent agent(
      options.node,
      {.now = absl::Now,
       .take_update = [&mailbox] { return mailbox.Take(); },
       .acknowledge =
           [&client](const FeedPosition& position, absl::Duration took,
                     const std::vector<ObjectFailure>& failures) {
             client.Ack(position, took, failures);
           },
       .local_addresses = ReadNodeAddresses,
       .probe_scheduler = [](const std::string& name) { return ipvs::ProbeScheduler(name); },
       .prepare = EnsureSysctls},
      reconciler, {.health = health, .health_checks = health_checks, .metrics = metrics});
  to_wake = &agent;
  auto addresses = AddressMonitor::Start([&agent] { agent.AddressesChanged(); });
  if (!addresses.ok()) return addresses.status();
  InspectService inspection(
      {.report = [&agent] { return agent.Report(); },
       .explain =
           [&agent](ExplainQuery query) { return agent.Explain(WithInterface(std::move(query))); },
       .open_table = OpenTable});
  auto inspection_server = ServeInspection(inspection, options.socket);
  if (!inspection_server.ok()) return inspection_server.status();
  ManifestSource source(options.manifests);
  absl::Status started = source.Start(
      [&feed, &agent](const Reading& reading) { PutReading(reading, feed.journal(), agent); });
  if (!started.ok()) return started;

  spdlog::info("fairlead {} on node {}, answers inspections at {}", kVersion,
               options.node.node_name, options.socket);
  client.Start();
  std::thread loop([&agent] { agent.Run(); });
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("{}: stopping, the kernel is left as it is", strsignal(signal));
  agent.Stop();
  loop.join();
  source.Stop();
  client.Stop();
  (*inspection_server)->Shutdown(std::chrono::system_clock::now());
  unlink(options.socket.c_str());
  return absl::OkStatus();
}

}  // namespace fairlead
