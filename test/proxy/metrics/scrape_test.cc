#include "proxy/metrics/scrape.h"

#include <catch2/catch.hpp>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ipvs/memory_table.h"
#include "test/proxy/reconcile/memory_kernel.h"

namespace fairlead {
namespace {

using testing::Lines;
using testing::Pod;
using testing::Tcp;

const ipvs::VirtualServerKey kVip = Tcp("10.96.0.1", 80);

// A scrape of a table in memory, in which shop/cart has a connection.
class Stage {
 public:
  explicit Stage(MetricsDetail detail = MetricsDetail::kService)
      : scrape(names,
               {.detail = detail,
                .open_table = [this]() -> absl::StatusOr<std::unique_ptr<ipvs::Table>> {
                  ++opened;
                  if (!open_status.ok()) return open_status;
                  return std::make_unique<View>(*this);
                },
                .now = [this] { return now += absl::Milliseconds(1500); },
                .counting = [this] { return counting; },
                .changed =
                    [this](const absl::Status& status) { told.emplace_back(status.message()); }}) {
    table.Apply({ipvs::Operation::AddVirtualServer(
                     kVip, ipvs::VirtualServerConfig::ForFamily(kVip.family, "rr")),
                 ipvs::Operation::AddRealServer(kVip, Pod("10.244.1.2"), {})});
    REQUIRE(table.SetConnections(kVip, Pod("10.244.1.2"), 3, 4).ok());
    REQUIRE(table.SetStatistics(kVip, {.connections = 7}).ok());
    PlannedVirtualServer server = testing::Vip(kVip, {"10.244.1.2"});
    server.service = {"shop", "cart"};
    names.Put({{kVip, std::make_shared<const PlannedVirtualServer>(server)}});
  }

  std::string Text() {
    std::string text;
    scrape.Append(text);
    return text;
  }

  ipvs::MemoryTable table;
  absl::Status open_status;
  absl::Time now = absl::UnixEpoch();
  bool counting = true;
  int opened = 0;
  Lines read;  // Virtual servers whose real servers were.
  Lines told;
  ServiceNames names;
  Scrape scrape;

 private:
  // The scrape owns its table; this one is looked at afterwards.
  class View : public ipvs::Table {
   public:
    explicit View(Stage& stage) : stage_(stage) {}
    absl::StatusOr<std::vector<ipvs::VirtualServer>> Dump() override { return stage_.table.Dump(); }
    absl::StatusOr<std::vector<ipvs::VirtualServer>> DumpWhere(
        absl::FunctionRef<bool(const ipvs::VirtualServer&)> whole) override {
      return stage_.table.DumpWhere([&](const ipvs::VirtualServer& server) {
        if (whole(server)) stage_.read.push_back(server.key.Format());
        return whole(server);
      });
    }
    absl::StatusOr<ipvs::VirtualServer> Get(const ipvs::VirtualServerKey& key) override {
      return stage_.table.Get(key);
    }
    std::vector<absl::Status> Apply(absl::Span<const ipvs::Operation> operations) override {
      return stage_.table.Apply(operations);
    }

