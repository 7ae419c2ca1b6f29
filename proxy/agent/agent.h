// The agent's loop: takes what the feed has brought, plans it, and has it reconciled.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proxy/agent/node_settings.h"
#include "proxy/agent/report.h"
#include "proxy/explain/explain.h"
#include "proxy/health/health_check_ports.h"
#include "proxy/health/metrics.h"
#include "proxy/health/node_health.h"
#include "proxy/metrics/service_names.h"
#include "proxy/plan/planner.h"
#include "proxy/reconcile/reconciler.h"
#include "watcher/feed/backoff.h"
#include "watcher/feed/feed_update.h"
#include "watcher/snapshot.h"

namespace fairlead {

// What the agent needs from the world around it, besides the tables of the kernel.
struct AgentEnvironment {
  std::function<absl::Time()> now;
  // Of a clock that nobody sets. Unset: `now` is of such a one.
  std::function<absl::Duration()> uptime = {};
  // Updates of the feed that have come since the last call, merged.
  std::function<std::optional<FeedUpdate>()> take_update;
  // Tells the feed what is in the kernel. May be called again for one revision.
  std::function<void(const FeedPosition& position, absl::Duration programming_time,
                     const std::vector<ObjectFailure>& failures)>
      acknowledge;
  // Addresses of the node's devices.
  std::function<absl::StatusOr<std::vector<NodeAddress>>()> local_addresses;
  // OK if the kernel has the scheduler, NOT_FOUND if not; other errors: it could not be found out.
  std::function<absl::Status(const std::string&)> probe_scheduler;
  // What else has to be set up before the first write, sysctls above all. Problems are its own to
  // log: they do not keep the agent from working.
  std::function<void()> prepare;
  // Sets those settings again that somebody has changed, and tells which they were. Unset: nobody
  // looks.
  std::function<void(DriftReport&)> repair_settings = {};
  // Called once everything is in the kernel, and again after a while if it returns false. Unset:
  // there is nothing to do then.
  std::function<bool()> take_over = {};
  // Drains that a former agent on this node has left, and where they are kept for the next one.
  // Unset: a restart begins them anew.
  std::function<std::vector<DrainingServer>()> load_drains = {};
  // False: it could not be done, and is to be tried again.
  std::function<bool(const std::vector<DrainingServer>&)> save_drains = {};
  // A whole picture has been worked on, which for a while took more memory than it will. Unset:
  // nobody gives it back.
  std::function<void()> release_memory = {};
};

// What of the agent others are told.
struct AgentSigns {
  NodeHealth& health;
  HealthCheckPorts& health_checks;
  AgentMetrics& metrics;
  // Whose the virtual servers are. Null: nobody asks.
  ServiceNames* names = nullptr;
};

// How long after the start a feeder has to answer before a saved picture is used: one that answers
// has the newer one.
inline constexpr absl::Duration kSavedPictureGrace = absl::Seconds(3);

// How often the settings of the kernel are looked at.
inline constexpr absl::Duration kSettingsCheck = absl::Seconds(10);

// Between two attempts to take over from another proxy.
inline constexpr absl::Duration kTakeOverRetry = absl::Seconds(10);

// Between two reports of one kind of change by others: somebody may be at it all the time.
inline constexpr absl::Duration kDriftLog = absl::Seconds(10);

// A pass over 10,000 Services takes seconds on a slow machine; an inspection waits that long.
inline constexpr absl::Duration kAnswerWithin = absl::Seconds(20);

// Between two savings of the drains: an agent that is killed forgets what it has noted since.
inline constexpr absl::Duration kDrainSave = absl::Seconds(1);

// Owns the picture, the planner and what follows from them; the thread in Run is the only one that
// touches them and the reconciler. What wakes, stops or asks it is thread-safe.
class Agent {
 public:
  // `reconciler` and `signs` outlive the agent.
  Agent(NodeSettings settings, AgentEnvironment environment, Reconciler& reconciler,
        AgentSigns signs);

  // Works until Stop. Leaves the kernel as it is.
  void Run();
  void Stop();
  // Something has come for Run to take.
  void Wake();

  // The addresses of the node's devices are others.
  void AddressesChanged();
  // Somebody else may have changed Fairlead's firewall, or its routes.
  void FirewallChanged();
  void RoutesChanged();

  // Made by Run between two passes. UNAVAILABLE: Run has ended, or is too busy to answer in time.
  absl::StatusOr<AgentReport> Report();
  // The same, for whoever waits no longer than so.
  absl::StatusOr<TableSizes> CountTable(absl::Duration within = kAnswerWithin);
  // The same.
  absl::StatusOr<WantedState> Wanted();
  // The EndpointSlices of these Services. The same.
  absl::StatusOr<std::map<ObjectName, Snapshot::Slices>> Slices(
      const std::set<ObjectName>& services);
  // Ends the drains for which `which`, called on Run's thread, says so: their connections end with
  // the next pass. How many there were. Otherwise the same.
  absl::StatusOr<size_t> EndDrains(std::function<bool(const DrainingServer&)> which);
  // The same; INVALID_ARGUMENT: the query lacks something; FAILED_PRECONDITION: nothing is planned
  // yet.
  absl::StatusOr<Explanation> Explain(const ExplainQuery& query);

