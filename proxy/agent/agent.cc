#include "proxy/agent/agent.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "watcher/feed/apply.h"

namespace fairlead {
namespace {

// Between two attempts to read the kernel for the first time.
constexpr absl::Duration kFirstAdoptionRetry = absl::Milliseconds(200);
constexpr absl::Duration kLastAdoptionRetry = absl::Seconds(30);

// Between two attempts to read the node's addresses, when they may have changed.
constexpr absl::Duration kAddressRetry = absl::Seconds(1);

// A pass over 10,000 Services takes seconds on a slow machine; an inspection waits that long.
constexpr std::chrono::seconds kReportWithin{20};

// Everything in a cluster needs these, so they come first when a node starts.
bool IsUrgent(const ObjectName& service) {
  return service == ObjectName{"default", "kubernetes"} ||
         (service.name_space == "kube-system" &&
          (service.name == "kube-dns" || service.name == "coredns"));
}

}  // namespace

Agent::Agent(NodeSettings settings, AgentEnvironment environment, Reconciler& reconciler)
    : settings_(std::move(settings)),
      environment_(std::move(environment)),
      reconciler_(reconciler),
      planner_(NodeConfig()),
      adoption_backoff_(kFirstAdoptionRetry, kLastAdoptionRetry, std::random_device()()) {}

void Agent::Run() {
  while (true) {
    const absl::Time next = NextPass();
    {
      std::unique_lock lock(mutex_);
      const auto ready = [this] { return woken_ || stopped_ || !report_requests_.empty(); };
      if (next == absl::InfiniteFuture()) {
        changed_.wait(lock, ready);
      } else {
        changed_.wait_until(lock, absl::ToChronoTime(next), ready);
      }
      if (stopped_) break;
      woken_ = false;
    }
    Pass();
    AnswerReports();
  }
  // Whoever still waits for a report gets a broken promise, and so an answer.
  const std::lock_guard lock(mutex_);
  report_requests_.clear();
}

void Agent::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_one();
}

void Agent::Wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

absl::StatusOr<AgentReport> Agent::Report() {
  std::future<AgentReport> report;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return absl::UnavailableError("the agent is stopping");
    report = report_requests_.emplace_back().get_future();
  }
  changed_.notify_one();
  if (report.wait_for(kReportWithin) != std::future_status::ready) {
    return absl::UnavailableError("the agent is busy");
  }
  try {
    return report.get();
  } catch (const std::future_error&) {
    return absl::UnavailableError("the agent is stopping");
  }
}

void Agent::AnswerReports() {
  std::vector<std::promise<AgentReport>> requests;
  {
    const std::lock_guard lock(mutex_);
    requests.swap(report_requests_);
  }
  if (requests.empty()) return;
  const AgentReport report = MakeReport();
  for (std::promise<AgentReport>& request : requests) request.set_value(report);
}

absl::Time Agent::NextPass() const {
  if (!complete_) return absl::InfiniteFuture();
  return adopted_ ? std::min(reconciler_.NextWake(), next_configuration_) : next_adoption_;
}

void Agent::Pass() {
  if (std::optional<FeedUpdate> update = environment_.take_update()) {
    ApplyUpdate(*update, snapshot_);
    position_ = update->position;
    received_ = std::min(received_, update->received);
    complete_ = true;
  }
  if (!complete_) return;
  const absl::Time now = environment_.now();
  if (!adopted_ && !Adopt(now)) return;

  const std::set<ObjectName> dirty = snapshot_.TakeDirtyServices();
  ProbeAnnotations(dirty);
  Touched touched;
  if (snapshot_.TakeDirtyNodes().contains(settings_.node_name)) config_stale_ = true;
  if (std::exchange(config_stale_, false)) touched = Reconfigure(now);
  touched.Merge(planner_.Replan(snapshot_, dirty));
  reconciler_.HoldRemovals(position_.revision < hold_until_);
  ReconcileAll(touched);
  LogChanges();
  Acknowledge(environment_.now());
}

void Agent::HoldRemovalsUntil(uint64_t revision) {
  hold_until_ = revision;
  Wake();
}

bool Agent::Adopt(absl::Time now) {
  if (now < next_adoption_) return false;
  environment_.prepare();
  // Without the addresses, node ports that are served would be taken for unwanted ones.
  absl::Status status = ReadAddresses();
  if (status.ok()) status = reconciler_.Adopt();
  if (!status.ok()) {
    const absl::Duration wait = adoption_backoff_.Next();
    next_adoption_ = now + wait;
    spdlog::error(
        "reading the kernel: {}; nothing is written before it can be read, next attempt "
        "in {}",
        std::string(status.message()), absl::FormatDuration(wait));
    return false;
  }
  adopted_ = true;
  return true;
}

absl::Status Agent::ReadAddresses() {
  absl::StatusOr<std::vector<NodeAddress>> addresses = environment_.local_addresses();
  if (!addresses.ok()) {
    return {addresses.status().code(),
            absl::StrCat("the node's addresses: ", addresses.status().message())};
  }
  local_addresses_ = *std::move(addresses);
  return absl::OkStatus();
}