   private:
    Stage& stage_;
  };
};

bool Has(const std::string& text, const std::string& line) {
  return absl::StrContains(absl::StrCat("\n", text), absl::StrCat("\n", line, "\n"));
}

constexpr char kActive[] =
    "fairlead_service_active_connections{service_namespace=\"shop\",service_name=\"cart\","
    "service_port=\"p80\",protocol=\"TCP\"} 3";

TEST_CASE("a scrape reads the table with a socket that it keeps") {
  Stage stage;
  for (int i = 0; i < 2; ++i) {
    const std::string text = stage.Text();
    CHECK(Has(text, kActive));
    CHECK(Has(text, "fairlead_counters_read_seconds 1.5"));
    CHECK(Has(text, "fairlead_counters_read_errors_total 0"));
  }
  CHECK(stage.opened == 1);
  CHECK(stage.told.empty());
}

TEST_CASE("a scrape reads no real servers of what nobody uses") {
  Stage stage;
  const auto idle = Tcp("10.96.0.2", 80);
  stage.table.Apply({ipvs::Operation::AddVirtualServer(
      idle, ipvs::VirtualServerConfig::ForFamily(idle.family, "rr"))});
  PlannedVirtualServer server = testing::Vip(idle, {});
  server.service = {"shop", "till"};
  stage.names.Put({{idle, std::make_shared<const PlannedVirtualServer>(server)}});
  CHECK(Has(stage.Text(), kActive));
  CHECK(stage.read == Lines{"TCP 10.96.0.1:80"});

  // Where the kernel does not count, nothing says that it is idle.
  stage.counting = false;
  stage.read.clear();
  CHECK(Has(stage.Text(), kActive));
  CHECK(stage.read == Lines{"TCP 10.96.0.1:80", "TCP 10.96.0.2:80"});
}

TEST_CASE("a scrape that cannot read the kernel has none of its counters, and says so once") {
  Stage stage;
  struct Step {
    std::string name;
    std::string open_error;
    std::string read_error;
    bool there = false;
    int errors = 0;
    int opened = 0;
    Lines told;  // Since the start.
  };
  const std::vector<Step> steps = {
      {"the socket cannot be had", "no IPVS", "", false, 1, 1, {"no IPVS"}},
      {"nor the next time", "no IPVS", "", false, 2, 2, {"no IPVS"}},
      {"it can", "", "", true, 2, 3, {"no IPVS", ""}},
      {"the dump fails", "", "interrupted", false, 3, 3, {"no IPVS", "", "interrupted"}},
      {"a new socket", "", "", true, 3, 4, {"no IPVS", "", "interrupted", ""}},
  };
  for (const Step& step : steps) {
    INFO(step.name);
    stage.open_status =
        step.open_error.empty() ? absl::OkStatus() : absl::FailedPreconditionError(step.open_error);
    stage.table.ClearFailures();
    if (!step.read_error.empty()) stage.table.FailReads(absl::UnavailableError(step.read_error));
    const std::string text = stage.Text();
    CHECK(Has(text, kActive) == step.there);
    CHECK(Has(text, absl::StrCat("fairlead_counters_read_errors_total ", step.errors)));
    CHECK(stage.opened == step.opened);
    CHECK(stage.told == step.told);
  }
}

TEST_CASE("without detail the kernel is not asked") {
  Stage stage(MetricsDetail::kNone);
  const std::string text = stage.Text();
  CHECK(stage.opened == 0);
  CHECK_FALSE(absl::StrContains(text, "fairlead_"));
  CHECK(absl::StrContains(text, "kubeproxy_sync_proxy_rules_no_local_endpoints_total"));
}

TEST_CASE("names are put while scrapes read them") {
  Stage stage;
  std::thread loop([&] {
    for (int i = 0; i < 1000; ++i) {
      const auto key = Tcp("10.96.1.1", static_cast<uint16_t>(1 + i % 10));
      PlannedVirtualServer server = testing::Vip(key, {});
      server.service = {"shop", "till"};
      stage.names.Put(
          {{key, i % 3 == 0 ? nullptr : std::make_shared<const PlannedVirtualServer>(server)}});
    }
  });
  int found = 0;
  for (int i = 0; i < 100; ++i) found += Has(stage.Text(), kActive) ? 1 : 0;
  loop.join();
  CHECK(found == 100);
}

TEST_CASE("of names that change often the last one is handed over, once") {
  ServiceNames names;
  const auto first = std::make_shared<const PlannedVirtualServer>(testing::Vip(kVip, {}));
  const auto second = std::make_shared<const PlannedVirtualServer>(testing::Vip(kVip, {}));
  const auto other = Tcp("10.96.0.2", 80);
  names.Put({{kVip, first}, {other, first}});
  names.Put({{kVip, second}});
  names.Put({{other, nullptr}});
  CHECK(names.Take() == ServiceNames::Changes{{kVip, second}, {other, nullptr}});
  CHECK(names.Take().empty());
}

}  // namespace
}  // namespace fairlead
