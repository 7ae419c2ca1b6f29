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

// Without the buckets of histograms, of which there are many.
Lines Numbers(const AgentMetrics& metrics) {
  Lines lines = Series(metrics);
  std::erase_if(lines, [](const std::string& line) { return absl::StrContains(line, "_bucket{"); });
  return lines;
}

TEST_CASE("metrics are 0 until they are set, and there from the start") {
  CHECK(Numbers(AgentMetrics()) == Lines{
                                       "fairlead_audit_cycle_seconds 0",
                                       "fairlead_conntrack_flows_deleted_total 0",
                                       R"(fairlead_drains_ended_total{reason="at_once"} 0)",
                                       R"(fairlead_drains_ended_total{reason="command"} 0)",
                                       R"(fairlead_drains_ended_total{reason="gone"} 0)",
                                       R"(fairlead_drains_ended_total{reason="idle"} 0)",
                                       R"(fairlead_drains_ended_total{reason="returned"} 0)",
                                       R"(fairlead_drains_ended_total{reason="timeout"} 0)",
                                       "fairlead_drains_started_total 0",
                                       "fairlead_feed_age_seconds 0",
                                       "fairlead_feed_connected 0",
                                       "fairlead_feed_revision 0",
                                       "fairlead_feed_revisions_behind 0",
                                       "fairlead_feed_saved_picture 0",
                                       "fairlead_health_check_port_problems 0",
                                       R"(fairlead_kernel_writes_total{kind="element"} 0)",
                                       R"(fairlead_kernel_writes_total{kind="ipvs"} 0)",
                                       R"(fairlead_kernel_writes_total{kind="route"} 0)",
                                       "fairlead_sync_failures 0",
                                       R"(fairlead_table_size{kind="draining_real_server"} 0)",
                                       R"(fairlead_table_size{kind="real_server"} 0)",
                                       R"(fairlead_table_size{kind="service"} 0)",
                                       R"(fairlead_table_size{kind="virtual_server"} 0)",
                                       R"(kubeproxy_proxy_healthz_total{code="200"} 0)",
                                       R"(kubeproxy_proxy_healthz_total{code="503"} 0)",
                                       R"(kubeproxy_proxy_livez_total{code="200"} 0)",
                                       R"(kubeproxy_proxy_livez_total{code="503"} 0)",
                                       "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
                                       "kubeproxy_sync_proxy_rules_endpoint_changes_total 0",
                                       "kubeproxy_sync_proxy_rules_service_changes_pending 0",
                                       "kubeproxy_sync_proxy_rules_service_changes_total 0",
                                   });
}

