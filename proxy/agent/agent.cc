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

namespace fairlead {
namespace {

// Between two attempts to read the kernel for the first time.
constexpr absl::Duration kFirstAdoptionRetry = absl::Milliseconds(200);
constexpr absl::Duration kLastAdoptionRetry = absl::Seconds(30);

// Between two attempts to read the node's addresses, when they may have changed.
constexpr absl::Duration kAddressRetry = absl::Seconds(1);

// A pass over 10,000 Services takes seconds on a slow machine; an inspection waits that long.
constexpr std::chrono::seconds kAnswerWithin{20};

// For affinity where the kernel's persistence does not do, see NodeConfig.
constexpr char kAffinityScheduler[] = "mh";

// Everything in a cluster needs these, so they come first when a node starts.
bool IsUrgent(const ObjectName& service) {
  return service == ObjectName{"default", "kubernetes"} ||
         (service.name_space == "kube-system" &&
          (service.name == "kube-dns" || service.name == "coredns"));
}

}  // namespace

Agent::Agent(NodeSettings settings, AgentEnvironment environment, Reconciler& reconciler,
             AgentSigns signs)
    : settings_(std::move(settings)),
      environment_(std::move(environment)),
      reconciler_(reconciler),
      signs_(signs),
      planner_(NodeConfig()),
      adoption_backoff_(kFirstAdoptionRetry, kLastAdoptionRetry, std::random_device()()) {}

void Agent::Run() {
  while (true) {
    const absl::Time next = NextPass();
    {
      std::unique_lock lock(mutex_);
      const auto ready = [this] { return woken_ || stopped_ || !questions_.empty(); };
      if (next == absl::InfiniteFuture()) {
        changed_.wait(lock, ready);
      } else {
        changed_.wait_until(lock, absl::ToChronoTime(next), ready);
      }
      if (stopped_) break;
      woken_ = false;
    }
    Pass();
    AnswerQuestions();
  }
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
absl::StatusOr<Answer> Agent::Ask(std::function<Answer()> question) {
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
  if (answer.wait_for(kAnswerWithin) != std::future_status::ready) {
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

absl::StatusOr<TableSizes> Agent::CountTable() {
  return Ask<TableSizes>([this] {
    const Reconciler::Sizes owned = reconciler_.CountOwned();
    return TableSizes{.services = planner_.desired().plans().size(),
                      .virtual_servers = owned.virtual_servers,
                      .real_servers = owned.real_servers,
                      .draining = owned.draining};
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
  return std::min({reconciler_.NextWake(), next_configuration_, signs_.health_checks.NextRetry()});
}

void Agent::Pass() {
  if (std::optional<FeedUpdate> update = environment_.take_update()) {
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
  if (addresses_changed_.exchange(false)) config_stale_ = true;
  if (snapshot_.TakeDirtyNodes().contains(settings_.node_name)) {
    config_stale_ = true;
    const std::shared_ptr<const Node> node = snapshot_.FindNode(settings_.node_name);
    signs_.health.SetEligible(node == nullptr || !node->being_removed);
  }
  bool all_planned = false;
  if (std::exchange(config_stale_, false)) touched = Reconfigure(now, all_planned);
  if (!all_planned) touched.Merge(planner_.Replan(snapshot_, dirty));
  reconciler_.HoldRemovals(partial_);
  ReconcileAll(touched);
  signs_.health.ChangesDone(programmed_);
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
    if (config.node_ips.empty()) spdlog::warn("no address of this node is known: give --node-ip");
    for (const IpAddress& address : config.node_ips) {
      spdlog::info("node {} has address {}", config.node_name, address.Format());
    }
  }
  reconciler_.SetRouteSources(config.node_ips);
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
  signs_.metrics.ObserveSync(environment_.now() - start);
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
  metrics.SetHealthCheckPortProblems(static_cast<int>(signs_.health_checks.Problems().size()));
}

void Agent::LogChanges() {
  std::set<std::string> problems;
  for (std::string& problem : signs_.health_checks.Problems()) {
    if (!logged_health_problems_.contains(problem)) spdlog::warn("{}", problem);
    problems.insert(std::move(problem));
  }
  logged_health_problems_ = std::move(problems);

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

std::vector<ObjectFailure> Agent::FailuresByObject() const {
  // What belongs to no Service, the ruleset above all, is the Node's.
  const ObjectId node{ObjectKind::kNode, {"", settings_.node_name}};
  std::vector<ObjectFailure> failures;
  std::map<ObjectId, int> more;
  for (const ReconcileFailure& failure : reconciler_.Failures()) {
    const PlannedVirtualServer* server =
        failure.virtual_server.has_value()
            ? planner_.desired().FindVirtualServer(*failure.virtual_server)
            : nullptr;
    ObjectId object = server == nullptr ? node : ObjectId{ObjectKind::kService, server->service};
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
