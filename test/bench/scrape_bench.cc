// What a scrape costs an agent with very many Services, and what it costs a change that comes
// meanwhile:
//
//   build/test/bench/scrape_bench [--services N] [--endpoints N] [--rounds N]
//   test/lab/run build/test/bench/scrape_bench --kernel …    as root, with IPVS
//
// Without the kernel every virtual server and every endpoint has had packets, which is the most
// that there can be to write.
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "ipvs/kernel_table.h"
#include "proxy/metrics/scrape.h"
#include "test/bench/need.h"
#include "test/bench/program.h"
#include "test/bench/report.h"
#include "test/ipvs/network_namespace.h"

namespace fairlead::bench {
namespace {

struct Scale {
  int services = 10'000;
  int endpoints = 10;
  int rounds = 5;
  bool kernel = false;
};

ServiceNames::Server MakeServer(const Scale& scale, int number) {
  PlannedVirtualServer server;
  server.key = ipvs::VirtualServerKey::ForAddress(
      ipvs::Protocol::kTcp, IpAddress::V4(0x0a600001).Plus(static_cast<uint64_t>(number)), 80);
  server.config = ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv4, "rr");
  server.service = {"bench", absl::StrCat("service-", number)};
  server.port_name = "http";
  for (int i = 0; i < scale.endpoints; ++i) {
    const auto offset = static_cast<uint64_t>(number) * scale.endpoints + i;
    server.real_servers.push_back({.key = {IpAddress::V4(0x0af40001).Plus(offset), 8080},
                                   .target_name = absl::StrCat("service-", number, "-", i)});
  }
  return std::make_shared<const PlannedVirtualServer>(std::move(server));
}

// What a kernel in which everything has had packets would say.
class BusyTable : public ipvs::Table {
 public:
  explicit BusyTable(const std::vector<ServiceNames::Server>& servers) {
    const ipvs::Statistics counted{1000, 6000, 5000, 600'000, 5'000'000};
    for (const ServiceNames::Server& planned : servers) {
      ipvs::VirtualServer server{.key = planned->key, .config = planned->config};
      server.statistics = counted;
      for (const PlannedRealServer& real : planned->real_servers) {
        server.real_servers.push_back({.key = real.key,
                                       .config = real.config,
                                       .active_connections = 3,
                                       .statistics = counted});
      }
      table_.push_back(std::move(server));
    }
  }

  absl::StatusOr<std::vector<ipvs::VirtualServer>> Dump() override { return table_; }
  absl::StatusOr<ipvs::VirtualServer> Get(const ipvs::VirtualServerKey& key) override {
    return absl::NotFoundError(key.Format());
  }
  std::vector<absl::Status> Apply(absl::Span<const ipvs::Operation> operations) override {
    return std::vector<absl::Status>(operations.size());
  }

 private:
  std::vector<ipvs::VirtualServer> table_;
};

template <typename Work>
double Milliseconds(const Work& work) {
  const absl::Time start = absl::Now();
  work();
  return absl::ToDoubleMilliseconds(absl::Now() - start);
}

void Fill(ipvs::Table& table, const std::vector<ServiceNames::Server>& servers) {
  std::vector<ipvs::Operation> operations;
  for (const ServiceNames::Server& server : servers) {
    operations.push_back(ipvs::Operation::AddVirtualServer(server->key, server->config));
    for (const PlannedRealServer& real : server->real_servers) {
      operations.push_back(ipvs::Operation::AddRealServer(server->key, real.key, real.config));
    }
  }
  for (const absl::Status& status : table.Apply(operations)) Need(status);
}

// Milliseconds of each edit, as often as one can be made while `going`, and often enough.
std::vector<double> TimeEdits(ipvs::Table& table, const PlannedVirtualServer& server,
                              const std::atomic<bool>& going) {
  constexpr size_t kEnough = 1000;
  std::vector<double> times;
  int weight = 1;
  do {
    ipvs::RealServerConfig config = server.real_servers.front().config;
    config.weight = 1 + weight++ % 2;
    times.push_back(Milliseconds([&] {
      Need(table.Apply({ipvs::Operation::EditRealServer(server.key, server.real_servers.front().key,
                                                        config)})[0]);
    }));
  } while (going || times.size() < kEnough);
  return times;
}

void RunBench(const Scale& scale) {
  if (scale.kernel) ipvs::EnterNewNetworkNamespace();
  std::vector<ServiceNames::Server> servers;
  for (int i = 0; i < scale.services; ++i) servers.push_back(MakeServer(scale, i));
  Report report(scale.kernel ? "scrape_kernel" : "scrape");
  report.Section(absl::StrCat(scale.services, " Services with ", scale.endpoints, " endpoints each",
                              scale.kernel ? " in the kernel" : ", all of them used"));

  std::unique_ptr<ipvs::Table> writer;
  if (scale.kernel) {
    writer = Need(ipvs::KernelTable::Open());
    Fill(*writer, servers);
  }
  const auto open = [&]() -> absl::StatusOr<std::unique_ptr<ipvs::Table>> {
    if (!scale.kernel) return std::make_unique<BusyTable>(servers);
    auto opened = ipvs::KernelTable::Open();
    if (!opened.ok()) return opened.status();
    return *std::move(opened);
  };

  for (const auto& [name, detail] :
       {std::pair{"none", MetricsDetail::kNone}, std::pair{"service", MetricsDetail::kService},
        std::pair{"endpoint", MetricsDetail::kEndpoint}}) {
    ServiceNames names;
    std::vector<std::pair<ipvs::VirtualServerKey, ServiceNames::Server>> changes;
    for (const ServiceNames::Server& server : servers) changes.emplace_back(server->key, server);
    const double put = Milliseconds([&] { names.Put(std::move(changes)); });
    if (detail == MetricsDetail::kNone) report.Add("names of all put, once", "ms", put);
    Scrape scrape(names, {.detail = detail,
                          .open_table = open,
                          .now = absl::Now,
                          .counting = [] { return true; },
                          .changed = [](const absl::Status& status) { Need(status); }});
    std::string text;
    scrape.Append(text);
    std::vector<double> times;
    for (int round = 0; round < scale.rounds; ++round) {
      text.clear();
      times.push_back(Milliseconds([&] { scrape.Append(text); }));
    }
    report.Add(absl::StrCat("scrape, --metrics-detail ", name), "ms", times);
    report.Add("  its text", "MiB", static_cast<double>(text.size()) / (1 << 20));

    if (!scale.kernel || detail == MetricsDetail::kNone) continue;
    std::atomic<bool> going = false;
    report.Add("  an edit of a real server", "ms", TimeEdits(*writer, *servers.front(), going));
    going = true;
    // What fails there is thrown here.
    std::future<void> scraper = std::async(std::launch::async, [&] {
      const absl::Cleanup done = [&going] { going = false; };
      for (int round = 0; round < scale.rounds; ++round) {
        std::string unused;
        scrape.Append(unused);
      }
    });
    std::vector<double> busy = TimeEdits(*writer, *servers.front(), going);
    scraper.get();
    report.Add("  the same while scraped", "ms", std::move(busy));
  }
}

int Main(int argc, char** argv) {
  Scale scale;
  BenchProgram program("What a scrape costs, and what it costs a change");
  program.AddSwitch("--kernel", scale.kernel, "of a real kernel's table, in which all is idle");
  program.Add("--services", scale.services, "Services");
  program.Add("--endpoints", scale.endpoints, "endpoints of each");
  program.Add("--rounds", scale.rounds, "scrapes of each kind");
  return program.Run(argc, argv, [&] { RunBench(scale); });
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) { return fairlead::bench::Main(argc, argv); }
