#include "proxy/metrics/operation_counts.h"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>
#include <memory>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "proxy/kernel/ruleset.h"
#include "test/proxy/reconcile/memory_kernel.h"

namespace fairlead {
namespace {

using testing::Lines;
using testing::Pod;
using testing::Tcp;

// The series that are not 0.
Lines Counted(const OperationCounts& counts) {
  std::string text;
  counts.Append(text);
  Lines lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (line[0] != '#' && !absl::EndsWith(line, " 0")) lines.emplace_back(line);
  }
  return lines;
}

TEST_CASE("operations are counted by kind, and what fails by error") {
  testing::MemoryKernel kernel;
  OperationCounts counts;
  const auto vip = Tcp("10.96.0.1", 80);
  const auto config = ipvs::VirtualServerConfig::ForFamily(vip.family, "rr");

  SECTION("of IPVS") {
    CountingTable table(kernel.table, counts);
    const std::vector<absl::Status> statuses =
        table.Apply({ipvs::Operation::AddVirtualServer(vip, config),
                     ipvs::Operation::AddRealServer(vip, Pod("10.244.1.2"), {}),
                     ipvs::Operation::AddRealServer(vip, Pod("10.244.1.3"), {}),
                     ipvs::Operation::EditRealServer(vip, Pod("10.244.1.4"), {}),
                     ipvs::Operation::DeleteRealServer(vip, Pod("10.244.1.3"))});
    REQUIRE(statuses.size() == 5);
    CHECK(Counted(counts) ==
          Lines{R"(fairlead_operations_total{table="ipvs",operation="add_virtual_server"} 1)",
                R"(fairlead_operations_total{table="ipvs",operation="add_real_server"} 2)",
                R"(fairlead_operations_total{table="ipvs",operation="edit_real_server"} 1)",
                R"(fairlead_operations_total{table="ipvs",operation="delete_real_server"} 1)",
                R"(fairlead_operation_errors_total{table="ipvs",error="not_found"} 1)"});
    // It is the same table.
    CHECK(table.Dump().value() == kernel.table.Dump().value());
    CHECK(table.Get(vip).value() == kernel.table.Get(vip).value());
  }
  SECTION("of the firewall, a refused transaction being one error") {
    CountingFirewall firewall(kernel.firewall, counts);
    REQUIRE(firewall.EnsureRuleset(RulesetText({})).ok());
    REQUIRE(firewall.EnsureRuleset(RulesetText({})).ok());
    const Element element = OwnedElement(vip);
    REQUIRE(firewall.Apply({{ElementChange::Verb::kAdd, element}}).ok());
    REQUIRE_FALSE(firewall
                      .Apply({{ElementChange::Verb::kDelete, element},
                              {ElementChange::Verb::kDelete, element}})
                      .ok());
    CHECK(Counted(counts) ==
          Lines{R"(fairlead_operations_total{table="firewall",operation="load_ruleset"} 1)",
                R"(fairlead_operations_total{table="firewall",operation="add_element"} 1)",
                R"(fairlead_operations_total{table="firewall",operation="delete_element"} 2)",
                R"(fairlead_operation_errors_total{table="firewall",error="not_found"} 1)"});
    CHECK(firewall.Dump().value() == std::vector<Element>{element});
  }
  SECTION("of routes") {
    CountingRoutes routes(kernel.routes, counts);
    const VipRoute route{.vip = vip.address, .source = std::nullopt};
    REQUIRE(
        routes.Apply({{RouteChange::Verb::kPut, route}, {RouteChange::Verb::kPut, route}}).size() ==
        2);
    REQUIRE(routes.Apply({{RouteChange::Verb::kDelete, route}}).size() == 1);
    CHECK(Counted(counts) ==
          Lines{R"(fairlead_operations_total{table="routes",operation="put_route"} 2)",
                R"(fairlead_operations_total{table="routes",operation="delete_route"} 1)"});
    CHECK(routes.Dump().value().empty());
  }
}

TEST_CASE("every error that a table may give is there from the start") {
  std::string text;
  OperationCounts().Append(text);
  const auto count = [&](absl::string_view prefix) {
    int lines = 0;
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      if (absl::StartsWith(line, prefix)) ++lines;
    }
    return lines;
  };
  CHECK(count("fairlead_operations_total{") == OperationCounts::kKinds);
  CHECK(count("fairlead_operation_errors_total{") == 9 * OperationCounts::kTables);
}

TEST_CASE("an error that no table should give is counted all the same") {
  OperationCounts counts;
  counts.CountError(OperationCounts::Table::kRoutes, absl::DataLossError(""));
  counts.CountError(OperationCounts::Table::kRoutes, absl::OkStatus());
  CHECK(Counted(counts) ==
        Lines{R"(fairlead_operation_errors_total{table="routes",error="data_loss"} 1)"});
}

TEST_CASE("at debug the log has what is asked of the kernel, and what it refuses") {
  std::ostringstream log;
  const auto before = spdlog::default_logger();
  const auto logger = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log));
  logger->set_pattern("%l: %v");
  spdlog::set_default_logger(logger);

  testing::MemoryKernel kernel;
  OperationCounts counts;
  CountingTable table(kernel.table, counts);
  CountingFirewall firewall(kernel.firewall, counts);
  CountingRoutes routes(kernel.routes, counts);
  const auto vip = Tcp("10.96.0.1", 80);
  const auto write = [&] {
    table.Apply({ipvs::Operation::AddVirtualServer(vip, {}),
                 ipvs::Operation::DeleteRealServer(vip, Pod("10.244.1.2"))});
    REQUIRE(firewall.EnsureRuleset(RulesetText({})).ok());
    REQUIRE(firewall.Apply({{ElementChange::Verb::kAdd, OwnedElement(vip)}}).ok());
    routes.Apply({{RouteChange::Verb::kDelete, {.vip = vip.address}}});
  };
  write();
  CHECK(log.str().empty());
  logger->set_level(spdlog::level::debug);
  table.Apply({ipvs::Operation::DeleteVirtualServer(vip)});
  write();
  spdlog::set_default_logger(before);
  const Lines lines = absl::StrSplit(log.str(), '\n', absl::SkipEmpty());
  REQUIRE(lines.size() == 5);
  CHECK(lines[0] == "debug: kernel: delete virtual server TCP 10.96.0.1:80");
  CHECK(lines[1] == "debug: kernel: add virtual server TCP 10.96.0.1:80");
  CHECK(absl::StartsWith(
      lines[2],
      "debug: kernel: delete real server 10.244.1.2:8080 from TCP 10.96.0.1:80: NOT_FOUND: "));
  CHECK(lines[3] == "debug: kernel: add element owned4 10.96.0.1 . tcp . 80");
  CHECK(lines[4] == "debug: kernel: delete route 10.96.0.1");
}

}  // namespace
}  // namespace fairlead
