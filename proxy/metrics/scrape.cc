#include "proxy/metrics/scrape.h"

#include <utility>
#include <vector>

#include "proxy/metrics/exposition.h"

namespace fairlead {

Scrape::Scrape(ServiceNames& names, ScrapeOptions options)
    : names_(names), options_(std::move(options)), traffic_(options_.detail) {}

absl::Status Scrape::Read() {
  if (table_ == nullptr) {
    auto opened = options_.open_table();
    if (!opened.ok()) return opened.status();
    table_ = *std::move(opened);
  }
  const bool counting = options_.counting();
  const auto whole = [&traffic = traffic_, counting](const ipvs::VirtualServer& server) {
    return !counting || traffic.MayBeUsed(server);
  };
  const absl::StatusOr<std::vector<ipvs::VirtualServer>> table = table_->DumpWhere(whole);
  if (!table.ok()) {
    // A socket that is spoilt is not used again.
    table_.reset();
    return table.status();
  }
  traffic_.Count(*table);
  return absl::OkStatus();
}

void Scrape::Append(std::string& out) {
  const std::lock_guard lock(mutex_);
  // Before the kernel is read: the loop names a virtual server before it makes it.
  traffic_.Learn(names_.Take());
  traffic_.AppendNoLocalEndpoints(out);
  if (options_.detail == MetricsDetail::kNone) {
    traffic_.Prune();
    return;
  }
  const absl::Time start = options_.now();
  absl::Status read = Read();
  if (read.ok()) {
    traffic_.Append(out);
  } else {
    ++errors_;
    traffic_.Prune();
  }
  if (read.ok() != last_.ok()) options_.changed(read);
  last_ = std::move(read);
  AppendFamily(out, "fairlead_counters_read_seconds", MetricType::kGauge,
               "How long this scrape took to read the kernel's counters.");
  AppendSeries(out, "fairlead_counters_read_seconds", "",
               absl::ToDoubleSeconds(options_.now() - start));
  AppendFamily(out, "fairlead_counters_read_errors_total", MetricType::kCounter,
               "Scrapes that could not read the kernel's counters.");
  AppendSeries(out, "fairlead_counters_read_errors_total", "", errors_);
}

}  // namespace fairlead
