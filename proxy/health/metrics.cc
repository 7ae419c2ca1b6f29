#include "proxy/health/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

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

// The library ignores a negative step, so that a counter never falls.
void SetTotal(Counter& counter, uint64_t total) {
  counter.Increment(static_cast<double>(total) - counter.Value());
}

}  // namespace

// The registry owns the families and they own their series; a reference holds until its series is
// removed.
struct AgentMetrics::Impl {
  prometheus::Registry registry;
  prometheus::Family<Gauge>& conflicts =
      GaugeFamily(registry, "fairlead_service_conflicts",
                  "Addresses and ports of a Service that another Service has.");
  Gauge& last_sync = GaugeFamily(registry, "fairlead_sync_last_timestamp_seconds",
                                 "Unix time when the kernel was last brought to what is wanted.")
                         .Add({});
  Gauge& sync_failures = GaugeFamily(registry, "fairlead_sync_failures",
                                     "Objects that are not in the kernel as planned.")
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
  Counter& flows_deleted =
      CounterFamily(registry, "fairlead_conntrack_flows_deleted_total",
                    "Tracked flows deleted because their endpoint no longer serves.")
          .Add({});

  // Numbers that belong together are changed and read together, and a counter's step is from the
  // value that was read.
  std::mutex mutex;
  std::map<ObjectName, Gauge*> conflict_gauges ABSL_GUARDED_BY(mutex);
};

AgentMetrics::AgentMetrics() : impl_(std::make_unique<Impl>()) {}

AgentMetrics::~AgentMetrics() = default;

void AgentMetrics::SetConflicts(const std::vector<ServiceConflicts>& conflicts) {
  std::lock_guard lock(impl_->mutex);
  std::map<ObjectName, Gauge*> gauges;
  for (const ServiceConflicts& conflict : conflicts) {
    const ObjectName& service = conflict.service;
    // The series that is there, if there is one.
    Gauge& gauge =
        impl_->conflicts.Add({{"namespace", service.name_space}, {"name", service.name}});
    gauge.Set(conflict.addresses_and_ports);
    gauges[service] = &gauge;
  }
  for (const auto& [service, gauge] : impl_->conflict_gauges) {
    if (!gauges.contains(service)) impl_->conflicts.Remove(gauge);
  }
  impl_->conflict_gauges = std::move(gauges);
}

void AgentMetrics::SetLastSync(absl::Time time) {
  std::lock_guard lock(impl_->mutex);
  impl_->last_sync.Set(absl::ToDoubleSeconds(time - absl::UnixEpoch()));
}

void AgentMetrics::SetSyncFailures(int failures) {
  std::lock_guard lock(impl_->mutex);
  impl_->sync_failures.Set(failures);
}

void AgentMetrics::SetKernelWrites(const KernelWrites& totals) {
  std::lock_guard lock(impl_->mutex);
  SetTotal(impl_->ipvs_writes, totals.ipvs);
  SetTotal(impl_->element_writes, totals.elements);
  SetTotal(impl_->route_writes, totals.routes);
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
