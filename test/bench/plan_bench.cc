// What planning costs, without a kernel:
//
//   build/test/bench/plan_bench [--changes N]
//
// Times are of Google Benchmark. Instructions are counted by callgrind, under which the program
// runs itself: they are exact where time is not.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proxy/plan/planner.h"
#include "test/bench/need.h"
#include "test/bench/objects.h"
#include "test/bench/program.h"
#include "test/bench/report.h"
#include "test/proxy/agent/test_agent.h"
#include "watcher/snapshot.h"

namespace fairlead::bench {
namespace {

constexpr int kRepetitions = 9;

// A node's configuration, as it is once the agent has read its addresses.
NodeConfig MakeConfig() {
  NodeConfig config;
  config.node_name = "ip-10-0-1-17.eu-central-1.compute.internal";
  config.node_ips = {IpAddress::V4(0xc0a80101)};
  config.schedulers = {"rr"};
  return config;
}

// What has been received and planned of a cluster of this size.
struct PlannedCluster {
  explicit PlannedCluster(const Scale& scale) : planner(MakeConfig()) {
    for (const Object& object : MakeObjects(scale)) snapshot.Upsert(object);
    planner.Replan(snapshot, snapshot.TakeDirtyServices());
  }

  Snapshot snapshot;
  Planner planner;
};

// One endpoint of one Service among a thousand is another, each time.
void ReplanOne(benchmark::State& state) {
  const int endpoints = static_cast<int>(state.range(0));
  PlannedCluster cluster({.services = 1000, .endpoints = endpoints});
  const Object versions[] = {MakeSlice(7, endpoints, 1), MakeSlice(7, endpoints, 0)};
  int change = 0;
  for (auto unused : state) {
    cluster.snapshot.Upsert(versions[change++ % 2]);
    const Touched touched =
        cluster.planner.Replan(cluster.snapshot, cluster.snapshot.TakeDirtyServices());
    if (touched.virtual_servers.size() != 1) state.SkipWithError("the change was not seen");
  }
}

// All are dirty, and as they were: what another address of the node costs.
void ReplanAll(benchmark::State& state) {
  PlannedCluster cluster({.services = static_cast<int>(state.range(0)), .endpoints = 10});
  NodeConfig config = cluster.planner.config();
  for (auto unused : state) {
    config.masquerade_all = !config.masquerade_all;
    const Touched touched = cluster.planner.SetConfig(config, cluster.snapshot);
    if (touched.virtual_servers.size() != static_cast<size_t>(state.range(0))) {
      state.SkipWithError("not all were touched");
    }
  }
}

// What the agent has to write for one endpoint that is another, with all that it does for it but
// the kernel's part: the picture, the plan, the difference, the order of work, metrics, the
// acknowledgement.
class ChangingAgent {
 public:
  explicit ChangingAgent(const Scale& scale) : scale_(scale) {
    agent_.FeedAndPass(1, MakeObjects(scale));
    // As the agent does after a picture.
    malloc_trim(0);
  }

  // The pass that carries it out.
  void Change() {
    ++changes_;
    const int service = (changes_ * 7) % scale_.services;
    FeedUpdate update{.position = {"epoch", 1 + static_cast<uint64_t>(changes_)},
                      .upserts = {MakeSlice(service, scale_.endpoints, ++versions_[service])},
                      .received = agent_.now};
    agent_.Put(std::move(update));
    agent_.kernel.table.ClearOperations();
    CALLGRIND_START_INSTRUMENTATION;
    agent_.agent.Pass();
    CALLGRIND_STOP_INSTRUMENTATION;
    // A real server added; another given weight 0, and removed, as it has no connections.
    const size_t operations = agent_.kernel.table.operations().size();
    Need(operations == 3, absl::StrCat("a change made ", operations, " operations"));
  }

