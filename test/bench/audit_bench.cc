// What it costs to watch over a table, and how soon it is put right. As root on a kernel with IPVS:
//
//   test/lab/run build/test/bench/audit_bench [--services N] [--endpoints N] [--rounds N]
//
// The reconciler's clock is an argument, so a cycle of ten seconds takes as long as its work.
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

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
#include "test/bench/need.h"
#include "test/bench/program.h"
#include "test/bench/report.h"
#include "test/ipvs/network_namespace.h"

namespace fairlead::bench {
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

void Add(Report& report, const std::string& what, const std::vector<Cost>& costs) {
  std::vector<double> cpu;
  std::vector<double> wall;
  for (const Cost& cost : costs) {
    cpu.push_back(cost.cpu);
    wall.push_back(cost.wall);
  }
  report.Add(absl::StrCat(what, ": CPU"), "ms", std::move(cpu));
  report.Add(absl::StrCat(what, ": time"), "ms", std::move(wall));
}

void NeedNothingFound(Reconciler& reconciler) {
  Need(reconciler.TakeDrift().empty() && reconciler.Failures().empty(),
       "found what nobody has changed");
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
  Need(reconciler.Adopt());
  absl::Time now = absl::Now();
  Report report("audit");
  report.Section(
      absl::StrCat(scale.services, " Services with ", scale.endpoints, " endpoints each"));
  Add(report, "first sync", {Measure([&] { reconciler.Reconcile(desired, touched, now); })});
  for (const ReconcileFailure& failure : reconciler.Failures()) {
    Need(false, absl::StrCat(failure.what, ": ", failure.why));
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
    Need(it != drift.counts().end() && it->second == expected && reconciler.Failures().empty(),
         absl::StrCat(what, ": was not put right"));
    Add(report, what, {cost});
  };
  const auto services = static_cast<size_t>(scale.services);
  Need(RunNft("flush set inet fairlead owned4\n"));
  reconciler.SuspectFirewall();
  repaired("a set of the firewall flushed, filled again", tick(), DriftKind::kElement, services);
  Need(std::system("ip route flush proto 119 table local") == 0, "cannot flush routes");
  reconciler.SuspectRoutes();
  repaired("all routes flushed, added again", tick(), DriftKind::kRoute, services);
  Need(std::system("ipvsadm -C") == 0, "cannot flush IPVS");
  repaired("all of IPVS flushed, written again", tick(), DriftKind::kVirtualServer, services);
}

int Main(int argc, char** argv) {
  Scale scale;
  BenchProgram program("What watching over a table costs");
  program.Add("--services", scale.services, "Services");
  program.Add("--endpoints", scale.endpoints, "endpoints of each");
  program.Add("--rounds", scale.rounds, "cycles of the audit");
  return program.Run(argc, argv, [&] { RunBench(scale); });
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) { return fairlead::bench::Main(argc, argv); }
