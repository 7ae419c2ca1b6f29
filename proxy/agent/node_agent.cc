#include "proxy/agent/node_agent.h"

#include <linux/capability.h>
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "ipvs/kernel_table.h"
#include "ipvs/scheduler_probe.h"
#include "proxy/agent/agent.h"
#include "proxy/agent/drain_file.h"
#include "proxy/agent/estimation.h"
#include "proxy/agent/feed_origin.h"
#include "proxy/agent/inspect_service.h"
#include "proxy/agent/node_kernel.h"
#include "proxy/cli/version.h"
#include "proxy/daemon/daemon.h"
#include "proxy/daemon/http_endpoint.h"
#include "proxy/daemon/notify.h"
#include "proxy/daemon/privileges.h"
#include "proxy/health/http_server.h"
#include "proxy/inspect/read_differences.h"
#include "proxy/inspect/read_kernel.h"
#include "proxy/inspect/shadow_kernel.h"
#include "proxy/inspect/shadow_watch.h"
#include "proxy/kernel/modules.h"
#include "proxy/kernel/netlink_routes.h"
#include "proxy/metrics/operation_counts.h"
#include "proxy/metrics/process_metrics.h"
#include "proxy/metrics/scrape.h"
#include "watcher/feed/feed_client.h"
#include "watcher/feed/feed_mailbox.h"
#include "watcher/feed/picture_file.h"
#include "watcher/feed/picture_saver.h"
#include "watcher/log_object.h"

namespace fairlead {
namespace {

// Keeps the drains for the next agent, where there is a place for them. A file that cannot be
// written is told once.
class DrainKeeper {
 public:
  explicit DrainKeeper(std::string path) : path_(std::move(path)) {}

  std::vector<DrainingServer> Load() const {
    if (path_.empty()) return {};
    auto drains = LoadDrains(path_);
    if (drains.ok()) return *std::move(drains);
    LogAbout(spdlog::level::err, FileObject(path_),
             absl::StrCat(drains.status().message(), "; drains begin anew"));
    return {};
  }

  bool Save(const std::vector<DrainingServer>& drains) {
    if (path_.empty()) return true;
    const absl::Status saved = SaveDrains(path_, drains);
    if (!saved.ok() && !failing_) {
      LogAbout(spdlog::level::err, FileObject(path_),
               absl::StrCat(saved.message(), "; after a restart drains would begin anew"));
    }
    if (saved.ok() && failing_) {
      LogAbout(spdlog::level::info, FileObject(path_),
               absl::StrCat("drains ", path_, ": kept again"));
    }
    failing_ = !saved.ok();
    return saved.ok();
  }

 private:
  const std::string path_;
  bool failing_ = false;
};

void LogReport(const char* title, const CleanupReport& report) {
  for (const CleanupRemark& remark : report.failed) {
    spdlog::error("{}: {} {}: {}", title, remark.item.kind, remark.item.name, remark.why);
  }
  for (const CleanupRemark& remark : report.kept) {
    spdlog::info("{}: {} {} stays: {}", title, remark.item.kind, remark.item.name, remark.why);
  }
  for (const std::string& note : report.notes) spdlog::info("{}: {}", title, note);
  spdlog::info("{}: {} things removed, {} could not be", title, report.removed.size(),
               report.failed.size());
}

// Time that passes while the machine sleeps counts.
absl::Duration Uptime() {
  timespec time{};
  clock_gettime(CLOCK_BOOTTIME, &time);
  return absl::DurationFromTimespec(time);
}

// Schedulers are tried out in a network namespace; where that cannot be made, files are asked.
class Schedulers {
 public:
  // Before rights are given up.
  Schedulers() : probe_(ipvs::SchedulerProbe::Open()) {
    utsname names{};
    if (uname(&names) == 0) release_ = names.release;
  }

  absl::Status Probe(const std::string& name) {
    return probe_.ok() ? probe_->Probe(name) : ipvs::FindSchedulerModule(name, release_);
  }

