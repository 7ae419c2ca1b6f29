// What every benchmark prints and leaves behind: tables of medians and spread, headed by what they
// were measured on, as Markdown (docs/performance.md is made of them), and the same as JSON.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace fairlead::bench {

// The median of values, which are not empty; of an even number the lower one of the middle.
double Median(std::vector<double> values);

// The value that a share `quantile` (0 to 1) of them does not exceed.
double Quantile(std::vector<double> values, double quantile);

// One benchmark's results. Not thread-safe.
//
// With FAIRLEAD_BENCH_OUT in the environment, a folder, they are also in NAME.json there, written
// anew with each section, so that those before a failure are kept. Its shape:
//
//   {"benchmark": NAME, "machine": {…}, "sections": [
//     {"title": …, "rows": [{"what": …, "unit": …, "median": …, "low": …, "high": …, "p99": …,
//                            "values": […] (up to 1,000)}, {"what": …, "absent": REASON}],
//      "goals": [{"what": …, "value": …, "at_most": …, "met": …}]}]}
class Report {
 public:
  // Prints the machine. `name` is the benchmark's, and that of its file.
  explicit Report(absl::string_view name);
  ~Report();

  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  // Begins a table.
  void Section(absl::string_view title);

  // A row: how often the thing was measured, its median, lowest, highest, and with 100 values or
  // more the 99th percentile. Values in `unit`, not empty.
  void Add(absl::string_view what, absl::string_view unit, std::vector<double> values);
  void Add(absl::string_view what, absl::string_view unit, double value) {
    Add(what, unit, std::vector<double>{value});
  }

  // A row of what could not be measured, and why.
  void Absent(absl::string_view what, absl::string_view why);

  // A goal, printed below the table: met where `value` is at most `at_most`.
  void Goal(absl::string_view what, double value, double at_most, absl::string_view unit = "");

 private:
  void EndSection();
  void Write() const;

  nlohmann::ordered_json result_;
  std::vector<std::string> goals_;  // Of the section, as text.
};

}  // namespace fairlead::bench