TEST_CASE("metrics are what they were set to") {
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  AgentMetrics metrics;
  metrics.SetConflicts({{{"shop", "cart"}, 3}});
  metrics.SetFamilies({IpFamily::kIpv4, IpFamily::kIpv6});
  metrics.SetLastQueued(now);
  metrics.SetLastSync(now + absl::Milliseconds(500));
  metrics.CountChanges(8, 9);
  metrics.ChangesDone();
  metrics.CountChanges(2, 1);
  metrics.CountProbe("healthz", 200);
  metrics.CountProbe("healthz", 503);
  metrics.CountProbe("livez", 200);
  metrics.SetSyncFailures(4);
  metrics.SetKernelWrites({.ipvs = 10, .elements = 20, .routes = 30});
  metrics.SetHealthCheckPortProblems(5);
  metrics.SetConntrackFlowsDeleted(6);
  metrics.SetDrains({.started = 25,
                     .idle = 1,
                     .timeout = 2,
                     .at_once = 3,
                     .command = 4,
                     .returned = 5,
                     .gone = 6});
  metrics.SetAuditCycle(absl::Seconds(10));
  metrics.SetFirstSync(FirstSync::kDns, absl::Milliseconds(1500));
  metrics.CountRepairs("route", 3);
  metrics.CountRepairs("route", 2);
  metrics.SetShadowDifferences("element", 2);
  metrics.ObserveSync(absl::Milliseconds(3));
  metrics.ObserveSync(absl::Milliseconds(5));
  metrics.ObserveProgramming(absl::Seconds(2));
  metrics.SetTableSizes({.services = 1, .virtual_servers = 2, .real_servers = 3, .draining = 4});
  metrics.SetFeed({.connected = true,
                   .revision = 40,
                   .head_revision = 42,
                   .current_as_of = now - absl::Seconds(7),
                   .saved = true},
                  now);
  CHECK(
      Numbers(metrics) ==
      Lines{
          "fairlead_audit_cycle_seconds 10",
          "fairlead_conntrack_flows_deleted_total 6",
          R"(fairlead_drains_ended_total{reason="at_once"} 3)",
          R"(fairlead_drains_ended_total{reason="command"} 4)",
          R"(fairlead_drains_ended_total{reason="gone"} 6)",
          R"(fairlead_drains_ended_total{reason="idle"} 1)",
          R"(fairlead_drains_ended_total{reason="returned"} 5)",
          R"(fairlead_drains_ended_total{reason="timeout"} 2)",
          "fairlead_drains_started_total 25",
          "fairlead_feed_age_seconds 7",
          "fairlead_feed_connected 1",
          "fairlead_feed_revision 40",
          "fairlead_feed_revisions_behind 2",
          "fairlead_feed_saved_picture 1",
          R"(fairlead_first_sync_seconds{part="dns"} 1.5)",
          "fairlead_health_check_port_problems 5",
          R"(fairlead_kernel_writes_total{kind="element"} 20)",
          R"(fairlead_kernel_writes_total{kind="ipvs"} 10)",
          R"(fairlead_kernel_writes_total{kind="route"} 30)",
          R"(fairlead_repairs_total{kind="route"} 5)",
          R"(fairlead_service_conflicts{service_name="cart",service_namespace="shop"} 3)",
          R"(fairlead_shadow_differences{kind="element"} 2)",
          "fairlead_sync_failures 4",
          R"(fairlead_table_size{kind="draining_real_server"} 4)",
          R"(fairlead_table_size{kind="real_server"} 3)",
          R"(fairlead_table_size{kind="service"} 1)",
          R"(fairlead_table_size{kind="virtual_server"} 2)",
          R"(kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"} 1)",
          R"(kubeproxy_network_programming_duration_seconds_count{ip_family="IPv6"} 1)",
          R"(kubeproxy_network_programming_duration_seconds_sum{ip_family="IPv4"} 2)",
          R"(kubeproxy_network_programming_duration_seconds_sum{ip_family="IPv6"} 2)",
          R"(kubeproxy_proxy_healthz_total{code="200"} 1)",
          R"(kubeproxy_proxy_healthz_total{code="503"} 1)",
          R"(kubeproxy_proxy_livez_total{code="200"} 1)",
          R"(kubeproxy_proxy_livez_total{code="503"} 0)",
          R"(kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} 2)",
          R"(kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv6"} 2)",
          R"(kubeproxy_sync_proxy_rules_duration_seconds_sum{ip_family="IPv4"} 0.008)",
          R"(kubeproxy_sync_proxy_rules_duration_seconds_sum{ip_family="IPv6"} 0.008)",
          R"(kubeproxy_sync_proxy_rules_endpoint_changes_pending 1)",
          R"(kubeproxy_sync_proxy_rules_endpoint_changes_total 10)",
          R"(kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv4"} 1700000000)",
          R"(kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv6"} 1700000000)",
          R"(kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 1700000000.5)",
          R"(kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv6"} 1700000000.5)",
          R"(kubeproxy_sync_proxy_rules_service_changes_pending 2)",
          R"(kubeproxy_sync_proxy_rules_service_changes_total 10)",
      });
}

