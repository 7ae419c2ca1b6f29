// What it costs to watch over a table, and how soon it is put right. As root on a kernel with IPVS:
//
//   test/lab/run build/test/bench/audit_bench [--services N] [--endpoints N] [--rounds N]
//
// The reconciler's clock is an argument, so a cycle of ten seconds takes as long as its work.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "ipvs/kernel_table.h"
#include "ipvs/service_count.h"
#include "proxy/kernel/netlink_conntrack.h"
#include "proxy/kernel/netlink_routes.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/nft_program.h"
#include "proxy/kernel/ruleset.h"
#include "proxy/reconcile/reconciler.h"
#include "test/bench/report.h"
#include "test/ipvs/network_namespace.h"

namespace fairlead {
namespace {

constexpr absl::Duration kCycle = absl::Seconds(10);

struct Scale {
  int services = 10'000;
  int endpoints = 10;
  int rounds = 5;
};

std::shared_ptr<const ServicePlan> MakePlan(const Scale& scale, int number) {
  const IpAddress vip = IpAddress::V4(0x0a600001).Plus(static_cast<uint64_t>(number));
  ServicePlan plan;
  plan.service = {"bench", absl::StrCat("s", number)};
  PlannedVirtualServer server;
  server.key = ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, vip, 80);
  server.config = ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv4, "rr");
  server.service = plan.service;
  server.vip = true;
  for (int i = 0; i < scale.endpoints; ++i) {
    const auto offset = static_cast<uint64_t>(number) * scale.endpoints + i;
    server.real_servers.push_back({.key = {IpAddress::V4(0x0af40001).Plus(offset), 8080}});
  }
  plan.virtual_servers.push_back(std::move(server));
  return std::make_shared<const ServicePlan>(std::move(plan));
}

double CpuMilliseconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto milliseconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
  };
  return milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime);
}

struct Cost {
  double cpu = 0;  // Milliseconds.
  double wall = 0;
};

template <typename Work>
Cost Measure(const Work& work) {
  const double cpu = CpuMilliseconds();
  const absl::Time start = absl::Now();
  work();
  return {CpuMilliseconds() - cpu, absl::ToDoubleMilliseconds(absl::Now() - start)};
}

void Add(bench::Report& report, const std::string& what, const std::vector<Cost>& costs) {
  std::vector<double> cpu;
  std::vector<double> wall;
  for (const Cost& cost : costs) {
    cpu.push_back(cost.cpu);
    wall.push_back(cost.wall);
  }
  report.Add(absl::StrCat(what, ": CPU"), "ms", std::move(cpu));
  report.Add(absl::StrCat(what, ": time"), "ms", std::move(wall));
}

template <typename T>
T Need(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "audit_bench: %s\n", value.status().ToString().c_str());
  std::exit(1);
}

void NeedNothingFound(Reconciler& reconciler) {
  if (reconciler.TakeDrift().empty() && reconciler.Failures().empty()) return;
  std::fprintf(stderr, "audit_bench: found what nobody has changed\n");
  std::exit(1);
}

