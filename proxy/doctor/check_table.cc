#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "proxy/doctor/checks.h"
#include "proxy/doctor/kernel_version.h"

namespace fairlead {
namespace {

// Connections in a bucket, on average, from which looking for one takes noticeable time.
constexpr uint64_t kFullBucket = 4;
constexpr uint64_t kOverfullBucket = 16;
// Estimators that one timer goes through every 2 s before 6.2: this many take milliseconds.
constexpr size_t kManyEstimators = 20'000;
constexpr KernelVersion kEstimatorThreads = {6, 2};
// Percent of the connections that can be tracked.
constexpr int64_t kFull = 70;
constexpr int64_t kAboutFull = 90;

// log2 of the buckets for a bucket each.
int WantedBits(uint64_t connections) {
  return std::clamp(static_cast<int>(std::ceil(std::log2(static_cast<double>(connections) + 1))),
                    12, 20);
}

Finding CheckSize(const TableFacts& table) {
  Finding finding = {.check = "table.size",
                     .message = "IPVS's table of connections is large enough.",
                     .evidence = "its size cannot be read"};
  if (!table.size || *table.size <= 0) return finding;
  const auto size = static_cast<uint64_t>(*table.size);
  finding.evidence = absl::StrCat(table.connections, " connections in ", size, " buckets");
  const uint64_t in_one = table.connections / size;
  if (in_one < kFullBucket) return finding;
  finding.severity = in_one < kOverfullBucket ? Severity::kNote : Severity::kWarning;
  finding.message =
      "IPVS's table of connections is small for what is in it: each packet takes "
      "longer.";
  finding.fix = absl::StrCat("echo 'options ip_vs conn_tab_bits=", WantedBits(table.connections),
                             "' >/etc/modprobe.d/ip_vs.conf, and restart the node");
  return finding;
}

Finding CheckEstimators(const TableFacts& table, const SettingFacts& settings,
                        const KernelFacts& kernel) {
  const size_t entries = table.virtual_servers + table.real_servers;
  Finding finding = {.check = "table.estimators",
                     .message = "Statistics cost little.",
                     .evidence = absl::StrCat(entries, " entries, Linux ", kernel.release)};
  const auto found = settings.values.find("net.ipv4.vs.run_estimation");
  const bool stopped = found != settings.values.end() && found->second == "0";
  if (stopped) {
    finding.severity = Severity::kNote;
    finding.message = "Statistics stand still: `ipvsadm --stats` and --rate show old numbers.";
    absl::StrAppend(&finding.evidence, ", net.ipv4.vs.run_estimation = 0");
    finding.fix = "sysctl -w net.ipv4.vs.run_estimation=1";
    return finding;
  }
  const std::optional<KernelVersion> version = ParseKernelVersion(kernel.release);
  if (entries < kManyEstimators || !version || *version >= kEstimatorThreads) return finding;
  finding.severity = Severity::kWarning;
  finding.message =
      "Every 2 s the kernel goes through the statistics of all entries at once, and "
      "holds up packets; from 6.2 on threads do it bit by bit.";
  finding.fix =
      "a kernel from 6.2 on; or, without statistics: sysctl -w "
      "net.ipv4.vs.run_estimation=0, where the kernel has it";
  return finding;
}

Finding CheckTracking(const TableFacts& table) {
  Finding finding = {.check = "table.conntrack",
                     .message = "Connection tracking has room.",
                     .evidence = "nf_conntrack is not loaded"};
  if (!table.tracked || !table.tracked_limit || *table.tracked_limit <= 0) return finding;
  const int64_t percent = *table.tracked * 100 / *table.tracked_limit;
  finding.evidence =
      absl::StrCat("net.netfilter.nf_conntrack_count = ", *table.tracked,
                   ", nf_conntrack_max = ", *table.tracked_limit, ": ", percent, " %");
  if (percent < kFull) return finding;
  finding.severity = percent < kAboutFull ? Severity::kWarning : Severity::kError;
  finding.message =
      "Connection tracking is nearly full; beyond its limit new connections are "
      "dropped.";
  finding.fix = absl::StrCat("sysctl -w net.netfilter.nf_conntrack_max=", *table.tracked_limit * 2);
  return finding;
}

}  // namespace

std::vector<Finding> CheckTable(const TableFacts& table, const SettingFacts& settings,
                                const KernelFacts& kernel) {
  std::vector<Finding> findings;
  if (table.read.ok()) {
    findings.push_back(
        {.check = "table.entries",
         .message = "IPVS's table was read.",
         .evidence = absl::StrCat(table.virtual_servers, " virtual servers, ", table.real_servers,
                                  " real servers, ", table.connections, " connections")});
    findings.push_back(CheckSize(table));
    findings.push_back(CheckEstimators(table, settings, kernel));
  } else {
    findings.push_back({.check = "table.entries",
                        .severity = Severity::kError,
                        .message = "IPVS's table could not be read.",
                        .evidence = std::string(table.read.message()),
                        .fix = "sudo fairlead doctor, on the node itself"});
  }
  findings.push_back(CheckTracking(table));
  return findings;
}

}  // namespace fairlead
