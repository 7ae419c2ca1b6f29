#include "proxy/metrics/process_metrics.h"

#include <catch2/catch.hpp>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "proxy/metrics/exposition.h"

namespace fairlead {
namespace {

TEST_CASE("the process's numbers are read as proc(5) has them") {
  struct Row {
    std::string name;
    std::string text;
    absl::StatusOr<ProcessStat> expected;
  };
  const std::string numbers =
      " S 1 2 3 4 5 6 7 8 9 10 700 31 14 15 16 17 18 19 4242 1048576 250 18446744073709551615 1\n";
  const ProcessStat stat{
      .cpu_ticks = 731, .start_ticks = 4242, .virtual_bytes = 1048576, .resident_pages = 250};
  const absl::Status malformed = absl::DataLossError("/proc/self/stat: not as proc(5) has it");
  const std::vector<Row> rows = {
      {"a plain name", "17 (fairlead)" + numbers, stat},
      {"a name with parentheses, blanks and numbers", "17 (a) 1 (b c) R 9)" + numbers, stat},
      {"nothing", "", malformed},
      {"no name", "17 fairlead" + numbers, malformed},
      {"cut off", "17 (fairlead) S 1 2 3", malformed},
      {"no number", "17 (fairlead) S 1 2 3 4 5 6 7 8 9 10 x 31 14 15 16 17 18 19 1 2 3", malformed},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(ParseProcessStat(row.text) == row.expected);
  }
}

TEST_CASE("this process is described") {
  std::string text;
  AppendProcessMetrics(text, "1.2.3");
  std::map<std::string, double> values;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (line[0] == '#') continue;
    const std::vector<std::string> parts = absl::StrSplit(line, ' ');
    REQUIRE(parts.size() == 2);
    REQUIRE(absl::SimpleAtod(parts[1], &values[parts[0]]));
  }
  CHECK(values.size() == 8);
  CHECK(values["fairlead_build_info{version=\"1.2.3\"}"] == 1);
  CHECK(values["process_resident_memory_bytes"] > 1e5);
  CHECK(values["process_virtual_memory_bytes"] > values["process_resident_memory_bytes"]);
  CHECK(values["process_virtual_memory_max_bytes"] >= values["process_virtual_memory_bytes"]);
  CHECK(values["process_start_time_seconds"] > 1.6e9);
  CHECK(values["process_open_fds"] >= 3);
  CHECK(values["process_max_fds"] >= values["process_open_fds"]);
  CHECK(values.contains("process_cpu_seconds_total"));
}

TEST_CASE("labels and numbers are written as the text format wants them") {
  CHECK(FormatLabels({}) == "");
  CHECK(FormatLabels({{"a", "plain"}, {"b", "\"quoted\" \\ and\nbroken"}}) ==
        R"({a="plain",b="\"quoted\" \\ and\nbroken"})");
  struct Row {
    double value;
    std::string text;
  };
  const std::vector<Row> rows = {{0, "x 0\n"},
                                 {0.1, "x 0.1\n"},
                                 {-2.5, "x -2.5\n"},
                                 {1700000000.25, "x 1700000000.25\n"},
                                 {std::numeric_limits<double>::quiet_NaN(), "x NaN\n"},
                                 {std::numeric_limits<double>::infinity(), "x +Inf\n"},
                                 {-std::numeric_limits<double>::infinity(), "x -Inf\n"}};
  for (const Row& row : rows) {
    std::string text;
    AppendSeries(text, "x", "", row.value);
    CHECK(text == row.text);
  }
  std::string text;
  AppendFamily(text, "x_total", MetricType::kCounter, "What it is.");
  AppendSeries(text, "x_total", "{a=\"b\"}", std::numeric_limits<uint64_t>::max());
  CHECK(text ==
        "# HELP x_total What it is.\n# TYPE x_total counter\n"
        "x_total{a=\"b\"} 18446744073709551615\n");
}

}  // namespace
}  // namespace fairlead
