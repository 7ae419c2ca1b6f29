#include "proxy/metrics/process_metrics.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "proxy/metrics/exposition.h"

namespace fairlead {
namespace {

double Seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// Unix time. Worked out once: a start that moves with the clock would look like a restart.
double StartTime(uint64_t start_ticks, double ticks_per_second) {
  static const double start = Seconds(CLOCK_REALTIME) - Seconds(CLOCK_BOOTTIME) +
                              static_cast<double>(start_ticks) / ticks_per_second;
  return start;
}

// As the client libraries have it, of no limit too.
double Limit(rlim_t limit) {
  return limit == RLIM_INFINITY ? static_cast<double>(std::numeric_limits<uint64_t>::max())
                                : static_cast<double>(limit);
}

void AppendStat(std::string& out, const ProcessStat& stat) {
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  AppendFamily(out, "process_cpu_seconds_total", MetricType::kCounter,
               "Time on a CPU, in user and kernel mode.");
  AppendSeries(out, "process_cpu_seconds_total", "", static_cast<double>(stat.cpu_ticks) / ticks);
  AppendFamily(out, "process_start_time_seconds", MetricType::kGauge,
               "Unix time of the process's start.");
  AppendSeries(out, "process_start_time_seconds", "", StartTime(stat.start_ticks, ticks));
  AppendFamily(out, "process_virtual_memory_bytes", MetricType::kGauge, "Virtual memory.");
  AppendSeries(out, "process_virtual_memory_bytes", "", stat.virtual_bytes);
  AppendFamily(out, "process_resident_memory_bytes", MetricType::kGauge, "Resident memory.");
  AppendSeries(out, "process_resident_memory_bytes", "",
               stat.resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
}

void AppendDescriptors(std::string& out) {
  std::error_code error;
  uint64_t open = 0;
  std::filesystem::directory_iterator descriptor("/proc/self/fd", error);
  for (const std::filesystem::directory_iterator end; !error && descriptor != end;
       descriptor.increment(error)) {
    ++open;
  }
  if (error) return;
  AppendFamily(out, "process_open_fds", MetricType::kGauge, "Open file descriptors.");
  // Less the one of reading them.
  AppendSeries(out, "process_open_fds", "", open - 1);
}

void AppendLimits(std::string& out) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    AppendFamily(out, "process_max_fds", MetricType::kGauge, "File descriptors that may be open.");
    AppendSeries(out, "process_max_fds", "", Limit(limit.rlim_cur));
  }
  if (getrlimit(RLIMIT_AS, &limit) == 0) {
    AppendFamily(out, "process_virtual_memory_max_bytes", MetricType::kGauge,
                 "Virtual memory that there may be.");
    AppendSeries(out, "process_virtual_memory_max_bytes", "", Limit(limit.rlim_cur));
  }
}

}  // namespace

absl::StatusOr<ProcessStat> ParseProcessStat(absl::string_view text) {
  // The program's name is in parentheses and may have any character in it, these included.
  const size_t name_end = text.rfind(')');
  const absl::Status malformed = absl::DataLossError("/proc/self/stat: not as proc(5) has it");
  if (name_end == absl::string_view::npos) return malformed;
  const std::vector<absl::string_view> fields =
      absl::StrSplit(text.substr(name_end + 1), absl::ByAnyChar(" \n"), absl::SkipEmpty());
  // Of proc(5)'s numbers, which begin with 1; the first field after the name is 3.
  constexpr size_t kFirst = 3;
  constexpr size_t kUserTime = 14;
  constexpr size_t kKernelTime = 15;
  constexpr size_t kStartTime = 22;
  constexpr size_t kVirtualSize = 23;
  constexpr size_t kResident = 24;
  if (fields.size() <= kResident - kFirst) return malformed;
  uint64_t user = 0;
  uint64_t kernel = 0;
  ProcessStat stat;
  if (!absl::SimpleAtoi(fields[kUserTime - kFirst], &user) ||
      !absl::SimpleAtoi(fields[kKernelTime - kFirst], &kernel) ||
      !absl::SimpleAtoi(fields[kStartTime - kFirst], &stat.start_ticks) ||
      !absl::SimpleAtoi(fields[kVirtualSize - kFirst], &stat.virtual_bytes) ||
      !absl::SimpleAtoi(fields[kResident - kFirst], &stat.resident_pages)) {
    return malformed;
  }
  stat.cpu_ticks = user + kernel;
  return stat;
}

void AppendProcessMetrics(std::string& out, absl::string_view version) {
  AppendFamily(out, "fairlead_build_info", MetricType::kGauge, "1, with the program's version.");
  AppendSeries(out, "fairlead_build_info", FormatLabels({{"version", version}}), uint64_t{1});
  std::ifstream file("/proc/self/stat");
  std::ostringstream text;
  text << file.rdbuf();
  if (const auto stat = ParseProcessStat(text.str()); stat.ok()) AppendStat(out, *stat);
  AppendDescriptors(out);
  AppendLimits(out);
}

}  // namespace fairlead