 private:
  absl::StatusOr<ipvs::SchedulerProbe> probe_;
  std::string release_;
};

// A scheduler of the command line that the kernel does not have is an error of the start. Where
// that cannot be found out, the kernel says so later.
absl::Status CheckScheduler(Schedulers& schedulers, const std::string& name) {
  const absl::Status status = schedulers.Probe(name);
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
  LogAbout(spdlog::level::err, FileObject(path), picture.status().message());
  if (absl::IsDataLoss(picture.status()) || absl::IsFailedPrecondition(picture.status())) {
    if (absl::Status aside = SetAside(path); !aside.ok()) {
      LogAbout(spdlog::level::err, FileObject(path), aside.message());
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

// Of an agent that is too busy to count its tables for a scrape, the last numbers stand: Prometheus
// waits for ten seconds.
constexpr absl::Duration kCountWithin = absl::Seconds(2);

void LogCountersRead(const absl::Status& status) {
  if (status.ok()) {
    spdlog::info("the kernel's counters can be read again");
  } else {
    spdlog::error("reading the kernel's counters for /metrics: {}", std::string(status.message()));
  }
}

// A packet comes by the device that leads back to its source, unless the query says otherwise.
// Where that cannot be found out the explanation asks for it, if it needs it.
ExplainQuery WithInterface(ExplainQuery query) {
  if (!query.from_interface.empty()) return query;
  absl::StatusOr<std::string> device = DeviceTowards(query.from);
  if (device.ok()) query.from_interface = *std::move(device);
  return query;
}

absl::StatusOr<Privileges> GiveUpPrivileges(bool takes_over) {
  constexpr int kNeeded[] = {CAP_NET_ADMIN};
  if (!takes_over) return DropPrivileges(kNeeded);
  constexpr int kOfIptables[] = {CAP_NET_RAW};
  absl::StatusOr<Privileges> left = DropPrivileges(kNeeded, kOfIptables);
  if (left.ok() && left->permitted.size() == 1) {
    spdlog::warn(
        "this process does not have CAP_NET_RAW: iptables cannot read kube-proxy's rules that have "
        "ipsets, and they stay until it has, or until `fairlead cleanup --kube-proxy`");
  }
  return left;
}

}  // namespace

absl::Status RunNodeAgent(const NodeAgentOptions& options) {
  // What the feed's threads make, the loop keeps: with an arena for each thread, all of them would
  // have holes. One thread is at work as a rule, and has the lock for itself.
  mallopt(M_ARENA_MAX, 1);
  const EndSignals signals;
  if (options.load_modules && !options.shadow) {
    // What is missing shows when it is needed.
    const absl::Status loaded = LoadModules(ModulesToLoad(options.node.default_scheduler));
    if (!loaded.ok()) spdlog::error("{}", std::string(loaded.message()));
  }
  Schedulers schedulers;
  const bool takes_over = options.take_over_kube_proxy && !options.shadow;
  const absl::StatusOr<Privileges> privileges = GiveUpPrivileges(takes_over);
  if (!privileges.ok()) return privileges.status();
  spdlog::info("capabilities: {}", FormatPrivileges(*privileges));
  if (absl::Status status = CheckScheduler(schedulers, options.node.default_scheduler);
      !status.ok()) {
    return status;
  }
  const auto read_kernel = [] { return ReadKernelState(); };
  absl::StatusOr<std::unique_ptr<NodeKernel>> kernel =
      options.shadow ? MakeShadowNodeKernel(read_kernel)
                     : OpenNodeKernel(options.kernel_settings, options.ipvs_timeouts);
  if (!kernel.ok()) return kernel.status();
  auto origin = FeedOrigin::Make(options.feed);
  if (!origin.ok()) return origin.status();
  Notifier notifier;
  NodeHealth health(options.sync_period);
  AgentMetrics metrics;
  auto check_ports = HttpServer::Start();
  if (!check_ports.ok()) return check_ports.status();
  NoListeners no_listeners;
  HealthCheckPorts health_checks(
      options.shadow ? static_cast<HttpListeners&>(no_listeners) : **check_ports,
      [&health] { return health.Check(absl::Now()).healthy; });

  OperationCounts operations;
  CountingTable table((*kernel)->table(), operations);
  CountingFirewall firewall((*kernel)->firewall(), operations);
  CountingRoutes routes((*kernel)->routes(), operations);
  Reconciler reconciler(
      table, firewall, routes, (*kernel)->conntrack(),
      {.drain_timeout = options.drain_timeout,
       .udp_drain_timeout = options.udp_drain_timeout,
       .audit_cycle = options.audit_period == absl::ZeroDuration() || options.shadow
                          ? absl::InfiniteDuration()
                          : options.audit_period,
       .count_ipv4_servers = (*kernel)->count_ipv4_servers(),
       .list_in_order = (*kernel)->list_in_order()});
  const std::unique_ptr<PictureSaver> saver = MakeSaver(options.shadow ? "" : options.picture_path);
  DrainKeeper drains(options.shadow ? "" : options.drains_path);
  ServiceNames names;
  Agent* to_wake = nullptr;
  FeedMailbox mailbox([&to_wake, &health] {
    health.ChangePending(absl::Now());
    to_wake->Wake();
  });
  FeedClient client(
      (*origin)->Targets(),
      {.node_name = options.node.node_name, .agent = absl::StrCat("fairlead/", kVersion)}, mailbox);
  std::function<bool()> take_over;
  if (takes_over) {
    take_over = [&kernel, told = std::string()]() mutable {
      const CleanupReport report = (*kernel)->RemoveKubeProxy();
      // What does not go is tried again, and is told once.
      const std::string text = FormatCleanupText(report, /*dry_run=*/false);
      if (std::exchange(told, text) != text) LogReport("kube-proxy", report);
      return report.failed.empty();
    };
  }
  Agent agent(
      options.node,
      {.now = absl::Now,
       .uptime = Uptime,
       .take_update =
           [&mailbox, &saver] {
             std::optional<FeedUpdate> update = mailbox.Take();
             if (update && !update->saved && saver != nullptr) saver->Put(*update);
             return update;
           },
       .acknowledge =
           [&](const FeedPosition& position, absl::Duration took,
               const std::vector<ObjectFailure>& failures) {
             if (const NodeReadiness ready = health.readiness(); ready == NodeReadiness::kReady) {
               notifier.Programmed(position.revision, failures.size(), absl::Now());
             } else {
               notifier.Waiting(DescribeWait(ready, {}));
             }
             // What is only in memory is no answer to a watcher.
             if (!options.shadow) client.Ack(position, took, failures);
           },
       .local_addresses = ReadNodeAddresses,
       .probe_scheduler = [&schedulers](const std::string& name) { return schedulers.Probe(name); },
       .prepare = [&kernel] { (*kernel)->EnsureSettings(); },
       .repair_settings = [&kernel](DriftReport& drift) { (*kernel)->RepairSettings(drift); },
       .take_over = take_over,
       .load_drains = [&drains] { return drains.Load(); },
       .save_drains =
           [&drains](const std::vector<DrainingServer>& draining) { return drains.Save(draining); },
       .release_memory = [] { malloc_trim(0); }},
      reconciler,
      {.health = health, .health_checks = health_checks, .metrics = metrics, .names = &names});
  to_wake = &agent;
  auto watch = (*kernel)->Listen({.addresses_changed = [&agent] { agent.AddressesChanged(); },
                                  .firewall_changed = [&agent] { agent.FirewallChanged(); },
                                  .routes_changed = [&agent] { agent.RoutesChanged(); }});
  if (!watch.ok()) return watch.status();
  const auto freshness = [&client, &origin] {
    return FreshnessOf(client.status(), (*origin)->KubernetesStatus(), absl::Now());
  };
  InspectService inspection(
      {.report = [&agent] { return agent.Report(); },
       .explain =
           [&agent](ExplainQuery query) { return agent.Explain(WithInterface(std::move(query))); },
       .feed = freshness,
       .open_table = OpenTable,
       .wanted = [&agent] { return agent.Wanted(); },
       .read_kernel = read_kernel,
       .slices = [&agent](const std::set<ObjectName>& services) { return agent.Slices(services); },
       .end_drains =
           [&agent](std::function<bool(const DrainingServer&)> which) {
             return agent.EndDrains(std::move(which));
           },
       .shadow = options.shadow});
  auto inspection_server = ServeOnUnixSocket(inspection, options.socket);
  if (!inspection_server.ok()) return inspection_server.status();
  // A server each: a scrape waits for the agent between two passes, a probe for nobody.
  auto health_server = HttpServer::Start();
  if (!health_server.ok()) return health_server.status();
  auto metrics_server = HttpServer::Start();
  if (!metrics_server.ok()) return metrics_server.status();
  const auto refused = [](const std::string& why) { spdlog::error("{}", why); };
  const auto served = [](const std::string& what) { spdlog::info("{}", what); };
  const HttpEndpoint health_endpoint(
      **health_server, {.flag = "--healthz-bind-address",
                        .at = options.healthz,
                        .handler =
                            [&health, &freshness, &metrics](const HttpRequest& request) {
                              const absl::Time now = absl::Now();
                              if (request.path == "/readyz") {
                                return AnswerReadiness(health.readiness(), freshness(), now);
                              }
                              HttpResponse answer = AnswerNodeHealth(
                                  request.path, health.Check(now), freshness(), now);
                              if (request.path == "/healthz" || request.path == "/livez") {
                                metrics.CountProbe(request.path.substr(1), answer.status);
                              }
                              return answer;
                            },
                        .refused = refused,
                        .served = served});
  Scrape scrape(names, {.detail = options.metrics_detail,
                        .open_table = OpenTable,
                        .now = absl::Now,
                        .counting = [] { return !IsEstimationOff(); },
                        .changed = LogCountersRead});
  const auto render = [&] {
    metrics.SetFeed(freshness(), absl::Now());
    if (const auto sizes = agent.CountTable(kCountWithin); sizes.ok()) {
      metrics.SetTableSizes(*sizes);
    }
    std::string text = metrics.Render();
    operations.Append(text);
    AppendProcessMetrics(text, kVersion);
    scrape.Append(text);
    return text;
  };
  const HttpEndpoint metrics_endpoint(
      **metrics_server,
      {.flag = "--metrics-bind-address",
       .at = options.metrics,
       .handler = [render](const HttpRequest& request) { return AnswerMetrics(request, render); },
       .refused = refused,
       .served = served});
  if (absl::Status started = (*origin)->Start(); !started.ok()) return started;

  spdlog::info("fairlead {} on node {}, answers inspections at {}{}", kVersion,
               options.node.node_name, options.socket,
               options.shadow ? "; a dry run, which writes nothing" : "");
  std::optional<SavedPicture> known;
  if (saver != nullptr) known = ReadSavedPicture(options.picture_path);
  if (known) {
    saver->Begin(*known);
    mailbox.Put(ToUpdate(*known));
    client.StartFrom(known->position, known->saved);
  } else {
    client.Start();
  }
  notifier.Waiting("a first picture");
  std::thread loop([&agent] { agent.Run(); });
  std::optional<LifeSigns> life;
  life.emplace(notifier, LifeSigns::Options{.ask = [&agent] { return agent.CountTable().ok(); },
                                            .interval = LifeSigns::IntervalFor(notifier)});
  std::optional<ShadowWatch> shadow;
  if (options.shadow) {
    shadow.emplace(ShadowWatchOptions{
        .compare =
            [&agent, &read_kernel] {
              return ReadDifferences({.report = [&agent] { return agent.Report(); },
                                      .wanted = [&agent] { return agent.Wanted(); },
                                      .kernel = read_kernel,
                                      .shadow = true});
            },
        .publish =
            [&metrics](const std::map<DriftKind, size_t>& differences) {
              for (int kind = 0; kind < kDriftKinds; ++kind) {
                const auto it = differences.find(static_cast<DriftKind>(kind));
                metrics.SetShadowDifferences(FormatDriftKind(static_cast<DriftKind>(kind)),
                                             it == differences.end() ? 0 : it->second);
              }
            }});
  }
  const std::string why = signals.Wait();
  const std::string what = options.cleanup_on_exit && !options.shadow
                               ? "what is Fairlead's is removed from the kernel"
                               : "the kernel is left as it is";
  spdlog::info("{}: stopping, {}", why, what);
  notifier.Stopping(absl::StrCat("stopping, ", what));
  life.reset();
  shadow.reset();
  agent.Stop();
  loop.join();
  if (options.cleanup_on_exit && !options.shadow) LogReport("cleanup", (*kernel)->RemoveOwn());
  (*origin)->Stop();
  client.Stop();
  if (saver != nullptr) saver->Stop();
  (*inspection_server)->Shutdown(std::chrono::system_clock::now());
  unlink(options.socket.c_str());
  return absl::OkStatus();
}

}  // namespace fairlead
