#include "proxy/health/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <utility>

#include "absl/base/thread_annotations.h"

namespace fairlead {
namespace {

using prometheus::Counter;
using prometheus::Gauge;

prometheus::Family<Gauge>& GaugeFamily(prometheus::Registry& registry, const char* name,
                                       const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

prometheus::Family<Counter>& CounterFamily(prometheus::Registry& registry, const char* name,
                                           const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

using Histograms = prometheus::Family<prometheus::Histogram>;

Histograms& HistogramFamily(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

// The buckets of kube-proxy's histograms of the same names, the one of 0 included.
std::vector<double> SyncBuckets() {
  std::vector<double> buckets;
  for (double bound = 0.001; buckets.size() < 15; bound *= 2) buckets.push_back(bound);
  return buckets;
}

std::vector<double> ProgrammingBuckets() {
  std::vector<double> buckets = {0, 0.25, 0.5};
  for (double bound = 1; bound <= 59; bound += 1) buckets.push_back(bound);
  for (double bound = 60; bound <= 115; bound += 5) buckets.push_back(bound);
  for (double bound = 120; bound <= 300; bound += 30) buckets.push_back(bound);
  return buckets;
}

std::map<std::string, std::string> FamilyLabel(IpFamily family) {
  return {{"ip_family", family == IpFamily::kIpv4 ? "IPv4" : "IPv6"}};
}

// The library ignores a negative step, so that a counter never falls.
void SetTotal(Counter& counter, uint64_t total) {
  counter.Increment(static_cast<double>(total) - counter.Value());
}

}  // namespace

absl::string_view FormatFirstSync(FirstSync part) {
  switch (part) {
    case FirstSync::kApiServer:
      return "apiserver";
    case FirstSync::kDns:
      return "dns";
    case FirstSync::kEverything:
      break;
  }
  return "everything";
}

// The registry owns the families and they own their series; a reference holds until its series is
// removed.
struct AgentMetrics::Impl {
  prometheus::Registry registry;
  prometheus::Family<Gauge>& conflicts =
      GaugeFamily(registry, "fairlead_service_conflicts",
                  "Addresses and ports of a Service that another Service has.");
  Gauge& sync_failures = GaugeFamily(registry, "fairlead_sync_failures",
                                     "Objects that are not in the kernel as planned.")
                             .Add({});
  // kube-proxy's, by family.
  Histograms& sync_duration =
      HistogramFamily(registry, "kubeproxy_sync_proxy_rules_duration_seconds",
                      "How long it took to bring the kernel to what is wanted.");
  Histograms& programming_duration =
      HistogramFamily(registry, "kubeproxy_network_programming_duration_seconds",
                      "From the moment a Service or its endpoints changed until the kernel was "
                      "written.");
  prometheus::Family<Gauge>& last_sync =
      GaugeFamily(registry, "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                  "Unix time when the kernel was last brought to what is wanted.");
  prometheus::Family<Gauge>& last_queued =
      GaugeFamily(registry, "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                  "Unix time when the newest change came.");
  // kube-proxy's, without families.
  Counter& service_changes =
      CounterFamily(registry, "kubeproxy_sync_proxy_rules_service_changes_total",
                    "Services that the feed has brought or removed.")
          .Add({});
  Counter& endpoint_changes =
      CounterFamily(registry, "kubeproxy_sync_proxy_rules_endpoint_changes_total",
                    "EndpointSlices that the feed has brought or removed.")
          .Add({});
  Gauge& services_pending =
      GaugeFamily(registry, "kubeproxy_sync_proxy_rules_service_changes_pending",
                  "Changed Services that are being carried out.")
          .Add({});
  Gauge& endpoints_pending =
      GaugeFamily(registry, "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                  "Changed EndpointSlices that are being carried out.")
          .Add({});
  prometheus::Family<Counter>& healthz = CounterFamily(registry, "kubeproxy_proxy_healthz_total",
                                                       "Answers to probes of /healthz, by code.");
  prometheus::Family<Counter>& livez = CounterFamily(registry, "kubeproxy_proxy_livez_total",
                                                     "Answers to probes of /livez, by code.");
  prometheus::Family<Gauge>& table =
      GaugeFamily(registry, "fairlead_table_size", "What is in the kernel, by kind.");
  Gauge& services = table.Add({{"kind", "service"}});
  Gauge& virtual_servers = table.Add({{"kind", "virtual_server"}});
  Gauge& real_servers = table.Add({{"kind", "real_server"}});
  Gauge& draining = table.Add({{"kind", "draining_real_server"}});
  Gauge& feed_connected =
      GaugeFamily(registry, "fairlead_feed_connected", "1 if a feeder answers, otherwise 0.")
          .Add({});
  Gauge& feed_revision =
      GaugeFamily(registry, "fairlead_feed_revision", "Revision of the picture that the agent has.")
          .Add({});
  Gauge& feed_behind = GaugeFamily(registry, "fairlead_feed_revisions_behind",
                                   "Revisions that the feeder has and the agent has not.")
                           .Add({});
  Gauge& feed_age = GaugeFamily(registry, "fairlead_feed_age_seconds",
                                "Time since the picture was last known to be the newest.")
                        .Add({});
  Gauge& feed_saved =
      GaugeFamily(registry, "fairlead_feed_saved_picture",
                  "1 if the picture was read from disk and no feeder has confirmed it.")
          .Add({});
  Gauge& port_problems =
      GaugeFamily(registry, "fairlead_health_check_port_problems",
                  "Health check ports of Services that are not served everywhere they should be.")
          .Add({});
  prometheus::Family<Counter>& writes =
      CounterFamily(registry, "fairlead_kernel_writes_total",
                    "Changes written to the kernel, by the kind of what was changed.");
  Counter& ipvs_writes = writes.Add({{"kind", "ipvs"}});
  Counter& element_writes = writes.Add({{"kind", "element"}});
  Counter& route_writes = writes.Add({{"kind", "route"}});
  Counter& drains_started =
      CounterFamily(registry, "fairlead_drains_started_total",
                    "Real servers that began to drain, or went on with it after a restart.")
          .Add({});
  prometheus::Family<Counter>& drains_ended = CounterFamily(
      registry, "fairlead_drains_ended_total", "Real servers that drain no more, by why.");
  Counter& drains_idle = drains_ended.Add({{"reason", "idle"}});
  Counter& drains_timeout = drains_ended.Add({{"reason", "timeout"}});
  Counter& drains_at_once = drains_ended.Add({{"reason", "at_once"}});
  Counter& drains_command = drains_ended.Add({{"reason", "command"}});
  Counter& drains_returned = drains_ended.Add({{"reason", "returned"}});
  Counter& drains_gone = drains_ended.Add({{"reason", "gone"}});
  prometheus::Family<Counter>& repairs =
      CounterFamily(registry, "fairlead_repairs_total",
                    "What others had changed in the kernel and Fairlead has put right, by kind.");
  Gauge& audit_cycle = GaugeFamily(registry, "fairlead_audit_cycle_seconds",
                                   "How long the last reading back of all virtual servers took.")
                           .Add({});
  prometheus::Family<Gauge>& shadow_differences =
      GaugeFamily(registry, "fairlead_shadow_differences",
                  "Of a dry run: what the kernel has otherwise than planned, by kind.");
  prometheus::Family<Gauge>& first_sync =
      GaugeFamily(registry, "fairlead_first_sync_seconds",
                  "Time from the start of the agent until it worked, by what.");
  Counter& flows_deleted =
      CounterFamily(registry, "fairlead_conntrack_flows_deleted_total",
                    "Tracked flows deleted because their endpoint no longer serves.")
          .Add({});

  // Numbers that belong together are changed and read together, and a counter's step is from the
  // value that was read.
  std::mutex mutex;
  std::map<ObjectName, Gauge*> conflict_gauges ABSL_GUARDED_BY(mutex);
  std::set<IpFamily> families ABSL_GUARDED_BY(mutex);

  Impl() {
    // There from the start, so that a rate can be taken of the first.
    for (const char* code : {"200", "503"}) {
      healthz.Add({{"code", code}});
      livez.Add({{"code", code}});
    }
  }

  void Observe(Histograms& histograms, std::vector<double> buckets, absl::Duration took) {
    const std::lock_guard lock(mutex);
    for (const IpFamily family : families) {
      // The series that is there, if there is one.
      histograms.Add(FamilyLabel(family), buckets).Observe(absl::ToDoubleSeconds(took));
    }
  }

  void SetTime(prometheus::Family<Gauge>& gauges, absl::Time time) {
    const std::lock_guard lock(mutex);
    for (const IpFamily family : families) {
      gauges.Add(FamilyLabel(family)).Set(absl::ToDoubleSeconds(time - absl::UnixEpoch()));
    }
  }
};

AgentMetrics::AgentMetrics() : impl_(std::make_unique<Impl>()) {}

AgentMetrics::~AgentMetrics() = default;

void AgentMetrics::SetConflicts(const std::vector<ServiceConflicts>& conflicts) {
  std::lock_guard lock(impl_->mutex);
  std::map<ObjectName, Gauge*> gauges;
  for (const ServiceConflicts& conflict : conflicts) {
    const ObjectName& service = conflict.service;
    // The series that is there, if there is one.
    Gauge& gauge = impl_->conflicts.Add(
        {{"service_namespace", service.name_space.str()}, {"service_name", service.name.str()}});
    gauge.Set(conflict.addresses_and_ports);
    gauges[service] = &gauge;
  }
  for (const auto& [service, gauge] : impl_->conflict_gauges) {
    if (!gauges.contains(service)) impl_->conflicts.Remove(gauge);
  }
  impl_->conflict_gauges = std::move(gauges);
}

void AgentMetrics::SetFamilies(const std::set<IpFamily>& families) {
  const std::lock_guard lock(impl_->mutex);
  impl_->families = families;
}

void AgentMetrics::CountChanges(size_t services, size_t slices) {
  const std::lock_guard lock(impl_->mutex);
  impl_->service_changes.Increment(static_cast<double>(services));
  impl_->endpoint_changes.Increment(static_cast<double>(slices));
  impl_->services_pending.Increment(static_cast<double>(services));
  impl_->endpoints_pending.Increment(static_cast<double>(slices));
}

void AgentMetrics::ChangesDone() {
  const std::lock_guard lock(impl_->mutex);
  impl_->services_pending.Set(0);
  impl_->endpoints_pending.Set(0);
}

void AgentMetrics::SetLastQueued(absl::Time time) { impl_->SetTime(impl_->last_queued, time); }

void AgentMetrics::SetLastSync(absl::Time time) { impl_->SetTime(impl_->last_sync, time); }

void AgentMetrics::CountProbe(absl::string_view probe, int code) {
  const std::lock_guard lock(impl_->mutex);
  prometheus::Family<Counter>& probes = probe == "livez" ? impl_->livez : impl_->healthz;
  probes.Add({{"code", std::to_string(code)}}).Increment();
}

void AgentMetrics::SetSyncFailures(int failures) {
  std::lock_guard lock(impl_->mutex);
  impl_->sync_failures.Set(failures);
}

void AgentMetrics::ObserveSync(absl::Duration took) {
  impl_->Observe(impl_->sync_duration, SyncBuckets(), took);
}

void AgentMetrics::ObserveProgramming(absl::Duration took) {
  impl_->Observe(impl_->programming_duration, ProgrammingBuckets(), took);
}

void AgentMetrics::SetFirstSync(FirstSync part, absl::Duration after) {
  const std::lock_guard lock(impl_->mutex);
  impl_->first_sync.Add({{"part", std::string(FormatFirstSync(part))}})
      .Set(absl::ToDoubleSeconds(after));
}

void AgentMetrics::CountRepairs(absl::string_view kind, uint64_t count) {
  const std::lock_guard lock(impl_->mutex);
  impl_->repairs.Add({{"kind", std::string(kind)}}).Increment(static_cast<double>(count));
}

void AgentMetrics::SetAuditCycle(absl::Duration took) {
  const std::lock_guard lock(impl_->mutex);
  impl_->audit_cycle.Set(absl::ToDoubleSeconds(took));
}

void AgentMetrics::SetShadowDifferences(absl::string_view kind, size_t count) {
  const std::lock_guard lock(impl_->mutex);
  impl_->shadow_differences.Add({{"kind", std::string(kind)}}).Set(static_cast<double>(count));
}

void AgentMetrics::SetTableSizes(const TableSizes& sizes) {
  std::lock_guard lock(impl_->mutex);
  impl_->services.Set(static_cast<double>(sizes.services));
  impl_->virtual_servers.Set(static_cast<double>(sizes.virtual_servers));
  impl_->real_servers.Set(static_cast<double>(sizes.real_servers));
  impl_->draining.Set(static_cast<double>(sizes.draining));
}

void AgentMetrics::SetFeed(const FeedFreshness& feed, absl::Time now) {
  std::lock_guard lock(impl_->mutex);
  impl_->feed_connected.Set(feed.connected ? 1 : 0);
  impl_->feed_revision.Set(static_cast<double>(feed.revision));
  impl_->feed_behind.Set(
      static_cast<double>(std::max(feed.head_revision, feed.revision) - feed.revision));
  // Not a number before there is a picture.
  impl_->feed_age.Set(feed.current_as_of == absl::InfinitePast()
                          ? std::numeric_limits<double>::quiet_NaN()
                          : absl::ToDoubleSeconds(now - feed.current_as_of));
  impl_->feed_saved.Set(feed.saved ? 1 : 0);
}

void AgentMetrics::SetKernelWrites(const KernelWrites& totals) {
  std::lock_guard lock(impl_->mutex);
  SetTotal(impl_->ipvs_writes, totals.ipvs);
  SetTotal(impl_->element_writes, totals.elements);
  SetTotal(impl_->route_writes, totals.routes);
}

void AgentMetrics::SetDrains(const DrainTotals& totals) {
  std::lock_guard lock(impl_->mutex);
  SetTotal(impl_->drains_started, totals.started);
  SetTotal(impl_->drains_idle, totals.idle);
  SetTotal(impl_->drains_timeout, totals.timeout);
  SetTotal(impl_->drains_at_once, totals.at_once);
  SetTotal(impl_->drains_command, totals.command);
  SetTotal(impl_->drains_returned, totals.returned);
  SetTotal(impl_->drains_gone, totals.gone);
}

void AgentMetrics::SetHealthCheckPortProblems(int problems) {
  std::lock_guard lock(impl_->mutex);
  impl_->port_problems.Set(problems);
}

void AgentMetrics::SetConntrackFlowsDeleted(uint64_t total) {
  std::lock_guard lock(impl_->mutex);
  SetTotal(impl_->flows_deleted, total);
}

std::string AgentMetrics::Render() const {
  std::lock_guard lock(impl_->mutex);
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace fairlead
