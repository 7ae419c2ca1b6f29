#include "proxy/metrics/traffic.h"

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "test/proxy/reconcile/memory_kernel.h"

namespace fairlead {
namespace {

using testing::Lines;
using testing::Pod;
using testing::Tcp;

// The series of the families whose names begin so, as they are written.
Lines Series(const std::string& text, absl::string_view prefix = "") {
  Lines lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (line[0] != '#' && absl::StartsWith(line, prefix)) lines.emplace_back(line);
  }
  return lines;
}

Lines Exported(const Traffic& traffic, absl::string_view prefix = "") {
  std::string text;
  traffic.Append(text);
  return Series(text, prefix);
}

// What the kernel counts of a virtual server: everything in the ratio of its connections.
ipvs::Statistics Counted(uint64_t connections) {
  return {.connections = connections,
          .packets_in = 6 * connections,
          .packets_out = 5 * connections,
          .bytes_in = 600 * connections,
          .bytes_out = 5000 * connections};
}

ipvs::VirtualServer Found(const ipvs::VirtualServerKey& key, uint64_t connections,
                          std::vector<ipvs::RealServer> real_servers = {}) {
  return {.key = key,
          .config = {},
          .real_servers = std::move(real_servers),
          .statistics = Counted(connections)};
}

ipvs::RealServer Real(absl::string_view address, uint64_t connections, uint32_t active = 0,
                      uint32_t inactive = 0) {
  return {.key = Pod(address),
          .config = {},
          .active_connections = active,
          .inactive_connections = inactive,
          .statistics = Counted(connections)};
}

// A virtual server of shop/NAME's port "http".
ServiceNames::Server Planned(const ipvs::VirtualServerKey& key, const Lines& pods = {},
                             const std::string& name = "cart") {
  PlannedVirtualServer server = testing::Vip(key, pods);
  server.service = {"shop", name};
  server.port_name = "http";
  for (PlannedRealServer& real : server.real_servers) {
    real.target_name = absl::StrCat("pod-", real.key.address.Format());
  }
  return std::make_shared<const PlannedVirtualServer>(std::move(server));
}

const ipvs::VirtualServerKey kVip = Tcp("10.96.0.1", 80);
const ipvs::VirtualServerKey kNodePort = Tcp("192.168.1.1", 30080);
constexpr char kCart[] =
    R"({service_namespace="shop",service_name="cart",service_port="http",protocol="TCP"} )";

// The connections that are exported of shop/cart; nothing where there is no series.
std::string Connections(const Traffic& traffic) {
  const Lines lines = Exported(traffic, absl::StrCat("fairlead_service_connections_total", kCart));
  if (lines.empty()) return "";
  REQUIRE(lines.size() == 1);
  return lines[0].substr(lines[0].rfind(' ') + 1);
}

TEST_CASE("traffic of a Service's port is the sum over its virtual servers") {
  Traffic traffic(MetricsDetail::kService);
  traffic.Learn({{kVip, Planned(kVip)}, {kNodePort, Planned(kNodePort)}});
  traffic.Count({Found(kVip, 10, {Real("10.244.1.2", 4, 1, 2), Real("10.244.1.3", 6, 3, 4)}),
                 Found(kNodePort, 1, {Real("10.244.1.2", 1, 5, 6)}),
                 Found(Tcp("192.0.2.1", 80), 1000)});
  const std::string in = absl::StrReplaceAll(kCart, {{"} ", ",direction=\"in\"} "}});
  const std::string out = absl::StrReplaceAll(kCart, {{"} ", ",direction=\"out\"} "}});
  CHECK(Exported(traffic) == Lines{
                                 absl::StrCat("fairlead_service_connections_total", kCart, 11),
                                 absl::StrCat("fairlead_service_packets_total", in, 66),
                                 absl::StrCat("fairlead_service_packets_total", out, 55),
                                 absl::StrCat("fairlead_service_bytes_total", in, 6600),
                                 absl::StrCat("fairlead_service_bytes_total", out, 55000),
                                 absl::StrCat("fairlead_service_active_connections", kCart, 9),
                                 absl::StrCat("fairlead_service_inactive_connections", kCart, 12),
                             });
}

TEST_CASE("traffic counters go on whatever happens to the virtual server") {
  struct Step {
    std::string name;
    ServiceNames::Changes learnt;
    std::vector<ipvs::VirtualServer> table;
    std::string connections;
  };
  const ServiceNames::Server plan = Planned(kVip);
  // One after the other.
  const std::vector<Step> steps = {
      {"unused: no series", {{kVip, plan}}, {Found(kVip, 0)}, ""},
      {"the first connections", {}, {Found(kVip, 10)}, "10"},
      {"none in between", {}, {Found(kVip, 10)}, "10"},
      {"some more", {}, {Found(kVip, 15)}, "15"},
      {"made anew between two readings", {}, {Found(kVip, 4)}, "19"},
      {"gone", {}, {}, "19"},
      {"made anew, with more than it had", {}, {Found(kVip, 40)}, "59"},
      {"planned anew", {{kVip, plan}}, {Found(kVip, 41)}, "60"},
      {"another address of the port",
       {{kNodePort, Planned(kNodePort)}},
       {Found(kVip, 41), Found(kNodePort, 5)},
       "65"},
      {"that address goes", {{kNodePort, nullptr}}, {Found(kVip, 41)}, "65"},
      {"not wanted, and still there: it drains", {{kVip, nullptr}}, {Found(kVip, 43)}, "67"},
      {"wanted again", {{kVip, plan}}, {Found(kVip, 44)}, "68"},
      {"not wanted and gone: so is the port", {{kVip, nullptr}}, {}, ""},
      {"there again: from the start", {{kVip, plan}}, {Found(kVip, 3)}, "3"},
  };
  Traffic traffic(MetricsDetail::kService);
  for (const Step& step : steps) {
    INFO(step.name);
    traffic.Learn(step.learnt);
    traffic.Count(step.table);
    CHECK(Connections(traffic) == step.connections);
  }
  CHECK(traffic.ports() == 1);
  CHECK(traffic.servers() == 1);
}

TEST_CASE("a virtual server that goes to another Service counts there from then on") {
  Traffic traffic(MetricsDetail::kService);
  traffic.Learn({{kVip, Planned(kVip)}});
  traffic.Count({Found(kVip, 10)});
  traffic.Learn({{kVip, Planned(kVip, {}, "till")}});
  traffic.Count({Found(kVip, 12)});
  CHECK(Connections(traffic) == "");
  CHECK(Exported(traffic, "fairlead_service_connections_total") ==
        Lines{absl::StrCat("fairlead_service_connections_total{service_namespace=\"shop\","
                           "service_name=\"till\",service_port=\"http\",protocol=\"TCP\"} 2")});
  CHECK(traffic.ports() == 1);
}

TEST_CASE("traffic of endpoints has their Pods, over all addresses of the port") {
  Traffic traffic(MetricsDetail::kEndpoint);
  const auto connections = [&] { return Exported(traffic, "fairlead_endpoint_connections_total"); };
  const auto line = [](const std::string& address, const std::string& pod, int count) {
    return absl::StrCat(
        "fairlead_endpoint_connections_total{service_namespace=\"shop\",service_name=\"cart\","
        "service_port=\"http\",protocol=\"TCP\",endpoint_address=\"",
        address, ":8080\",endpoint_pod=\"", pod, "\"} ", count);
  };
  traffic.Learn({{kVip, Planned(kVip, {"10.244.1.2", "10.244.1.3"})},
                 {kNodePort, Planned(kNodePort, {"10.244.1.2", "10.244.1.3"})}});
  traffic.Count({Found(kVip, 5, {Real("10.244.1.2", 5), Real("10.244.1.3", 0)}),
                 Found(kNodePort, 2, {Real("10.244.1.2", 2), Real("10.244.1.3", 0)})});
  CHECK(connections() == Lines{line("10.244.1.2", "pod-10.244.1.2", 7)});

  SECTION("an endpoint that drains keeps its name, and goes with the real server") {
    traffic.Learn(
        {{kVip, Planned(kVip, {"10.244.1.3"})}, {kNodePort, Planned(kNodePort, {"10.244.1.3"})}});
    traffic.Count({Found(kVip, 6, {Real("10.244.1.2", 6, 1), Real("10.244.1.3", 0)}),
                   Found(kNodePort, 2, {Real("10.244.1.3", 0)})});
    CHECK(connections() == Lines{line("10.244.1.2", "pod-10.244.1.2", 8)});
    traffic.Count({Found(kVip, 6, {Real("10.244.1.3", 1)}), Found(kNodePort, 2)});
    CHECK(connections() == Lines{line("10.244.1.3", "pod-10.244.1.3", 1)});
  }
  SECTION("it goes on where its virtual server is made anew") {
    traffic.Count(
        {Found(kVip, 1, {Real("10.244.1.2", 1)}), Found(kNodePort, 2, {Real("10.244.1.2", 2)})});
    CHECK(connections() == Lines{line("10.244.1.2", "pod-10.244.1.2", 8)});
  }
}

TEST_CASE("real servers are read of what has had a packet, and of what shares its port") {
  Traffic traffic(MetricsDetail::kService);
  const auto other = Tcp("10.96.0.2", 80);
  traffic.Learn({{kVip, Planned(kVip)},
                 {kNodePort, Planned(kNodePort)},
                 {other, Planned(other, {}, "till")}});
  const auto used = [&] {
    return std::vector<bool>{traffic.MayBeUsed(Found(kVip, 0)),
                             traffic.MayBeUsed(Found(kNodePort, 0)),
                             traffic.MayBeUsed(Found(other, 0))};
  };
  CHECK(used() == std::vector<bool>{false, false, false});
  CHECK(traffic.MayBeUsed(Found(kVip, 1)));
  CHECK_FALSE(traffic.MayBeUsed(Found(Tcp("10.96.0.3", 80), 1)));  // Somebody else's.

  traffic.Count({Found(kVip, 0), Found(kNodePort, 2), Found(other, 0)});
  // Also when its counters are set to zero.
  CHECK(used() == std::vector<bool>{true, true, false});
  // What was counted before stays, and what is open is counted.
  traffic.Count({Found(kVip, 0), Found(kNodePort, 0, {Real("10.244.1.2", 0, 3)}), Found(other, 0)});
  CHECK(Connections(traffic) == "2");
  CHECK(Exported(traffic, "fairlead_service_active_connections") ==
        Lines{absl::StrCat("fairlead_service_active_connections", kCart, 3)});
}

TEST_CASE("no more is exported than was asked for") {
  struct Row {
    std::string name;
    MetricsDetail detail;
    std::vector<size_t> series;  // Of Services and of endpoints.
  };
  const std::vector<Row> rows = {{"none", MetricsDetail::kNone, {0, 0}},
                                 {"service", MetricsDetail::kService, {7, 0}},
                                 {"endpoint", MetricsDetail::kEndpoint, {7, 7}}};
  for (const Row& row : rows) {
    INFO(row.name);
    Traffic traffic(row.detail);
    traffic.Learn({{kVip, Planned(kVip, {"10.244.1.2"})}});
    traffic.Count({Found(kVip, 1, {Real("10.244.1.2", 1)})});
    CHECK(std::vector<size_t>{Exported(traffic, "fairlead_service_").size(),
                              Exported(traffic, "fairlead_endpoint_").size()} == row.series);
  }
}

TEST_CASE("what nobody wants is forgotten without a table too") {
  Traffic traffic(MetricsDetail::kNone);
  traffic.Learn({{kVip, Planned(kVip)}, {kNodePort, Planned(kNodePort)}});
  traffic.Learn({{kNodePort, nullptr}});
  traffic.Prune();
  CHECK(traffic.servers() == 1);
  CHECK(traffic.ports() == 1);
  traffic.Learn({{kVip, nullptr}});
  traffic.Prune();
  CHECK(traffic.servers() == 0);
  CHECK(traffic.ports() == 0);
}

TEST_CASE("ports without local endpoints are counted once for each family and side") {
  // Policy Local with endpoints elsewhere only.
  const auto lacking = [](const ipvs::VirtualServerKey& key, AddressKind kind,
                          const std::string& name) {
    PlannedVirtualServer server = *Planned(key, {}, name);
    server.kind = kind;
    server.policy = TrafficPolicy::kLocal;
    server.verdict = Verdict::kDrop;
    return std::make_shared<const PlannedVirtualServer>(std::move(server));
  };
  const auto count = [](const Traffic& traffic) {
    std::string text;
    traffic.AppendNoLocalEndpoints(text);
    return Series(text);
  };
  const auto lines = [](int internal4, int internal6, int external4, int external6) {
    const std::string name = "kubeproxy_sync_proxy_rules_no_local_endpoints_total";
    return Lines{absl::StrCat(name, R"({traffic_policy="internal",ip_family="IPv4"} )", internal4),
                 absl::StrCat(name, R"({traffic_policy="internal",ip_family="IPv6"} )", internal6),
                 absl::StrCat(name, R"({traffic_policy="external",ip_family="IPv4"} )", external4),
                 absl::StrCat(name, R"({traffic_policy="external",ip_family="IPv6"} )", external6)};
  };
  Traffic traffic(MetricsDetail::kNone);
  CHECK(count(traffic) == lines(0, 0, 0, 0));
  const auto vip6 = Tcp("fd00::1", 80);
  const auto balancer = Tcp("198.18.0.1", 80);
  traffic.Learn({{kVip, lacking(kVip, AddressKind::kClusterIp, "cart")},
                 {vip6, lacking(vip6, AddressKind::kClusterIp, "cart")},
                 {kNodePort, lacking(kNodePort, AddressKind::kNodePort, "cart")},
                 {balancer, lacking(balancer, AddressKind::kLoadBalancer, "cart")},
                 {Tcp("10.96.0.2", 80), Planned(Tcp("10.96.0.2", 80))}});
  CHECK(count(traffic) == lines(1, 1, 1, 0));
  traffic.Learn({{kVip, nullptr}, {kNodePort, Planned(kNodePort, {"10.244.1.2"})}});
  CHECK(count(traffic) == lines(0, 1, 1, 0));
}

}  // namespace
}  // namespace fairlead
