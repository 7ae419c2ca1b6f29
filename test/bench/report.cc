#include "test/bench/report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "test/bench/need.h"

namespace fairlead::bench {
namespace {

using nlohmann::ordered_json;

// From 100 on one value does not make a 99th percentile by itself.
constexpr size_t kValuesForP99 = 100;
// More of them say no more than their median and quantiles.
constexpr size_t kValuesKept = 1000;

// What follows "KEY :" in a file of such lines, of the first that has it.
std::string FieldOf(const char* path, absl::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    if (absl::StripAsciiWhitespace(absl::string_view(line).substr(0, colon)) != key) continue;
    return std::string(absl::StripAsciiWhitespace(absl::string_view(line).substr(colon + 1)));
  }
  return "";
}

// Under QEMU's software emulation time means little beside that of other machines.
bool Emulated() { return absl::StrContains(FieldOf("/proc/cpuinfo", "model name"), "QEMU"); }

ordered_json Machine() {
  utsname kernel{};
  uname(&kernel);
  const double memory =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return {{"processor", FieldOf("/proc/cpuinfo", "model name")},
          {"emulated", Emulated()},
          {"processors", sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory_gib", std::round(memory / (1 << 30) * 10) / 10},
          {"kernel", absl::StrCat(kernel.sysname, " ", kernel.release)},
          {"compiler", "g++ " __VERSION__},
          {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone())}};
}

// Four digits that count, and no exponent.
std::string Number(double value) {
  const double magnitude = std::abs(value);
  if (magnitude >= 1000 || value == std::round(value)) return absl::StrFormat("%.0f", value);
  if (magnitude >= 100) return absl::StrFormat("%.1f", value);
  if (magnitude >= 10) return absl::StrFormat("%.2f", value);
  return absl::StrFormat("%.3f", value);
}

void PrintRow(absl::string_view what, absl::string_view median, absl::string_view spread,
              absl::string_view p99, absl::string_view count, absl::string_view unit) {
  // A dash of three bytes is one column wide.
  const int spread_width = absl::StrContains(spread, "–") ? 21 : 19;
  absl::PrintF("| %-58s | %9s | %*s | %9s | %5s | %-10s |\n", what, median, spread_width, spread,
               p99, count, unit);
  std::fflush(stdout);
}

}  // namespace

double Quantile(std::vector<double> values, double quantile) {
  const double place = std::ceil(quantile * static_cast<double>(values.size()));
  const size_t rank = place < 1 ? 0 : static_cast<size_t>(place) - 1;
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(rank), values.end());
  return values[rank];
}

double Median(std::vector<double> values) { return Quantile(std::move(values), 0.5); }

Report::Report(absl::string_view name) {
  result_ = {{"benchmark", std::string(name)},
             {"machine", Machine()},
             {"sections", ordered_json::array()}};
  const ordered_json& machine = result_["machine"];
  absl::PrintF("%s: %d x %s%s, %s GiB, %s\n", name, machine["processors"].get<long>(),
               machine["processor"].get<std::string>(), Emulated() ? " (emulated)" : "",
               Number(machine["memory_gib"].get<double>()), machine["kernel"].get<std::string>());
  std::fflush(stdout);
}

Report::~Report() { EndSection(); }

void Report::Section(absl::string_view title) {
  EndSection();
  result_["sections"].push_back({{"title", std::string(title)},
                                 {"rows", ordered_json::array()},
                                 {"goals", ordered_json::array()}});
  absl::PrintF("\n%s\n\n", title);
  PrintRow("", "median", "lowest – highest", "p99", "times", "unit");
  absl::PrintF("|%s|%s:|%s:|%s:|%s:|%s|\n", std::string(60, '-'), std::string(10, '-'),
               std::string(20, '-'), std::string(10, '-'), std::string(6, '-'),
               std::string(12, '-'));
}

void Report::Add(absl::string_view what, absl::string_view unit, std::vector<double> values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  ordered_json row = {{"what", std::string(what)},
                      {"unit", std::string(unit)},
                      {"median", Median(values)},
                      {"low", *low},
                      {"high", *high}};
  const bool one = values.size() == 1;
  std::string p99;
  if (values.size() >= kValuesForP99) {
    row["p99"] = Quantile(values, 0.99);
    p99 = Number(row["p99"].get<double>());
  }
  if (values.size() <= kValuesKept) row["values"] = values;
  PrintRow(what, Number(row["median"].get<double>()),
           one ? "" : absl::StrCat(Number(*low), " – ", Number(*high)), p99,
           absl::StrCat(values.size()), unit);
  result_["sections"].back()["rows"].push_back(std::move(row));
  Write();
}

void Report::Absent(absl::string_view what, absl::string_view why) {
  result_["sections"].back()["rows"].push_back(
      {{"what", std::string(what)}, {"absent", std::string(why)}});
  PrintRow(what, "absent", why, "", "", "");
  Write();
}

void Report::Goal(absl::string_view what, double value, double at_most, absl::string_view unit) {
  const bool met = value <= at_most;
  result_["sections"].back()["goals"].push_back({{"what", std::string(what)},
                                                 {"value", value},
                                                 {"at_most", at_most},
                                                 {"unit", std::string(unit)},
                                                 {"met", met}});
  goals_.push_back(absl::StrCat("- ", what, ": ", Number(value), unit.empty() ? "" : " ", unit,
                                ", goal at most ", Number(at_most), ": ",
                                met ? "met" : "**missed**"));
  Write();
}

void Report::EndSection() {
  if (!goals_.empty()) absl::PrintF("\n");
  for (const std::string& goal : goals_) absl::PrintF("%s\n", goal);
  goals_.clear();
  std::fflush(stdout);
}

void Report::Write() const {
  const char* folder = std::getenv("FAIRLEAD_BENCH_OUT");
  if (folder == nullptr || *folder == '\0') return;
  const std::string path =
      absl::StrCat(folder, "/", result_["benchmark"].get<std::string>(), ".json");
  std::ofstream file(path);
  file << result_.dump(1) << '\n';
  Need(file.flush().good(), absl::StrCat("cannot write ", path));
}

}  // namespace fairlead::bench