Touched Agent::Reconfigure(absl::Time now) {
  next_configuration_ = absl::InfiniteFuture();
  if (absl::Status read = ReadAddresses(); !read.ok()) {
    spdlog::error("reading {}; those read before are used", std::string(read.message()));
    config_stale_ = true;
    next_configuration_ = now + kAddressRetry;
  }
  ProbeScheduler(settings_.default_scheduler);
  std::set<std::string> usable;
  for (const auto& [name, there] : schedulers_) {
    if (there) usable.insert(name);
  }
  const std::shared_ptr<const Node> node = snapshot_.FindNode(settings_.node_name);
  const NodeConfig config = MakeNodeConfig(settings_, node.get(), local_addresses_, usable);
  if (config.node_ips != planner_.config().node_ips) {
    if (config.node_ips.empty()) spdlog::warn("no address of this node is known: give --node-ip");
    for (const IpAddress& address : config.node_ips) {
      spdlog::info("node {} has address {}", config.node_name, address.Format());
    }
  }
  reconciler_.SetRouteSources(config.node_ips);
  return planner_.SetConfig(config, snapshot_);
}

void Agent::ProbeAnnotations(const std::set<ObjectName>& services) {
  for (const ObjectName& name : services) {
    const std::shared_ptr<const Service> service = snapshot_.FindService(name);
    if (service == nullptr || service->scheduler.empty()) continue;
    if (schedulers_.contains(service->scheduler)) continue;
    // A new one that can be used changes the configuration.
    if (ProbeScheduler(service->scheduler)) config_stale_ = true;
  }
}

bool Agent::ProbeScheduler(const std::string& name) {
  auto [it, added] = schedulers_.try_emplace(name, false);
  if (!added) return it->second;
  const absl::Status status = environment_.probe_scheduler(name);
  // What cannot be found out beforehand, the kernel says when it is asked for the scheduler.
  it->second = status.ok() || (!absl::IsNotFound(status) && !absl::IsInvalidArgument(status));
  if (!status.ok()) spdlog::warn("scheduler {}: {}", name, std::string(status.message()));
  return it->second;
}

void Agent::ReconcileAll(const Touched& touched) {
  const bool first = programmed_ == absl::InfinitePast();
  const absl::Time start = environment_.now();
  const WriteCounters before = reconciler_.counters();
  if (first) {
    Touched urgent;
    for (const auto& [name, plan] : planner_.desired().plans()) {
      if (!IsUrgent(name)) continue;
      for (const PlannedVirtualServer& server : plan->virtual_servers) {
        urgent.virtual_servers.insert(server.key);
      }
    }
    reconciler_.ReconcileUrgent(planner_.desired(), urgent, start);
  }
  reconciler_.Reconcile(planner_.desired(), touched, environment_.now());
  programmed_ = environment_.now();

  const WriteCounters& after = reconciler_.counters();
  const bool wrote = before != after;
  if (first || wrote) {
    spdlog::log(first ? spdlog::level::info : spdlog::level::debug,
                "{}revision {}: wrote {} operations, {} elements, {} routes in {}",
                first ? "first sync, " : "", position_.revision,
                after.operations - before.operations, after.elements - before.elements,
                after.routes - before.routes, absl::FormatDuration(programmed_ - start));
  }
}

void Agent::LogChanges() {
  std::set<std::string> warnings;
  for (std::string& warning : planner_.Warnings()) {
    if (!logged_warnings_.contains(warning)) spdlog::warn("{}", warning);
    warnings.insert(std::move(warning));
  }
  logged_warnings_ = std::move(warnings);

  for (const ipvs::VirtualServerKey& key : reconciler_.taken_over()) {
    if (!logged_taken_over_.insert(key).second) continue;
    spdlog::warn("{} was in the kernel and not Fairlead's: taken over for a Service", key.Format());
  }

  std::map<std::string, std::string> failures;
  for (ReconcileFailure& failure : reconciler_.Failures()) {
    auto it = logged_failures_.find(failure.what);
    if (it == logged_failures_.end() || it->second != failure.why) {
      spdlog::error("{}: {}; will be tried again", failure.what, failure.why);
    }
    failures[failure.what] = failure.why;
  }
  for (const auto& [what, why] : logged_failures_) {
    if (!failures.contains(what)) spdlog::info("{}: made good", what);
  }
  logged_failures_ = std::move(failures);
}

void Agent::Acknowledge(absl::Time now) {
  std::vector<ObjectFailure> failures;
  for (const ReconcileFailure& failure : reconciler_.Failures()) {
    if (!failure.virtual_server.has_value()) continue;
    const PlannedVirtualServer* server =
        planner_.desired().FindVirtualServer(*failure.virtual_server);
    if (server == nullptr) continue;
    failures.push_back(
        {{ObjectKind::kService, server->service}, absl::StrCat(failure.what, ": ", failure.why)});
  }
  const bool fresh = received_ != absl::InfiniteFuture();
  if (!fresh && acknowledged_ == position_ && acknowledged_failures_ == failures) return;
  const absl::Duration took = fresh ? now - received_ : absl::ZeroDuration();
  environment_.acknowledge(position_, took, failures);
  acknowledged_ = position_;
  acknowledged_failures_ = std::move(failures);
  received_ = absl::InfiniteFuture();
}

AgentReport Agent::MakeReport() const {
  AgentReport report;
  report.node_name = settings_.node_name;
  report.complete = complete_;
  report.revision = programmed_ == absl::InfinitePast() ? 0 : position_.revision;
  report.programmed = programmed_;
  for (const auto& [name, plan] : planner_.desired().plans()) report.plans.push_back(plan);
  report.owned = reconciler_.OwnedVirtualServers();
  report.draining = reconciler_.Draining();
  report.failures = reconciler_.Failures();
  report.warnings = planner_.Warnings();
  report.counters = reconciler_.counters();
  return report;
}

}  // namespace fairlead
