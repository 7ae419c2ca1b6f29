// What the programming benchmark does with each proxy at each size, and with the bare messages.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "test/bench/programming_bare.h"
#include "test/bench/programming_node.h"
#include "test/bench/programming_source.h"
#include "test/bench/programming_summary.h"
#include "test/bench/report.h"

namespace fairlead::bench {

struct CaseOptions {
  int endpoints = 10;
  // Of a first sync and a restart, and of the bare messages. What follows the API server has one.
  int rounds = 3;
  int changes = 100;
  absl::Duration flood = absl::Minutes(1);
  // After which a measurement is given up.
  absl::Duration limit = absl::Minutes(5);
};

// One proxy at one size, in nodes of its own. What is given up is Absent in the report.
class ProxyCases {
 public:
  // `source` has so many Services of the crowd, and probe().
  ProxyCases(const CaseOptions& options, const ProxyKind& kind, int services, Source& source,
             KernelCounters& counters, Report& report, Summary& summary);

  // All of them; adds a section. False if the first sync was given up.
  bool Run();

  // The Service whose endpoints change.
  static BenchService Probe(const CaseOptions& options);

 private:
  // Thrown where a measurement is given up: why.
  struct Given {
    std::string up;
  };

  struct Spent {
    double cpu_ms = 0;
    double messages = 0;
    double ipvs_writes = 0;
    double nft_writes = 0;
    double route_writes = 0;
    double ipset_writes = 0;
    double calls = 0;
  };

  void FirstSync();
  void Restart();
  void Changes();
  void AddAndRemove();
  void RollingUpdate();
  void Flood();
  void Bare();

  // One after the other; appends what each has taken, and what those of some at a time have cost.
  void ChangeEndpoints(int count, std::vector<double>& times, std::vector<double>& written,
                       std::vector<Spent>& spent);
  // Starts the proxy again, with more flags.
  void Relaunch(const std::vector<std::string>& flags);
  void MeasureIdle();

  // Runs a phase, which may be given up; false if it was.
  bool Try(const std::string& row, void (ProxyCases::*phase)());

  // Each ends by throwing Given. `look`: all of the kernel is read, too.
  void AwaitSync(absl::Duration start, bool look);
  // Milliseconds from `start` until the kernel has the service as it is.
  double AwaitInKernel(const BenchService& service, absl::Duration start);
  double AwaitGone(const BenchService& service, absl::Duration start);

  // Until it has nothing to do: kube-proxy goes over everything for a while after a change.
  void AwaitCalm();
  // So that the next change comes alone.
  void AwaitNextChange();
  void ReplaceEndpoint();

  // Sums of its histograms, seconds; kube-proxy has no programming where nothing says when an
  // endpoint was changed.
  struct OwnTimes {
    double passes = 0;
    double pass_count = 0;
    double programming = 0;
    double programming_count = 0;
  };
  OwnTimes ReadOwnTimes() const;

  bool IsThere() const;
  bool HasWorked() const;
  bool HoldsAll() const;
  // Until the kernel has not been changed for a while.
  void AwaitQuiet();
  absl::Duration Quiet() const;

  void Row(const std::string& row, const std::string& unit, std::vector<double> values);
  // What one of so many things has cost that were done since BeginPhase, which was at `start`;
  // without what the idle proxy spends in that time.
  Spent SpentSince(absl::Duration start, bool without_idle = true, double times = 1) const;
  void SpentRows(const std::string& row, const std::vector<Spent>& spent);

  const CaseOptions& options_;
  const ProxyKind& kind_;
  const int services_;
  Source& source_;
  KernelCounters& counters_;
  Report& report_;
  Summary& summary_;
  std::unique_ptr<BenchNode> node_;
  std::unique_ptr<NftWatch> watch_;
  BenchService probe_;
  std::string log_;
  // Over kIdle.
  PhaseCost idle_;
  KernelContent content_;
  std::map<std::string, double> medians_;
};

}  // namespace fairlead::bench
