#include "proxy/watch/watch_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>

namespace fairlead {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;

Gauge& MakeGauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

// From a millisecond to some minutes.
std::vector<double> AckBuckets() {
  std::vector<double> buckets;
  for (double bound = 0.001; buckets.size() < 18; bound *= 2) buckets.push_back(bound);
  return buckets;
}

const char* FaultReason(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
      return "limit";
    case absl::StatusCode::kPermissionDenied:
      return "identity";
    default:
      return "protocol";
  }
}

// Of sorted values; 0 of none.
double Percentile(const std::vector<double>& sorted, size_t percentile) {
  if (sorted.empty()) return 0;
  return sorted[percentile * (sorted.size() - 1) / 100];
}

constexpr size_t kPercentiles[] = {50, 90, 99, 100};

}  // namespace

struct WatchMetrics::Impl {
  prometheus::Registry registry;
  prometheus::Histogram& acked =
      prometheus::BuildHistogram()
          .Name("fairlead_watcher_acknowledgement_seconds")
          .Help("From a change in the journal until a node has it in its kernel.")
          .Register(registry)
          .Add({}, AckBuckets());
  Family<Counter>& faults =
      prometheus::BuildCounter()
          .Name("fairlead_watcher_refused_total")
          .Help("Agents that were refused or whose stream was ended for a fault, by reason.")
          .Register(registry);
  Gauge& head = MakeGauge(registry, "fairlead_watcher_revision", "Newest revision of the journal.");
  Gauge& complete = MakeGauge(registry, "fairlead_watcher_complete",
                              "1 once the source has given a whole picture, before that 0.");
  Gauge& objects =
      MakeGauge(registry, "fairlead_watcher_objects", "Services, EndpointSlices and Nodes held.");
  Gauge& connected =
      MakeGauge(registry, "fairlead_watcher_subscribers", "Agents that are connected.");
  Gauge& departed = MakeGauge(registry, "fairlead_watcher_departed_nodes",
                              "Nodes that were connected within the last hour and are not now.");
  Gauge& behind = MakeGauge(registry, "fairlead_watcher_nodes_behind",
                            "Connected nodes that have not acknowledged the newest revision.");
  Gauge& failing = MakeGauge(registry, "fairlead_watcher_nodes_failing",
                             "Connected nodes whose kernel is not as it should be.");
  Family<Gauge>& lag =
      prometheus::BuildGauge()
          .Name("fairlead_watcher_lag_seconds")
          .Help("How long connected nodes have been behind the journal, by percentile.")
          .Register(registry);
  Family<Gauge>& watching = prometheus::BuildGauge()
                                .Name("fairlead_watcher_source_watching")
                                .Help("1 while the API server is watched, by resource.")
                                .Register(registry);
  Family<Gauge>& source_age =
      prometheus::BuildGauge()
          .Name("fairlead_watcher_source_age_seconds")
          .Help("Time since anything came from the API server, by resource.")
          .Register(registry);
  Family<Counter>& source_errors = prometheus::BuildCounter()
                                       .Name("fairlead_watcher_source_errors_total")
                                       .Help("Failed lists and watches, by resource.")
                                       .Register(registry);
  Family<Gauge>& invalid =
      prometheus::BuildGauge()
          .Name("fairlead_watcher_source_invalid_objects")
          .Help("Objects of the API server that cannot be understood, by resource.")
          .Register(registry);
  std::mutex mutex;  // What is rendered together is set together.

  Impl() {
    // There from the start, so that a rate can be taken of the first.
    for (const char* reason : {"limit", "identity", "protocol"}) faults.Add({{"reason", reason}});
  }
};

WatchMetrics::WatchMetrics() : impl_(std::make_unique<Impl>()) {}

WatchMetrics::~WatchMetrics() = default;

void WatchMetrics::ObserveAck(absl::Duration took) {
  impl_->acked.Observe(absl::ToDoubleSeconds(took));
}

void WatchMetrics::CountFault(const absl::Status& reason) {
  impl_->faults.Add({{"reason", FaultReason(reason)}}).Increment();
}

std::string WatchMetrics::Render(const JournalState& journal, size_t objects,
                                 const std::vector<FeedNode>& nodes,
                                 const std::vector<KubernetesResourceStatus>& resources,
                                 absl::Time now) {
  std::lock_guard lock(impl_->mutex);
  std::vector<double> lags;
  int departed = 0;
  int failing = 0;
  for (const FeedNode& node : nodes) {
    if (node.left != absl::InfiniteFuture()) {
      ++departed;
      continue;
    }
    lags.push_back(absl::ToDoubleSeconds(node.behind));
    if (node.status.failure_count > 0) ++failing;
  }
  std::sort(lags.begin(), lags.end());
  impl_->head.Set(static_cast<double>(journal.head_revision));
  impl_->complete.Set(journal.complete ? 1 : 0);
  impl_->objects.Set(static_cast<double>(objects));
  impl_->connected.Set(static_cast<double>(lags.size()));
  impl_->departed.Set(departed);
  impl_->failing.Set(failing);
  impl_->behind.Set(
      static_cast<double>(lags.end() - std::upper_bound(lags.begin(), lags.end(), 0.0)));
  for (const size_t percentile : kPercentiles) {
    // The label "quantile" is a summary's.
    impl_->lag.Add({{"percentile", std::to_string(percentile)}}).Set(Percentile(lags, percentile));
  }
  for (const KubernetesResourceStatus& resource : resources) {
    const std::map<std::string, std::string> labels = {{"resource", resource.resource}};
    impl_->watching.Add(labels).Set(resource.watching ? 1 : 0);
    if (resource.last_event != absl::InfinitePast()) {
      impl_->source_age.Add(labels).Set(absl::ToDoubleSeconds(now - resource.last_event));
    }
    Counter& errors = impl_->source_errors.Add(labels);
    errors.Increment(static_cast<double>(resource.errors) - errors.Value());
    impl_->invalid.Add(labels).Set(static_cast<double>(resource.invalid_objects));
  }
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace fairlead