 private:
  const Scale scale_;
  fairlead::testing::TestAgent agent_;
  int changes_ = 0;
  std::map<int, int> versions_;
};

void AgentPass(benchmark::State& state) {
  ChangingAgent agent({.services = static_cast<int>(state.range(0)), .endpoints = 10});
  for (auto unused : state) agent.Change();
}

// Hands each repetition to the report, by the benchmark's name.
class Collector : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      Need(!run.error_occurred, run.error_message);
      if (run.run_type != Run::RT_Iteration) continue;
      microseconds_[run.run_name.function_name + "/" + run.run_name.args].push_back(
          run.real_accumulated_time / static_cast<double>(run.iterations) * 1e6);
    }
  }
  const std::vector<double>& Of(const std::string& name) { return microseconds_[name]; }

 private:
  std::map<std::string, std::vector<double>> microseconds_;
};

std::string Name(const char* function, int argument) {
  return absl::StrCat(function, "/", argument);
}

void Times(Report& report) {
  const std::vector<int> endpoint_counts = {1, 10, 100, 1000};
  const std::vector<int> service_counts = {100, 1000, 10'000};
  const auto add = [](const char* name, void (*function)(benchmark::State&),
                      const std::vector<int>& arguments) {
    auto* registered = benchmark::RegisterBenchmark(name, function);
    registered->Repetitions(kRepetitions)->MinTime(0.05);
    for (int argument : arguments) registered->Arg(argument);
  };
  add("one", ReplanOne, endpoint_counts);
  add("all", ReplanAll, service_counts);
  add("pass", AgentPass, service_counts);
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector);

  report.Section("One Service of 1,000 planned again because one endpoint is another");
  for (int endpoints : endpoint_counts) {
    report.Add(absl::StrCat(endpoints, endpoints == 1 ? " endpoint" : " endpoints"), "us",
               collector.Of(Name("one", endpoints)));
  }
  report.Section("All Services planned again, 10 endpoints each");
  for (int services : service_counts) {
    report.Add(absl::StrCat(services, " Services"), "us", collector.Of(Name("all", services)));
  }
  report.Section("One endpoint changed: the agent's whole pass, over a kernel in memory");
  for (int services : service_counts) {
    report.Add(absl::StrCat("of ", services, " Services"), "us",
               collector.Of(Name("pass", services)));
  }
}

// The whole of one program run under callgrind.
double CountInstructions(const Scale& scale, int changes) {
  char folder[] = "/tmp/plan_bench.XXXXXX";
  Need(mkdtemp(folder) != nullptr, "cannot make a folder");
  const std::string result = absl::StrCat(folder, "/callgrind");
  const std::string log = absl::StrCat(folder, "/log");
  const std::string command =
      absl::StrCat("valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file=", result,
                   " --log-file=", log, " /proc/", getpid(), "/exe --instructions ", scale.services,
                   " --changes ", changes);
  const int status = std::system(command.c_str());
  double instructions = 0;
  std::ifstream file(result);
  std::string line;
  while (std::getline(file, line)) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "totals: ")) (void)absl::SimpleAtod(rest, &instructions);
  }
  Need(status == 0 && instructions > 0, absl::StrCat("valgrind does not run, see ", log));
  (void)std::system(absl::StrCat("rm -r ", folder).c_str());
  return instructions / changes;
}

void Instructions(Report& report, int changes) {
  report.Section("Instructions of that pass (callgrind)");
  std::map<int, double> counted;
  for (int services : {100, 1000, 10'000}) {
    counted[services] = CountInstructions({.services = services}, changes);
    report.Add(absl::StrCat("of ", services, " Services"), "instr.", counted[services]);
  }
  report.Goal("one endpoint of 10,000 Services, beside one of 100", counted[10'000] / counted[100],
              1.1, "times");
}

void CountOnly(int services, int changes) {
  ChangingAgent agent({.services = services});
  // The first one puts the free memory in order that the picture has left.
  agent.Change();
  CALLGRIND_ZERO_STATS;
  for (int i = 0; i < changes; ++i) agent.Change();
}

int Main(int argc, char** argv) {
  int changes = 200;
  int instructions = 0;
  BenchProgram program("What planning costs, in time and in instructions");
  program.Add("--changes", changes, "changes whose instructions are counted");
  program.Add("--instructions", instructions,
              "only make the changes, of so many Services, for valgrind to count", 0);
  return program.Run(argc, argv, [&] {
    if (instructions > 0) {
      CountOnly(instructions, changes);
      return;
    }
    Report report("plan");
    Times(report);
    Instructions(report, changes);
  });
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) { return fairlead::bench::Main(argc, argv); }
