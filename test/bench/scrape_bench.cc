// What a scrape costs an agent with very many Services, and what it costs a change that comes
// meanwhile:
//
//   build/test/bench/scrape_bench [--services N] [--endpoints N] [--rounds N]
//   test/lab/run build/test/bench/scrape_bench --kernel yes …    as root, with IPVS
//
// Without the kernel every virtual server and every endpoint has had packets, which is the most
// that there can be to write.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "ipvs/kernel_table.h"
#include "proxy/metrics/scrape.h"
#include "test/ipvs/network_namespace.h"

namespace fairlead {
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

double Quantile(std::vector<double> values, double quantile) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(quantile * static_cast<double>(values.size() - 1))];
}

void Print(const std::string& what, double milliseconds, double objects, const char* object) {
  std::printf("%-58s %9.1f ms %9.2f us/%s\n", what.c_str(), milliseconds,
              1e3 * milliseconds / objects, object);
  std::fflush(stdout);
}

[[noreturn]] void Fail(const absl::Status& status) {
  std::fprintf(stderr, "scrape_bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

void Fill(ipvs::Table& table, const std::vector<ServiceNames::Server>& servers) {
  std::vector<ipvs::Operation> operations;
  for (const ServiceNames::Server& server : servers) {
    operations.push_back(ipvs::Operation::AddVirtualServer(server->key, server->config));
    for (const PlannedRealServer& real : server->real_servers) {
      operations.push_back(ipvs::Operation::AddRealServer(server->key, real.key, real.config));
    }
  }
  for (const absl::Status& status : table.Apply(operations)) {
    if (!status.ok()) Fail(status);
  }
}

// Median and worst time of an edit, as often as it can be made while `going`.
std::pair<double, double> TimeEdits(ipvs::Table& table, const PlannedVirtualServer& server,
                                    const std::atomic<bool>& going) {
  std::vector<double> times;
  int weight = 1;
  do {
    ipvs::RealServerConfig config = server.real_servers.front().config;
    config.weight = 1 + weight++ % 2;
    times.push_back(Milliseconds([&] {
      const auto statuses = table.Apply(
          {ipvs::Operation::EditRealServer(server.key, server.real_servers.front().key, config)});
      if (!statuses[0].ok()) Fail(statuses[0]);
    }));
  } while (going || times.size() < 1000);
  return {Quantile(times, 0.5), Quantile(times, 1)};
}

void RunBench(const Scale& scale) {
  if (scale.kernel) ipvs::EnterNewNetworkNamespace();
  std::vector<ServiceNames::Server> servers;
  for (int i = 0; i < scale.services; ++i) servers.push_back(MakeServer(scale, i));
  const double services = scale.services;
  const double endpoints = services * scale.endpoints;
  std::printf("%d Services with %d endpoints each%s, medians of %d rounds\n", scale.services,
              scale.endpoints, scale.kernel ? " in the kernel" : ", all of them used",
              scale.rounds);

  std::unique_ptr<ipvs::Table> writer;
  if (scale.kernel) {
    auto opened = ipvs::KernelTable::Open();
    if (!opened.ok()) Fail(opened.status());
    writer = *std::move(opened);
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
    if (detail == MetricsDetail::kNone) Print("names of all put, once", put, services, "Service");
    Scrape scrape(names, {.detail = detail,
                          .open_table = open,
                          .now = absl::Now,
                          .changed = [](const absl::Status& status) { Fail(status); }});
    std::string text;
    scrape.Append(text);
    std::vector<double> times;
    for (int round = 0; round < scale.rounds; ++round) {
      text.clear();
      times.push_back(Milliseconds([&] { scrape.Append(text); }));
    }
    Print(absl::StrCat("scrape, --metrics-detail ", name), Quantile(times, 0.5),
          detail == MetricsDetail::kEndpoint ? endpoints : services,
          detail == MetricsDetail::kEndpoint ? "endpoint" : "Service");
    std::printf("%-58s %9.1f MiB\n", "  its text", static_cast<double>(text.size()) / (1 << 20));

    if (!scale.kernel || detail == MetricsDetail::kNone) continue;
    std::atomic<bool> going = false;
    const auto quiet = TimeEdits(*writer, *servers.front(), going);
    going = true;
    std::thread scraper([&] {
      for (int round = 0; round < scale.rounds; ++round) {
        std::string unused;
        scrape.Append(unused);
      }
      going = false;
    });
    const auto busy = TimeEdits(*writer, *servers.front(), going);
    scraper.join();
    std::printf("%-58s %9.3f ms, %.3f ms while scraped: x%.1f; worst %.1f ms, %.1f ms: x%.1f\n",
                "  an edit of a real server", quiet.first, busy.first, busy.first / quiet.first,
                quiet.second, busy.second, busy.second / quiet.second);
  }
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  fairlead::Scale scale;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--kernel") {
      scale.kernel = std::string(argv[i + 1]) == "yes";
      continue;
    }
    int* value = flag == "--services"    ? &scale.services
                 : flag == "--endpoints" ? &scale.endpoints
                 : flag == "--rounds"    ? &scale.rounds
                                         : nullptr;
    if (value == nullptr || !absl::SimpleAtoi(argv[i + 1], value) || *value < 1) {
      std::fprintf(stderr,
                   "usage: scrape_bench [--kernel yes] [--services N] [--endpoints N] "
                   "[--rounds N]\n");
      return 2;
    }
  }
  fairlead::RunBench(scale);
  return 0;
}
