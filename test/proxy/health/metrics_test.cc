#include "proxy/health/metrics.h"

#include <catch2/catch.hpp>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace fairlead {
namespace {

// The series of a family, as they are written; all of them for "".
std::vector<std::string> Series(const AgentMetrics& metrics, const std::string& family = "") {
  const std::string text = metrics.Render();
  std::vector<std::string> series;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (line[0] != '#' && absl::StartsWith(line, family)) series.emplace_back(line);
  }
  std::sort(series.begin(), series.end());
  return series;
}

using Lines = std::vector<std::string>;

TEST_CASE("metrics are 0 until they are set, and there from the start") {
  CHECK(Series(AgentMetrics()) == Lines{
                                      "fairlead_conntrack_flows_deleted_total 0",
                                      "fairlead_health_check_port_problems 0",
                                      R"(fairlead_kernel_writes_total{kind="element"} 0)",
                                      R"(fairlead_kernel_writes_total{kind="ipvs"} 0)",
                                      R"(fairlead_kernel_writes_total{kind="route"} 0)",
                                      "fairlead_sync_failures 0",
                                      "fairlead_sync_last_timestamp_seconds 0",
                                  });
}

TEST_CASE("metrics are what they were set to") {
  AgentMetrics metrics;
  metrics.SetConflicts({{{"shop", "cart"}, 3}});
  metrics.SetLastSync(absl::FromUnixMillis(1'700'000'000'500));
  metrics.SetSyncFailures(4);
  metrics.SetKernelWrites({.ipvs = 10, .elements = 20, .routes = 30});
  metrics.SetHealthCheckPortProblems(5);
  metrics.SetConntrackFlowsDeleted(6);
  CHECK(Series(metrics) == Lines{
                               "fairlead_conntrack_flows_deleted_total 6",
                               "fairlead_health_check_port_problems 5",
                               R"(fairlead_kernel_writes_total{kind="element"} 20)",
                               R"(fairlead_kernel_writes_total{kind="ipvs"} 10)",
                               R"(fairlead_kernel_writes_total{kind="route"} 30)",
                               R"(fairlead_service_conflicts{name="cart",namespace="shop"} 3)",
                               "fairlead_sync_failures 4",
                               "fairlead_sync_last_timestamp_seconds 1700000000.5",
                           });
}

TEST_CASE("every family has its type, and a sentence of help") {
  AgentMetrics metrics;
  metrics.SetConflicts({{{"shop", "cart"}, 3}});
  const std::string text = metrics.Render();
  std::map<std::string, std::string> types;
  for (const std::string& line : Lines(absl::StrSplit(text, '\n', absl::SkipEmpty()))) {
    const Lines words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
    if (absl::StartsWith(line, "# TYPE")) types[words[2]] = words[3];
    if (!absl::StartsWith(line, "# HELP")) continue;
    INFO(line);
    CHECK(absl::EndsWith(words[3], "."));
    CHECK(absl::StartsWith(words[2], "fairlead_"));
  }
  CHECK(types == std::map<std::string, std::string>{
                     {"fairlead_conntrack_flows_deleted_total", "counter"},
                     {"fairlead_health_check_port_problems", "gauge"},
                     {"fairlead_kernel_writes_total", "counter"},
                     {"fairlead_service_conflicts", "gauge"},
                     {"fairlead_sync_failures", "gauge"},
                     {"fairlead_sync_last_timestamp_seconds", "gauge"},
                 });
}

TEST_CASE("a conflict that is over takes its series along") {
  AgentMetrics metrics;
  const auto conflicts = [&] { return Series(metrics, "fairlead_service_conflicts"); };
  metrics.SetConflicts({{{"shop", "a"}, 1}, {{"shop", "b"}, 2}, {{"test", "a"}, 3}});
  CHECK(conflicts() == Lines{R"(fairlead_service_conflicts{name="a",namespace="shop"} 1)",
                             R"(fairlead_service_conflicts{name="a",namespace="test"} 3)",
                             R"(fairlead_service_conflicts{name="b",namespace="shop"} 2)"});
  metrics.SetConflicts({{{"shop", "b"}, 5}});
  CHECK(conflicts() == Lines{R"(fairlead_service_conflicts{name="b",namespace="shop"} 5)"});
  metrics.SetConflicts({});
  CHECK(conflicts() == Lines{});
  metrics.SetConflicts({{{"shop", "b"}, 1}});
  CHECK(conflicts() == Lines{R"(fairlead_service_conflicts{name="b",namespace="shop"} 1)"});
}

TEST_CASE("a gauge rises and falls, a counter never falls") {
  AgentMetrics metrics;
  metrics.SetSyncFailures(4);
  metrics.SetSyncFailures(1);
  CHECK(Series(metrics, "fairlead_sync_failures") == Lines{"fairlead_sync_failures 1"});
  for (const uint64_t total : {7, 7, 9, 3}) metrics.SetConntrackFlowsDeleted(total);
  CHECK(Series(metrics, "fairlead_conntrack") == Lines{"fairlead_conntrack_flows_deleted_total 9"});
}

TEST_CASE("numbers that are set together are seen together") {
  AgentMetrics metrics;
  std::thread writer([&] {
    for (uint64_t i = 1; i <= 500; ++i) metrics.SetKernelWrites({i, i, i});
  });
  int torn = 0;
  for (int i = 0; i < 200; ++i) {
    std::set<std::string> values;
    for (const std::string& line : Series(metrics, "fairlead_kernel_writes_total")) {
      values.insert(line.substr(line.find('}')));
    }
    if (values.size() != 1) ++torn;
  }
  writer.join();
  CHECK(torn == 0);
  CHECK(Series(metrics, "fairlead_kernel_writes_total") ==
        Lines{R"(fairlead_kernel_writes_total{kind="element"} 500)",
              R"(fairlead_kernel_writes_total{kind="ipvs"} 500)",
              R"(fairlead_kernel_writes_total{kind="route"} 500)"});
}

}  // namespace
}  // namespace fairlead