  // One pass of Run: for tests, which have no thread.
  void Pass();
  // When Pass has to be called though nothing has come.
  absl::Time NextPass() const;

 private:
  // Whether a picture that no feeder has confirmed is to be acted upon by now.
  bool UseSavedPicture(absl::Time now);
  bool Adopt(absl::Time now);
  absl::Status ReadAddresses();
  // The node's configuration with what is known now; what it touches.
  Touched Reconfigure(absl::Time now, bool& all_planned);
  void SetRuleset();
  void ProbeAnnotations(const std::set<ObjectName>& services);
  bool ProbeScheduler(const std::string& name);
  // Sees whether somebody has set the clock.
  void FollowClock();
  // Whether anything was written or found, or fails.
  bool ReconcileAll(Touched touched);
  // Before everything else, what all the rest of a cluster needs.
  void ReconcileUrgent();
  // Notes what works for the first time.
  void NoteFirstSync();
  bool Works(const ObjectName& service) const;
  void NoteReady();
  bool TellDrift();
  void LogDrift(const DriftReport& drift, absl::Time now);
  bool MayTakeOver() const;
  void TakeOver(absl::Time now);
  void SaveDrains(absl::Time now);
  void UpdateHealthChecks(const std::set<ObjectName>& services);
  // Tells whose the virtual servers are that were touched.
  void PublishNames(const Touched& touched);
  void UpdateMetrics();
  void LogChanges();
  void LogFailures();
  // The Service that it is of, where that is known.
  std::optional<ObjectName> ServiceOf(const ReconcileFailure& failure) const;
  // One for each object, with the first of what fails of it.
  std::vector<ObjectFailure> FailuresByObject() const;
  void Acknowledge(absl::Time now);
  AgentReport MakeReport() const;
  // Has Run answer between two passes.
  template <typename Answer>
  absl::StatusOr<Answer> Ask(std::function<Answer()> question,
                             absl::Duration within = kAnswerWithin);
  void AnswerQuestions();

  const NodeSettings settings_;
  const AgentEnvironment environment_;
  Reconciler& reconciler_;
  const AgentSigns signs_;

  Snapshot snapshot_;
  Planner planner_;
  // Schedulers that were asked for, and whether the kernel has them.
  std::map<std::string, bool> schedulers_;
  bool complete_ = false;
  // A whole picture has come since memory was given back.
  bool worked_on_picture_ = false;
  bool adopted_ = false;
  // The configuration has to be made, or made anew.
  bool config_stale_ = true;
  // InfiniteFuture, or when to try again what could not be read for it.
  absl::Time next_configuration_ = absl::InfiniteFuture();
  std::vector<NodeAddress> local_addresses_;  // As last read.
  absl::Time next_adoption_ = absl::InfinitePast();
  Backoff adoption_backoff_;
  FeedPosition position_;  // Of the picture.
  bool partial_ = false;   // Likewise.
  // When it was saved, of a picture that no feeder has confirmed.
  std::optional<absl::Time> saved_;
  // Until then a feeder may still answer before such a picture is used.
  absl::Time saved_usable_at_ = absl::InfiniteFuture();
  // Told to the feed.
  FeedPosition acknowledged_;
  std::vector<ObjectFailure> acknowledged_failures_;
  absl::Time received_ = absl::InfiniteFuture();
  // When a source learnt of the oldest change that is not carried out.
  std::optional<absl::Time> oldest_trigger_;
  absl::Time programmed_ = absl::InfinitePast();
  const absl::Time started_;
  // What has not worked yet since the start.
  std::set<FirstSync> awaited_;
  bool ready_ = false;
  absl::Time next_settings_check_ = absl::InfinitePast();
  // InfiniteFuture where that is done.
  absl::Time next_take_over_ = absl::InfinitePast();
  // The version of the drains. What a former agent left is replaced in any case.
  std::optional<uint64_t> saved_drains_;
  absl::Duration clock_ahead_;  // Of the clock against the uptime, when last seen.
  absl::Time next_drain_save_ = absl::InfinitePast();
  std::atomic<bool> addresses_changed_ = false;
  std::atomic<bool> firewall_changed_ = false;
  std::atomic<bool> routes_changed_ = false;
  // Written to the log already.
  std::set<std::string> logged_warnings_;
  struct LoggedFailure {
    std::string why;
    std::optional<ObjectName> service;
  };
  std::map<std::string, LoggedFailure> logged_failures_;
  std::set<ipvs::VirtualServerKey> logged_taken_over_;
  std::set<std::string> logged_health_problems_;
  struct DriftLog {
    absl::Time next = absl::InfinitePast();
    uint64_t untold = 0;
  };
  std::map<DriftKind, DriftLog> drift_logs_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool woken_ ABSL_GUARDED_BY(mutex_) = true;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::function<void()>> questions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fairlead