void RunBench(const Scale& scale) {
  ipvs::EnterNewNetworkNamespace();
  const auto table = Need(ipvs::KernelTable::Open());
  const auto firewall = Need(NftFirewall::Open());
  const auto routes = Need(NetlinkRoutes::Open());
  const auto conntrack = Need(NetlinkConntrack::Open());
  const ipvs::ServiceCount count = Need(ipvs::ServiceCount::Open());

  DesiredState desired;
  Touched touched;
  for (int i = 0; i < scale.services; ++i) touched.Merge(desired.Update(MakePlan(scale, i)));
  Reconciler reconciler(*table, *firewall, *routes, *conntrack,
                        {.audit_cycle = kCycle,
                         .count_ipv4_servers = [&] { return count.CountIpv4VirtualServers(); },
                         .list_in_order = [&] { return table->ListInOrder(); }});
  reconciler.SetRuleset(RulesetText({}));
  if (absl::Status adopted = reconciler.Adopt(); !adopted.ok()) {
    std::fprintf(stderr, "audit_bench: %s\n", adopted.ToString().c_str());
    std::exit(1);
  }
  absl::Time now = absl::Now();
  bench::Report report("audit");
  report.Section(
      absl::StrCat(scale.services, " Services with ", scale.endpoints, " endpoints each"));
  Add(report, "first sync", {Measure([&] { reconciler.Reconcile(desired, touched, now); })});
  for (const ReconcileFailure& failure : reconciler.Failures()) {
    std::fprintf(stderr, "audit_bench: %s: %s\n", failure.what.c_str(), failure.why.c_str());
    std::exit(1);
  }

  std::vector<Cost> cycles;
  std::vector<Cost> ticks;
  std::vector<Cost> counts;
  std::vector<Cost> dumps;
  std::vector<double> lasted;  // Seconds.
  for (int round = 0; round < scale.rounds; ++round) {
    double worst = 0;
    double worst_cpu = 0;
    cycles.push_back(Measure([&] {
      // Until all have been read: a tick does no more than its budget allows.
      const absl::Time began = now;
      do {
        now += kAuditTick;
        const Cost tick = Measure([&] { reconciler.Reconcile(desired, {}, now); });
        worst = std::max(worst, tick.wall);
        worst_cpu = std::max(worst_cpu, tick.cpu);
      } while (reconciler.AuditRemaining() > 0);
      lasted.push_back(absl::ToDoubleSeconds(now - began));
    }));
    ticks.push_back({worst_cpu, worst});
    counts.push_back(Measure([&] {
      for (int i = 0; i < 1000; ++i) (void)count.CountIpv4VirtualServers();
    }));
    dumps.push_back(Measure([&] { (void)Need(table->Dump()); }));
    NeedNothingFound(reconciler);
  }
  std::vector<double> shares;
  for (size_t i = 0; i < cycles.size(); ++i) shares.push_back(cycles[i].cpu / lasted[i] / 10);
  Add(report, "audit, a whole cycle", cycles);
  report.Add("  lasts, a tenth of a tick being its limit", "s", lasted);
  report.Add("  and takes meanwhile", "% of 1 CPU", shares);
  Add(report, "  its worst tick: what a change may wait for", ticks);
  Add(report, "count of virtual servers, 1,000 times", counts);
  Add(report, "the whole table at once, for comparison", dumps);

  const auto tick = [&] {
    now += kAuditTick;
    return Measure([&] { reconciler.Reconcile(desired, {}, now); });
  };
  const auto repaired = [&](const char* what, const Cost& cost, DriftKind kind, size_t expected) {
    const DriftReport drift = reconciler.TakeDrift();
    const auto it = drift.counts().find(kind);
    if (it == drift.counts().end() || it->second != expected || !reconciler.Failures().empty()) {
      std::fprintf(stderr, "audit_bench: %s was not put right\n", what);
      std::exit(1);
    }
    Add(report, what, {cost});
  };
  const auto services = static_cast<size_t>(scale.services);
  if (absl::Status flushed = RunNft("flush set inet fairlead owned4\n"); !flushed.ok()) {
    std::fprintf(stderr, "audit_bench: %s\n", flushed.ToString().c_str());
    std::exit(1);
  }
  reconciler.SuspectFirewall();
  repaired("a set of the firewall flushed, filled again", tick(), DriftKind::kElement, services);
  (void)std::system("ip route flush proto 119 table local");
  reconciler.SuspectRoutes();
  repaired("all routes flushed, added again", tick(), DriftKind::kRoute, services);
  (void)std::system("ipvsadm -C");
  repaired("all of IPVS flushed, written again", tick(), DriftKind::kVirtualServer, services);
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  fairlead::Scale scale;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    int* value = flag == "--services"    ? &scale.services
                 : flag == "--endpoints" ? &scale.endpoints
                 : flag == "--rounds"    ? &scale.rounds
                                         : nullptr;
    if (value == nullptr || !absl::SimpleAtoi(argv[i + 1], value) || *value < 1) {
      std::fprintf(stderr, "usage: audit_bench [--services N] [--endpoints N] [--rounds N]\n");
      return 2;
    }
  }
  fairlead::RunBench(scale);
  return 0;
}
