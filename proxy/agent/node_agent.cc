#include "proxy/agent/node_agent.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "ipvs/kernel_table.h"
#include "ipvs/scheduler_probe.h"
#include "proxy/agent/agent.h"
#include "proxy/agent/feed_origin.h"
#include "proxy/agent/inspect_service.h"
#include "proxy/cli/version.h"
#include "proxy/daemon/daemon.h"
#include "proxy/health/http_server.h"
#include "proxy/kernel/address_monitor.h"
#include "proxy/kernel/netlink_conntrack.h"
#include "proxy/kernel/netlink_routes.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/sysctl.h"
#include "watcher/feed/feed_client.h"
#include "watcher/feed/feed_mailbox.h"
#include "watcher/feed/picture_file.h"
#include "watcher/feed/picture_saver.h"

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

// `resources`: of an API server that this process follows itself. The feed in between is always
// there, and no fresher than they are.
FeedFreshness FreshnessOf(const FeedClientStatus& status,
                          const std::vector<KubernetesResourceStatus>& resources, absl::Time now) {
  // Between two watches is nothing to speak of.
  constexpr absl::Duration kGap = absl::Seconds(5);
  FeedFreshness freshness{.connected = status.connected,
                          .feeder = status.feeder,
                          .revision = status.position.revision,
                          .head_revision = status.head_revision,
                          .current_as_of = status.last_complete,
                          .saved = status.unconfirmed};
  for (const KubernetesResourceStatus& resource : resources) {
    if (resource.watching || now - resource.last_event < kGap) continue;
    freshness.connected = false;
    freshness.feeder = "the API server";
    if (!freshness.saved) {
      freshness.current_as_of = std::min(freshness.current_as_of, resource.last_event);
    }
  }
  return freshness;
}

// The picture that an agent on this node saved last; nullopt where there is none that can be used,
// which costs nothing but the head start.
std::optional<SavedPicture> ReadSavedPicture(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  RemoveTemporaryPicture(path);
  absl::StatusOr<SavedPicture> picture = LoadPicture(path);
  if (picture.ok()) return *std::move(picture);
  if (absl::IsNotFound(picture.status())) return std::nullopt;
  spdlog::error("{}", std::string(picture.status().message()));
  if (absl::IsDataLoss(picture.status()) || absl::IsFailedPrecondition(picture.status())) {
    if (absl::Status aside = SetAside(path); !aside.ok()) {
      spdlog::error("{}", std::string(aside.message()));
    }
  }
  return std::nullopt;
}

// It may lack what has come since: nothing that is in the kernel is removed for it.
FeedUpdate ToUpdate(const SavedPicture& picture) {
  return {.position = picture.position,
          .partial = true,
          .saved = picture.saved,
          .snapshot = true,
          .upserts = picture.objects,
          .received = absl::Now()};
}

std::unique_ptr<PictureSaver> MakeSaver(const std::string& path) {
  if (path.empty()) return nullptr;
  return std::make_unique<PictureSaver>(
      PictureSaverOptions{.save = [path](const FeedPosition& position, absl::Time when,
                                         const std::vector<Object>& objects) {
        return SavePicture(path, position, when, objects);
      }});
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
  const EndSignals signals;
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
  auto origin = FeedOrigin::Make(options.feed);
  if (!origin.ok()) return origin.status();
  NodeHealth health(options.sync_period);
  AgentMetrics metrics;
  auto check_ports = HttpServer::Start();
  if (!check_ports.ok()) return check_ports.status();
  HealthCheckPorts health_checks(**check_ports,
                                 [&health] { return health.Check(absl::Now()).healthy; });

  Reconciler reconciler(**table, **firewall, **routes, **conntrack,
                        {.drain_timeout = options.drain_timeout});
  const std::unique_ptr<PictureSaver> saver = MakeSaver(options.picture_path);
  Agent* to_wake = nullptr;
  FeedMailbox mailbox([&to_wake, &health] {
    health.ChangePending(absl::Now());
    to_wake->Wake();
  });
  FeedClient client(
      (*origin)->Targets(),
      {.node_name = options.node.node_name, .agent = absl::StrCat("fairlead/", kVersion)}, mailbox);
  Agent agent(
      options.node,
      {.now = absl::Now,
       .take_update =
           [&mailbox, &saver] {
             std::optional<FeedUpdate> update = mailbox.Take();
             if (update && !update->saved && saver != nullptr) saver->Put(*update);
             return update;
           },
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
  const auto freshness = [&client, &origin] {
    return FreshnessOf(client.status(), (*origin)->KubernetesStatus(), absl::Now());
  };
  InspectService inspection(
      {.report = [&agent] { return agent.Report(); },
       .explain =
           [&agent](ExplainQuery query) { return agent.Explain(WithInterface(std::move(query))); },
       .feed = freshness,
       .open_table = OpenTable});
  auto inspection_server = ServeOnUnixSocket(inspection, options.socket);
  if (!inspection_server.ok()) return inspection_server.status();
  // A server each: a scrape waits for the agent between two passes, a probe for nobody.
  auto health_server = HttpServer::Start();
  if (!health_server.ok()) return health_server.status();
  auto metrics_server = HttpServer::Start();
  if (!metrics_server.ok()) return metrics_server.status();
  absl::Status listening =
      ListenHttp(**health_server, "--healthz-bind-address", options.healthz,
                 [&health, &freshness](const HttpRequest& request) {
                   const absl::Time now = absl::Now();
                   return AnswerNodeHealth(request.path, health.Check(now), freshness(), now);
                 });
  const auto render = [&agent, &freshness, &metrics] {
    metrics.SetFeed(freshness(), absl::Now());
    // Of an agent that is too busy to count, the last numbers stand.
    if (const auto sizes = agent.CountTable(); sizes.ok()) metrics.SetTableSizes(*sizes);
    return metrics.Render();
  };
  listening.Update(
      ListenHttp(**metrics_server, "--metrics-bind-address", options.metrics,
                 [render](const HttpRequest& request) { return AnswerMetrics(request, render); }));
  if (!listening.ok()) return listening;
  if (absl::Status started = (*origin)->Start(); !started.ok()) return started;

  spdlog::info("fairlead {} on node {}, answers inspections at {}", kVersion,
               options.node.node_name, options.socket);
  std::optional<SavedPicture> known;
  if (saver != nullptr) known = ReadSavedPicture(options.picture_path);
  if (known) {
    saver->Begin(*known);
    mailbox.Put(ToUpdate(*known));
    client.StartFrom(known->position, known->saved);
  } else {
    client.Start();
  }
  std::thread loop([&agent] { agent.Run(); });
  spdlog::info("{}: stopping, the kernel is left as it is", signals.Wait());
  agent.Stop();
  loop.join();
  (*origin)->Stop();
  client.Stop();
  if (saver != nullptr) saver->Stop();
  (*inspection_server)->Shutdown(std::chrono::system_clock::now());
  unlink(options.socket.c_str());
  return absl::OkStatus();
}

}  // namespace fairlead
