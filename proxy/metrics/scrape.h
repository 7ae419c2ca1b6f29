// What a scrape reads from the kernel itself, with no help of the agent's loop.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ipvs/table.h"
#include "proxy/metrics/service_names.h"
#include "proxy/metrics/traffic.h"

namespace fairlead {

struct ScrapeOptions {
  MetricsDetail detail = MetricsDetail::kService;
  // A table of the scrapes' own: the loop's is the loop's.
  std::function<absl::StatusOr<std::unique_ptr<ipvs::Table>>()> open_table;
  std::function<absl::Time()> now;
  // Whether the kernel counts (net.ipv4.vs.run_estimation): where it does, what has had no packet
  // is not looked into.
  std::function<bool()> counting;
  // Called with a reading that failed after one that did not, and the other way round.
  std::function<void(const absl::Status&)> changed;
};

// Reads the kernel's counters and joins them with the names that the loop has put. What the loop
// pays is what ServiceNames says; in the kernel a reading holds IPVS's lock for one message at a
// time, so that a change waits for one of those at most. Scrapes follow one another. Thread-safe.
class Scrape {
 public:
  // The names outlive it.
  Scrape(ServiceNames& names, ScrapeOptions options);

  // The metrics of Services. Where the kernel cannot be read there are none of its counters, rather
  // than old ones.
  void Append(std::string& out);

 private:
  absl::Status Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  ServiceNames& names_;
  const ScrapeOptions options_;
  std::mutex mutex_;
  Traffic traffic_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<ipvs::Table> table_ ABSL_GUARDED_BY(mutex_);
  absl::Status last_ ABSL_GUARDED_BY(mutex_);
  uint64_t errors_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fairlead