TEST_CASE("the age of a picture is not a number before there is one") {
  AgentMetrics metrics;
  metrics.SetFeed({}, absl::FromUnixSeconds(1'700'000'000));
  CHECK(Series(metrics, "fairlead_feed_age_seconds") == Lines{"fairlead_feed_age_seconds Nan"});
}

TEST_CASE("every family has its type, and a sentence of help") {
  AgentMetrics metrics;
  metrics.SetFamilies({IpFamily::kIpv4});
  metrics.SetLastQueued(absl::UnixEpoch());
  metrics.SetLastSync(absl::UnixEpoch());
  metrics.ObserveSync(absl::Seconds(1));
  metrics.ObserveProgramming(absl::Seconds(1));
  metrics.SetConflicts({{{"shop", "cart"}, 3}});
  const std::string text = metrics.Render();
  std::map<std::string, std::string> types;
  for (const std::string& line : Lines(absl::StrSplit(text, '\n', absl::SkipEmpty()))) {
    const Lines words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
    if (absl::StartsWith(line, "# TYPE")) types[words[2]] = words[3];
    if (!absl::StartsWith(line, "# HELP")) continue;
    INFO(line);
    CHECK(absl::EndsWith(words[3], "."));
    CHECK((absl::StartsWith(words[2], "fairlead_") || absl::StartsWith(words[2], "kubeproxy_")));
  }
  CHECK(types == std::map<std::string, std::string>{
                     {"fairlead_audit_cycle_seconds", "gauge"},
                     {"fairlead_conntrack_flows_deleted_total", "counter"},
                     {"fairlead_drains_ended_total", "counter"},
                     {"fairlead_drains_started_total", "counter"},
                     {"fairlead_feed_age_seconds", "gauge"},
                     {"fairlead_feed_connected", "gauge"},
                     {"fairlead_feed_revision", "gauge"},
                     {"fairlead_feed_revisions_behind", "gauge"},
                     {"fairlead_feed_saved_picture", "gauge"},
                     {"fairlead_health_check_port_problems", "gauge"},
                     {"fairlead_kernel_writes_total", "counter"},
                     {"fairlead_service_conflicts", "gauge"},
                     {"fairlead_sync_failures", "gauge"},
                     {"fairlead_table_size", "gauge"},
                     {"kubeproxy_network_programming_duration_seconds", "histogram"},
                     {"kubeproxy_proxy_healthz_total", "counter"},
                     {"kubeproxy_proxy_livez_total", "counter"},
                     {"kubeproxy_sync_proxy_rules_duration_seconds", "histogram"},
                     {"kubeproxy_sync_proxy_rules_endpoint_changes_pending", "gauge"},
                     {"kubeproxy_sync_proxy_rules_endpoint_changes_total", "counter"},
                     {"kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "gauge"},
                     {"kubeproxy_sync_proxy_rules_last_timestamp_seconds", "gauge"},
                     {"kubeproxy_sync_proxy_rules_service_changes_pending", "gauge"},
                     {"kubeproxy_sync_proxy_rules_service_changes_total", "counter"},
                 });
}

// The bounds of a histogram's buckets, as they are written.
Lines Bounds(const AgentMetrics& metrics, const std::string& family) {
  Lines bounds;
  for (const std::string& line : Lines(absl::StrSplit(metrics.Render(), '\n'))) {
    if (!absl::StartsWith(line, family + "_bucket{")) continue;
    const size_t start = line.find("le=\"") + 4;
    bounds.push_back(line.substr(start, line.find('"', start) - start));
  }
  return bounds;
}

TEST_CASE("kube-proxy's histograms have its buckets, the one of 0 included") {
  AgentMetrics metrics;
  metrics.SetFamilies({IpFamily::kIpv4});
  metrics.ObserveSync(absl::Seconds(1));
  metrics.ObserveProgramming(absl::Seconds(1));
  CHECK(Bounds(metrics, "kubeproxy_sync_proxy_rules_duration_seconds") ==
        Lines{"0.001", "0.002", "0.004", "0.008", "0.016", "0.032", "0.064", "0.128", "0.256",
              "0.512", "1.024", "2.048", "4.096", "8.192", "16.384", "+Inf"});
  // Every half second to one, every second to a minute, and so on to five minutes.
  const Lines bounds = Bounds(metrics, "kubeproxy_network_programming_duration_seconds");
  CHECK(bounds.size() == 82);
  CHECK(Lines(bounds.begin(), bounds.begin() + 5) == Lines{"0", "0.25", "0.5", "1", "2"});
  CHECK(Lines(bounds.end() - 4, bounds.end()) == Lines{"240", "270", "300", "+Inf"});
}

TEST_CASE("a conflict that is over takes its series along") {
  AgentMetrics metrics;
  const auto conflicts = [&] { return Series(metrics, "fairlead_service_conflicts"); };
  metrics.SetConflicts({{{"shop", "a"}, 1}, {{"shop", "b"}, 2}, {{"test", "a"}, 3}});
  CHECK(conflicts() ==
        Lines{R"(fairlead_service_conflicts{service_name="a",service_namespace="shop"} 1)",
              R"(fairlead_service_conflicts{service_name="a",service_namespace="test"} 3)",
              R"(fairlead_service_conflicts{service_name="b",service_namespace="shop"} 2)"});
  metrics.SetConflicts({{{"shop", "b"}, 5}});
  CHECK(conflicts() ==
        Lines{R"(fairlead_service_conflicts{service_name="b",service_namespace="shop"} 5)"});
  metrics.SetConflicts({});
  CHECK(conflicts() == Lines{});
  metrics.SetConflicts({{{"shop", "b"}, 1}});
  CHECK(conflicts() ==
        Lines{R"(fairlead_service_conflicts{service_name="b",service_namespace="shop"} 1)"});
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
