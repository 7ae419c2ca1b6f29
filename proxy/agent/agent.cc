#include "proxy/agent/agent.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/kernel/ruleset.h"
#include "watcher/feed/apply.h"
#include "watcher/log_object.h"

namespace fairlead {
namespace {

// Between two attempts to read the kernel for the first time.
constexpr absl::Duration kFirstAdoptionRetry = absl::Milliseconds(200);
constexpr absl::Duration kLastAdoptionRetry = absl::Seconds(30);

// Between two attempts to read the node's addresses, when they may have changed.
constexpr absl::Duration kAddressRetry = absl::Seconds(1);

// For affinity where the kernel's persistence does not do, see NodeConfig.
constexpr char kAffinityScheduler[] = "mh";

// Services that everything in a cluster needs, and that come first when a node starts.
struct UrgentPart {
  FirstSync part;
  std::vector<ObjectName> services;
};
const std::vector<UrgentPart>& UrgentParts() {
  static const auto& parts = *new std::vector<UrgentPart>{
      {FirstSync::kApiServer, {{"default", "kubernetes"}}},
      {FirstSync::kDns, {{"kube-system", "kube-dns"}, {"kube-system", "coredns"}}}};
  return parts;
}

void CountChanges(const FeedUpdate& update, AgentMetrics& metrics) {
  size_t services = 0;
  size_t slices = 0;
  const auto count = [&](ObjectKind kind) {
    if (kind == ObjectKind::kService) ++services;
    if (kind == ObjectKind::kEndpointSlice) ++slices;
  };
  for (const Object& object : update.upserts) count(IdOf(object).kind);
  for (const ObjectId& id : update.removals) count(id.kind);
  metrics.CountChanges(services, slices);
}

std::string FormatService(const ObjectName& service) {
  return ObjectId{ObjectKind::kService, service}.Format();
}

// At debug. Where more has come at once it is not told by object, which would keep the loop busy.
constexpr size_t kMaxToldObjects = 1000;

void LogUpdate(const FeedUpdate& update) {
  if (!spdlog::should_log(spdlog::level::debug)) return;
  const std::string revision = absl::StrCat("revision ", update.position.revision, ": ");
  if (update.snapshot || update.upserts.size() + update.removals.size() > kMaxToldObjects) {
    spdlog::debug("{}{}{} objects that are new or have changed, {} that are gone", revision,
                  update.snapshot ? "a whole picture: " : "", update.upserts.size(),
                  update.removals.size());
    return;
  }
  const auto log = [&revision](const ObjectId& id, absl::string_view what) {
    LogAbout(spdlog::level::debug, id.Format(), absl::StrCat(revision, id.Format(), what));
  };
  for (const Object& object : update.upserts) log(IdOf(object), " is new or has changed");
  for (const ObjectId& id : update.removals) log(id, " is gone");
}

// kube-proxy has a number for each family that its node has.
std::set<IpFamily> FamiliesOf(const NodeConfig& config) {
  std::set<IpFamily> families;
  for (const IpAddress& address : config.node_ips) families.insert(address.family());
  if (families.empty()) families.insert(IpFamily::kIpv4);
  return families;
}

absl::string_view DescribeFirstSync(FirstSync part) {
  switch (part) {
    case FirstSync::kApiServer:
      return "the API server's Service";
    case FirstSync::kDns:
      return "DNS";
    case FirstSync::kEverything:
      break;
  }
  return "every Service";
}

}  // namespace

Agent::Agent(NodeSettings settings, AgentEnvironment environment, Reconciler& reconciler,
             AgentSigns signs)
    : settings_(std::move(settings)),
      environment_(std::move(environment)),
      reconciler_(reconciler),
      signs_(signs),
      planner_(NodeConfig()),
      adoption_backoff_(kFirstAdoptionRetry, kLastAdoptionRetry, std::random_device()()),
      started_(environment_.now()),
      awaited_({FirstSync::kApiServer, FirstSync::kDns, FirstSync::kEverything}) {
  if (environment_.uptime) {
    clock_ahead_ = environment_.now() - absl::UnixEpoch() - environment_.uptime();
  }
  for (int kind = 0; kind < kDriftKinds; ++kind) {
    signs_.metrics.CountRepairs(FormatDriftKind(static_cast<DriftKind>(kind)), 0);
  }
}

void Agent::Run() {
  while (true) {
    const absl::Time next = NextPass();
    {
      std::unique_lock lock(mutex_);
      const auto ready = [this] { return woken_ || stopped_ || !questions_.empty(); };
      if (next == absl::InfiniteFuture()) {
        changed_.wait(lock, ready);
      } else {
        // Not until a time of day, which somebody may set.
        changed_.wait_for(lock, absl::ToChronoNanoseconds(next - environment_.now()), ready);
      }
      if (stopped_) break;
      woken_ = false;
    }
    Pass();
    AnswerQuestions();
    // After the pass, which holds lists of all that it touches.
    if (std::exchange(worked_on_picture_, false) && environment_.release_memory) {
      environment_.release_memory();
    }
  }
  next_drain_save_ = absl::InfinitePast();
  SaveDrains(environment_.now());
  // Whoever still waits for an answer gets a broken promise.
  const std::lock_guard lock(mutex_);
  questions_.clear();
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

template <typename Answer>
absl::StatusOr<Answer> Agent::Ask(std::function<Answer()> question, absl::Duration within) {
  // Shared with the loop, which may come to it after we have given up.
  const auto promise = std::make_shared<std::promise<Answer>>();
  std::future<Answer> answer = promise->get_future();
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return absl::UnavailableError("the agent is stopping");
    questions_.push_back(
        [promise, question = std::move(question)] { promise->set_value(question()); });
  }
  changed_.notify_one();
  if (answer.wait_for(absl::ToChronoNanoseconds(within)) != std::future_status::ready) {
    return absl::UnavailableError("the agent is busy");
  }
  try {
    return answer.get();
  } catch (const std::future_error&) {
    return absl::UnavailableError("the agent is stopping");
  }
}

absl::StatusOr<AgentReport> Agent::Report() {
  return Ask<AgentReport>([this] { return MakeReport(); });
}

absl::StatusOr<Explanation> Agent::Explain(const ExplainQuery& query) {
  auto explanation =
      Ask<absl::StatusOr<Explanation>>([this, query]() -> absl::StatusOr<Explanation> {
        if (programmed_ == absl::InfinitePast()) {
          return absl::FailedPreconditionError(
              "nothing is planned yet: a complete picture has not come, or the kernel cannot be "
              "read");
        }
        return fairlead::Explain(query, planner_, snapshot_);
      });
  if (!explanation.ok()) return explanation.status();
  return *std::move(explanation);
}

absl::StatusOr<TableSizes> Agent::CountTable(absl::Duration within) {
  return Ask<TableSizes>(
      [this] {
        const Reconciler::Sizes owned = reconciler_.CountOwned();
        return TableSizes{.services = planner_.desired().plans().size(),
                          .virtual_servers = owned.virtual_servers,
                          .real_servers = owned.real_servers,
                          .draining = owned.draining};
      },
      within);
}

absl::StatusOr<WantedState> Agent::Wanted() {
  return Ask<WantedState>([this] {
    WantedState wanted{.complete = complete_};
    const DesiredState& desired = planner_.desired();
    for (const auto& [name, plan] : desired.plans()) wanted.plans.push_back(plan);
    wanted.servers = desired.VirtualServers();
    wanted.elements = desired.Elements();
    wanted.routes = reconciler_.WantedRoutes(desired);
    wanted.ruleset = reconciler_.ruleset();
    wanted.owned = reconciler_.OwnedVirtualServers();
    wanted.draining = reconciler_.Draining();
    wanted.retiring = reconciler_.Retiring();
    std::sort(wanted.elements.begin(), wanted.elements.end());
    return wanted;
  });
}

absl::StatusOr<std::map<ObjectName, Snapshot::Slices>> Agent::Slices(
    const std::set<ObjectName>& services) {
  using SlicesOfServices = std::map<ObjectName, Snapshot::Slices>;
  return Ask<SlicesOfServices>([this, services] {
    SlicesOfServices slices;
    for (const ObjectName& name : services) slices[name] = snapshot_.SlicesOf(name);
    return slices;
  });
}

absl::StatusOr<size_t> Agent::EndDrains(std::function<bool(const DrainingServer&)> which) {
  return Ask<size_t>([this, which = std::move(which)] {
    return reconciler_.EndDrains(which, environment_.now());
  });
}

void Agent::AnswerQuestions() {
  std::vector<std::function<void()>> questions;
  {
    const std::lock_guard lock(mutex_);
    questions.swap(questions_);
  }
  for (const std::function<void()>& question : questions) question();
}

absl::Time Agent::NextPass() const {
  if (!complete_) return saved_usable_at_;
  if (!adopted_) return next_adoption_;
  const absl::Time never = absl::InfiniteFuture();
  const bool unsaved = environment_.save_drains && saved_drains_ != reconciler_.drains_version();
  return std::min({reconciler_.NextWake(), next_configuration_, signs_.health_checks.NextRetry(),
                   environment_.repair_settings ? next_settings_check_ : never,
                   unsaved ? next_drain_save_ : never,
                   environment_.take_over && MayTakeOver() ? next_take_over_ : never});
}

void Agent::FollowClock() {
  if (!environment_.uptime) return;
  constexpr absl::Duration kStep = absl::Seconds(1);
  const absl::Duration ahead = environment_.now() - absl::UnixEpoch() - environment_.uptime();
  const absl::Duration step = ahead - std::exchange(clock_ahead_, ahead);
  if (absl::AbsDuration(step) < kStep) return;
  spdlog::warn("the clock was set by {}",
               absl::FormatDuration(absl::Trunc(step, absl::Milliseconds(1))));
  reconciler_.ClockStepped(step);
  for (absl::Time* time : {&next_adoption_, &next_configuration_, &saved_usable_at_,
                           &next_settings_check_, &next_take_over_, &next_drain_save_}) {
    *time += step;
  }
}

void Agent::Pass() {
  FollowClock();
  bool quiet = true;
  if (std::optional<FeedUpdate> update = environment_.take_update()) {
    quiet = false;
    if (update->snapshot) worked_on_picture_ = true;
    LogUpdate(*update);
    CountChanges(*update, signs_.metrics);
    ApplyUpdate(*update, snapshot_);
    position_ = update->position;
    partial_ = update->partial;
    received_ = std::min(received_, update->received);
    saved_ = update->saved;
    if (update->oldest_trigger) {
      oldest_trigger_ =
          std::min(oldest_trigger_.value_or(*update->oldest_trigger), *update->oldest_trigger);
    }
    if (!saved_) {
      signs_.health.ChangePending(update->received);
      complete_ = true;
    }
  }
  const absl::Time now = environment_.now();
  if (!complete_ && saved_) complete_ = UseSavedPicture(now);
  if (!complete_) return;
  if (!adopted_ && !Adopt(now)) return;

  const std::set<ObjectName> dirty = snapshot_.TakeDirtyServices();
  ProbeAnnotations(dirty);
  Touched touched;
  if (addresses_changed_.exchange(false)) {
    config_stale_ = true;
    // The kernel does not tell of those that went with an address.
    reconciler_.SuspectRoutes();
  }
  if (firewall_changed_.exchange(false)) reconciler_.SuspectFirewall();
  if (routes_changed_.exchange(false)) reconciler_.SuspectRoutes();
  if (snapshot_.TakeDirtyNodes().contains(settings_.node_name)) {
    config_stale_ = true;
    const std::shared_ptr<const Node> node = snapshot_.FindNode(settings_.node_name);
    signs_.health.SetEligible(node == nullptr || !node->being_removed);
  }
  bool all_planned = false;
  if (std::exchange(config_stale_, false)) {
    quiet = false;
    touched = Reconfigure(now, all_planned);
  }
  if (!all_planned) touched.Merge(planner_.Replan(snapshot_, dirty));
  PublishNames(touched);
  if (received_ != absl::InfiniteFuture()) signs_.metrics.SetLastQueued(received_);
  reconciler_.HoldRemovals(partial_);
  if (ReconcileAll(std::move(touched))) quiet = false;
  signs_.health.ChangesDone(programmed_);
  signs_.metrics.ChangesDone();
  NoteReady();
  SaveDrains(now);
  TakeOver(now);
  // A look at what is there, and there was nothing.
  if (quiet && now < signs_.health_checks.NextRetry()) return;
  std::set<ObjectName> checked = dirty;
  if (all_planned) {
    for (const auto& [name, plan] : planner_.desired().plans()) checked.insert(name);
  }
  UpdateHealthChecks(checked);
  UpdateMetrics();
  LogChanges();
  Acknowledge(environment_.now());
}

void Agent::AddressesChanged() {
  addresses_changed_ = true;
  Wake();
}

void Agent::FirewallChanged() {
  firewall_changed_ = true;
  Wake();
}

void Agent::RoutesChanged() {
  routes_changed_ = true;
  Wake();
}

bool Agent::UseSavedPicture(absl::Time now) {
  if (saved_usable_at_ == absl::InfiniteFuture()) saved_usable_at_ = now + kSavedPictureGrace;
  if (now < saved_usable_at_) return false;
  spdlog::warn("no feeder answers: using the picture that was saved {} ago",
               absl::FormatDuration(absl::Trunc(now - *saved_, absl::Seconds(1))));
  return true;
}

bool Agent::Adopt(absl::Time now) {
  if (now < next_adoption_) return false;
  environment_.prepare();
  // Without the addresses, node ports that are served would be taken for unwanted ones.
  absl::Status status = ReadAddresses();
  SetRuleset();
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
  next_settings_check_ = now + kSettingsCheck;
  if (environment_.load_drains) reconciler_.RestoreDrains(environment_.load_drains());
  planner_.RestoreMarks(reconciler_.Marks());
  return true;
}

void Agent::SetRuleset() {
  const std::shared_ptr<const Node> node = snapshot_.FindNode(settings_.node_name);
  reconciler_.SetRuleset(
      RulesetText({.pods = MakePodDetector(settings_, node.get()), .marks = settings_.marks}));
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

Touched Agent::Reconfigure(absl::Time now, bool& all_planned) {
  next_configuration_ = absl::InfiniteFuture();
  if (absl::Status read = ReadAddresses(); !read.ok()) {
    spdlog::error("reading {}; those read before are used", std::string(read.message()));
    config_stale_ = true;
    next_configuration_ = now + kAddressRetry;
  }
  SetRuleset();
  ProbeScheduler(settings_.default_scheduler);
  ProbeScheduler(kAffinityScheduler);
  std::set<std::string> usable;
  for (const auto& [name, there] : schedulers_) {
    if (there) usable.insert(name);
  }
  const std::shared_ptr<const Node> node = snapshot_.FindNode(settings_.node_name);
  const NodeConfig config = MakeNodeConfig(settings_, node.get(), local_addresses_, usable);
  if (config.node_ips != planner_.config().node_ips) {
    const std::string object = ObjectId{ObjectKind::kNode, {"", config.node_name}}.Format();
    if (config.node_ips.empty()) {
      LogAbout(spdlog::level::warn, object,
               absl::StrCat("no address of node ", config.node_name, " is known: give --node-ip"));
    }
    for (const IpAddress& address : config.node_ips) {
      LogAbout(spdlog::level::info, object,
               absl::StrCat("node ", config.node_name, " has address ", address.Format()));
    }
  }
  reconciler_.SetRouteSources(config.node_ips);
  signs_.metrics.SetFamilies(FamiliesOf(config));
  all_planned = config != planner_.config();
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

bool Agent::ReconcileAll(Touched touched) {
  const bool anything_touched = !touched.empty();
  const bool first = programmed_ == absl::InfinitePast();
  const absl::Time start = environment_.now();
  const WriteCounters before = reconciler_.counters();
  const bool failed_before = reconciler_.HasFailures();
  if (first) ReconcileUrgent();
  reconciler_.Reconcile(planner_.desired(), std::move(touched), environment_.now());
  programmed_ = environment_.now();
  if (!awaited_.empty()) NoteFirstSync();

  const WriteCounters& after = reconciler_.counters();
  const bool wrote = before != after;
  if (first || wrote || anything_touched) signs_.metrics.ObserveSync(programmed_ - start);
  if (first || wrote) {
    spdlog::log(first ? spdlog::level::info : spdlog::level::debug,
                "{}revision {}: wrote {} operations, {} elements, {} routes in {}",
                first ? "first sync, " : "", position_.revision,
                after.operations - before.operations, after.elements - before.elements,
                after.routes - before.routes, absl::FormatDuration(programmed_ - start));
  }
  const bool drifted = TellDrift();
  return first || wrote || drifted || failed_before || reconciler_.HasFailures();
}

void Agent::ReconcileUrgent() {
  for (const UrgentPart& part : UrgentParts()) {
    Touched urgent;
    for (const ObjectName& name : part.services) {
      const auto plan = planner_.desired().plans().find(name);
      if (plan == planner_.desired().plans().end()) continue;
      for (const PlannedVirtualServer& server : plan->second->virtual_servers) {
        urgent.virtual_servers.insert(server.key);
      }
    }
    reconciler_.ReconcileUrgent(planner_.desired(), urgent, environment_.now());
    NoteFirstSync();
  }
}

bool Agent::Works(const ObjectName& service) const {
  const auto plan = planner_.desired().plans().find(service);
  if (plan == planner_.desired().plans().end()) return false;
  const auto& servers = plan->second->virtual_servers;
  return !servers.empty() &&
         std::all_of(servers.begin(), servers.end(), [this](const PlannedVirtualServer& server) {
           return reconciler_.IsInPlace(planner_.desired(), server.key);
         });
}

void Agent::NoteFirstSync() {
  const auto note = [this](FirstSync part) {
    if (awaited_.erase(part) == 0) return;
    const absl::Duration after = environment_.now() - started_;
    signs_.metrics.SetFirstSync(part, after);
    spdlog::info("{} works, {} after the start", std::string(DescribeFirstSync(part)),
                 absl::FormatDuration(absl::Trunc(after, absl::Milliseconds(1))));
  };
  for (const UrgentPart& part : UrgentParts()) {
    if (std::any_of(part.services.begin(), part.services.end(),
                    [this](const ObjectName& name) { return Works(name); })) {
      note(part.part);
    }
  }
  if (programmed_ != absl::InfinitePast() && !reconciler_.HasFailures()) {
    note(FirstSync::kEverything);
    // A cluster need not have the others; one that comes later is no first sync.
    awaited_.clear();
  }
}

void Agent::NoteReady() {
  if (ready_) return;
  const std::vector<const PlannedVirtualServer*> wanted = planner_.desired().VirtualServers();
  const auto in_place =
      std::count_if(wanted.begin(), wanted.end(), [this](const PlannedVirtualServer* server) {
        return reconciler_.IsInPlace(planner_.desired(), server->key);
      });
  if (2 * static_cast<size_t>(in_place) < wanted.size()) return;
  ready_ = true;
  signs_.health.SetReady();
}

bool Agent::TellDrift() {
  signs_.metrics.SetAuditCycle(reconciler_.audit_took());
  DriftReport drift = reconciler_.TakeDrift();
  if (const absl::Time now = environment_.now();
      environment_.repair_settings && now >= next_settings_check_) {
    next_settings_check_ = now + kSettingsCheck;
    environment_.repair_settings(drift);
  }
  for (const auto& [kind, count] : drift.counts()) {
    signs_.metrics.CountRepairs(FormatDriftKind(kind), count);
  }
  LogDrift(drift, environment_.now());
  return !drift.empty();
}

void Agent::LogDrift(const DriftReport& drift, absl::Time now) {
  const char* done = reconciler_.HasFailures() ? "is to be put right" : "put right";
  for (const auto& [kind, count] : drift.counts()) drift_logs_[kind].untold += count;
  for (auto& [kind, log] : drift_logs_) {
    if (log.untold == 0 || now < log.next) continue;
    log.next = now + kDriftLog;
    if (const auto examples = drift.examples().find(kind); examples != drift.examples().end()) {
      for (const std::string& example : examples->second) spdlog::warn("{}: {}", example, done);
      log.untold -= examples->second.size();
    }
    if (log.untold > 0) {
      spdlog::warn("{} more of this kind ({}): {}", log.untold, std::string(FormatDriftKind(kind)),
                   done);
    }
    log.untold = 0;
  }
}

bool Agent::MayTakeOver() const {
  // What a picture lacks may still be served by the other proxy. What fails is tried again, and
  // brings another pass; so does a whole picture.
  return !partial_ && !reconciler_.HasFailures();
}

void Agent::TakeOver(absl::Time now) {
  if (!environment_.take_over || now < next_take_over_ || !MayTakeOver()) return;
  next_take_over_ = environment_.take_over() ? absl::InfiniteFuture() : now + kTakeOverRetry;
}

void Agent::SaveDrains(absl::Time now) {
  if (!environment_.save_drains || saved_drains_ == reconciler_.drains_version() ||
      now < next_drain_save_) {
    return;
  }
  next_drain_save_ = now + kDrainSave;
  const uint64_t version = reconciler_.drains_version();
  if (environment_.save_drains(reconciler_.Draining())) saved_drains_ = version;
}

void Agent::UpdateHealthChecks(const std::set<ObjectName>& services) {
  HealthCheckPorts& checks = signs_.health_checks;
  checks.SetAddresses(planner_.config().node_port_addresses);
  for (const ObjectName& name : services) {
    const auto it = planner_.desired().plans().find(name);
    const bool wanted =
        it != planner_.desired().plans().end() && it->second->health_check.port != 0;
    if (wanted) {
      const PlannedHealthCheck& check = it->second->health_check;
      checks.SetService(name, check.port, check.local_endpoints);
    } else {
      checks.RemoveService(name);
    }
  }
  checks.Retry(environment_.now());
}

void Agent::PublishNames(const Touched& touched) {
  if (signs_.names == nullptr || touched.virtual_servers.empty()) return;
  const DesiredState& desired = planner_.desired();
  std::vector<std::pair<ipvs::VirtualServerKey, ServiceNames::Server>> changes;
  changes.reserve(touched.virtual_servers.size());
  for (const ipvs::VirtualServerKey& key : touched.virtual_servers) {
    const PlannedVirtualServer* server = desired.FindVirtualServer(key);
    // Kept by the plan that it is of.
    ServiceNames::Server name;
    if (server != nullptr) name = {desired.plans().at(server->service), server};
    changes.emplace_back(key, std::move(name));
  }
  signs_.names->Put(std::move(changes));
}

void Agent::UpdateMetrics() {
  AgentMetrics& metrics = signs_.metrics;
  std::map<ObjectName, int> lost;
  for (const Conflict& conflict : planner_.desired().Conflicts()) ++lost[conflict.loser];
  std::vector<ServiceConflicts> conflicts;
  conflicts.reserve(lost.size());
  for (const auto& [name, count] : lost) conflicts.push_back({name, count});
  metrics.SetConflicts(conflicts);
  metrics.SetLastSync(programmed_);
  metrics.SetSyncFailures(static_cast<int>(reconciler_.Failures().size()));
  const WriteCounters& written = reconciler_.counters();
  metrics.SetKernelWrites(
      {.ipvs = written.operations, .elements = written.elements, .routes = written.routes});
  metrics.SetConntrackFlowsDeleted(written.flows);
  const DrainCounts& drains = reconciler_.drain_counts();
  metrics.SetDrains({.started = drains.started,
                     .idle = drains.idle,
                     .timeout = drains.timeout,
                     .at_once = drains.at_once,
                     .command = drains.command,
                     .returned = drains.returned,
                     .gone = drains.gone});
  metrics.SetHealthCheckPortProblems(static_cast<int>(signs_.health_checks.Problems().size()));
}

void Agent::LogChanges() {
  std::set<std::string> problems;
  for (auto& [problem, service] : signs_.health_checks.ServicesWithProblems()) {
    if (!logged_health_problems_.contains(problem)) {
      LogAbout(spdlog::level::warn, FormatService(service), problem);
    }
    problems.insert(problem);
  }
  logged_health_problems_ = std::move(problems);

  std::set<std::string> warnings;
  auto by_service = planner_.WarningsByService();
  for (auto& [service, of_service] : by_service) {
    for (std::string& warning : of_service) {
      if (!logged_warnings_.contains(warning)) {
        LogAbout(spdlog::level::warn, FormatService(service), warning);
      }
      warnings.insert(std::move(warning));
    }
  }
  logged_warnings_ = std::move(warnings);

  for (const ipvs::VirtualServerKey& key : reconciler_.taken_over()) {
    if (!logged_taken_over_.insert(key).second) continue;
    const PlannedVirtualServer* server = planner_.desired().FindVirtualServer(key);
    const std::string object = server == nullptr ? "" : FormatService(server->service);
    LogAbout(spdlog::level::warn, object,
             absl::StrCat(key.Format(), " was in the kernel and not Fairlead's: taken over for ",
                          object.empty() ? "a Service" : object));
  }
  LogFailures();
}

void Agent::LogFailures() {
  const auto log = [](spdlog::level::level_enum level, const std::optional<ObjectName>& service,
                      absl::string_view what, absl::string_view how) {
    const std::string object = service ? FormatService(*service) : "";
    LogAbout(level, object, absl::StrCat(object, object.empty() ? "" : ": ", what, ": ", how));
  };
  std::map<std::string, LoggedFailure> failures;
  for (const ReconcileFailure& failure : reconciler_.Failures()) {
    LoggedFailure logged{failure.why, ServiceOf(failure)};
    const auto before = logged_failures_.find(failure.what);
    if (before == logged_failures_.end() || before->second.why != failure.why) {
      log(spdlog::level::err, logged.service, failure.what,
          absl::StrCat(failure.why, "; will be tried again"));
    }
    failures[failure.what] = std::move(logged);
  }
  for (const auto& [what, logged] : logged_failures_) {
    if (!failures.contains(what)) log(spdlog::level::info, logged.service, what, "made good");
  }
  logged_failures_ = std::move(failures);
}

std::optional<ObjectName> Agent::ServiceOf(const ReconcileFailure& failure) const {
  const PlannedVirtualServer* server =
      failure.virtual_server ? planner_.desired().FindVirtualServer(*failure.virtual_server)
                             : nullptr;
  return server == nullptr ? std::nullopt : std::make_optional(server->service);
}

std::vector<ObjectFailure> Agent::FailuresByObject() const {
  // What belongs to no Service, the ruleset above all, is the Node's.
  const ObjectId node{ObjectKind::kNode, {"", settings_.node_name}};
  std::vector<ObjectFailure> failures;
  std::map<ObjectId, int> more;
  for (const ReconcileFailure& failure : reconciler_.Failures()) {
    const std::optional<ObjectName> service = ServiceOf(failure);
    ObjectId object = service ? ObjectId{ObjectKind::kService, *service} : node;
    const auto [it, first] = more.try_emplace(object, 0);
    if (first) {
      failures.push_back({std::move(object), absl::StrCat(failure.what, ": ", failure.why)});
    } else {
      ++it->second;
    }
  }
  for (ObjectFailure& failure : failures) {
    const int others = more.at(failure.object);
    if (others > 0) absl::StrAppend(&failure.message, " (and ", others, " more)");
  }
  return failures;
}

void Agent::Acknowledge(absl::Time now) {
  std::vector<ObjectFailure> failures = FailuresByObject();
  const bool fresh = received_ != absl::InfiniteFuture();
  if (!fresh && acknowledged_ == position_ && acknowledged_failures_ == failures) return;
  const absl::Duration took = fresh ? now - received_ : absl::ZeroDuration();
  if (fresh && oldest_trigger_ && *oldest_trigger_ <= now) {
    signs_.metrics.ObserveProgramming(now - *oldest_trigger_);
  }
  oldest_trigger_.reset();
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
  report.saved = saved_;
  for (const auto& [name, plan] : planner_.desired().plans()) report.plans.push_back(plan);
  report.servers = planner_.desired().VirtualServers();
  report.owned = reconciler_.OwnedVirtualServers();
  report.draining = reconciler_.Draining();
  report.failures = reconciler_.Failures();
  report.warnings = planner_.Warnings();
  report.counters = reconciler_.counters();
  return report;
}

}  // namespace fairlead
