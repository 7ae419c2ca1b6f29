// What the feed costs a watcher: agents in thousands, each with a connection of its own, all on
// this machine.
//
//   build/test/bench/feed_bench [--subscribers N] [--services N] [--changes N] [--tls DIR]
//
// DIR has cert.pem, key.pem and ca.pem. The watcher is a process of its own, and its CPU and memory
// are those of that process alone; the agents run in this one, on the same cores, so that times are
// those of a watcher that has only a part of the machine. As root the processes have a loopback
// device of their own, and what went over it is counted.
#include <grpcpp/security/credentials.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "test/bench/feed_swarm.h"
#include "test/bench/feed_watcher.h"
#include "test/bench/need.h"
#include "test/bench/program.h"
#include "test/bench/report.h"
#include "watcher/feed/credentials.h"

namespace fairlead::bench {
namespace {

struct Settings {
  int subscribers = 5'000;
  int services = 10'000;
  int changes = 50;
  std::string tls;
};

// A loopback device of our own; false where that is not allowed.
bool EnterOwnNetwork() {
  if (unshare(CLONE_NEWNET) != 0) return false;
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", sizeof(request.ifr_name) - 1);
  request.ifr_flags = IFF_UP;
  const bool up = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  close(fd);
  return up;
}

// Received by the loopback device, headers and acknowledgements of TCP included.
uint64_t LoopbackBytes() {
  std::ifstream table("/proc/net/dev");
  std::string word;
  while (table >> word) {
    if (word != "lo:") continue;
    uint64_t bytes = 0;
    table >> bytes;
    return bytes;
  }
  return 0;
}

std::shared_ptr<grpc::ChannelCredentials> MakeCredentials(const std::string& tls) {
  if (tls.empty()) return grpc::InsecureChannelCredentials();
  auto made = MakeChannelCredentials({.certificate = absl::StrCat(tls, "/cert.pem"),
                                      .key = absl::StrCat(tls, "/key.pem"),
                                      .authorities = absl::StrCat(tls, "/ca.pem")});
  if (!made.ok()) throw std::runtime_error(made.status().ToString());
  return *std::move(made);
}

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }
double Kilobytes(int64_t bytes) { return static_cast<double>(bytes) / 1e3; }
double Megabytes(int64_t bytes) { return static_cast<double>(bytes) / 1e6; }

struct ChangeCosts {
  std::vector<double> to_last;  // Milliseconds, of each change.
  std::vector<double> to_each;  // Of each change and agent.
  absl::Duration cpu;           // Of the watcher, for one change.
  double payload = 0;           // Bytes for one change and agent.
  double wire = 0;
};

ChangeCosts MeasureChanges(WatcherProcess& watcher, Swarm& swarm, int agents, int changes) {
  ChangeCosts costs;
  const Usage before = watcher.Measure();
  const uint64_t payload_before = swarm.bytes_received();
  const uint64_t wire_before = LoopbackBytes();
  for (int i = 0; i < changes; ++i) {
    swarm.Expect(watcher.revision() + 1);
    const MadeChange made = watcher.Change();
    const std::vector<absl::Time> times = swarm.Await();
    absl::Time last = absl::InfinitePast();
    for (const absl::Time time : times) {
      costs.to_each.push_back(Milliseconds(time - made.at));
      last = std::max(last, time);
    }
    costs.to_last.push_back(Milliseconds(last - made.at));
  }
  costs.cpu = (watcher.Measure().cpu - before.cpu) / changes;
  const double deliveries = static_cast<double>(changes) * agents;
  costs.payload = static_cast<double>(swarm.bytes_received() - payload_before) / deliveries;
  costs.wire = static_cast<double>(LoopbackBytes() - wire_before) / deliveries;
  return costs;
}

// Nothing happens but heartbeats.
absl::Duration MeasureIdleCpu(WatcherProcess& watcher) {
  const Usage before = watcher.Measure();
  const absl::Time start = absl::Now();
  std::this_thread::sleep_for(std::chrono::seconds(6));
  return (watcher.Measure().cpu - before.cpu) / absl::ToDoubleSeconds(absl::Now() - start);
}

absl::Duration TimeOf(const std::function<void()>& work) {
  const absl::Time start = absl::Now();
  work();
  return absl::Now() - start;
}

// Lets agents come until there are so many, and adds what that takes.
int64_t Grow(Report& report, WatcherProcess& watcher, Swarm& swarm, int size) {
  swarm.Expect(watcher.revision());
  const Usage before = watcher.Measure();
  const absl::Duration took = TimeOf([&] {
    swarm.Grow(size);
    swarm.Await();
  });
  const Usage after = watcher.Measure();
  report.Add(absl::StrCat("whole picture, until there are ", size, " agents"), "s",
             absl::ToDoubleSeconds(took));
  report.Add("  watcher's CPU for it", "s", absl::ToDoubleSeconds(after.cpu - before.cpu));
  report.Add(absl::StrCat("resident memory with ", size), "MB", Megabytes(after.resident_bytes));
  return after.resident_bytes;
}

void Run(const Settings& settings) {
  const bool own_network = EnterOwnNetwork();
  WatcherProcess watcher({.services = settings.services}, settings.tls);
  // Forked before this process has threads of gRPC's.
  WatcherProcess small({.services = settings.services / 10}, settings.tls);
  const auto credentials = MakeCredentials(settings.tls);
  Report report(settings.tls.empty() ? "feed" : "feed_tls");
  report.Section(absl::StrCat(settings.subscribers, " agents, a watcher with ", settings.services,
                              " Services of 10 endpoints, ",
                              settings.tls.empty() ? "plain text" : "mutual TLS"));

  const int64_t alone = watcher.Measure().resident_bytes;
  report.Add("resident memory without agents", "MB", Megabytes(alone));
  Swarm swarm(watcher.address(), credentials);
  Grow(report, watcher, swarm, settings.subscribers / 5);
  const int64_t held = Grow(report, watcher, swarm, settings.subscribers);
  report.Goal("memory for each agent", Kilobytes(held - alone) / settings.subscribers, 100, "KB");

  const ChangeCosts costs = MeasureChanges(watcher, swarm, settings.subscribers, settings.changes);
  report.Add("a change at the last agent", "ms", costs.to_last);
  report.Goal("a change at the last agent, p99", Quantile(costs.to_last, 0.99), 250, "ms");
  report.Add("a change at an agent: median of all", "ms", Quantile(costs.to_each, 0.5));
  report.Add("a change at an agent: p99 of all", "ms", Quantile(costs.to_each, 0.99));
  report.Add("messages for a change and agent", "bytes", costs.payload);
  if (own_network) {
    report.Add("  on the wire, both ways, with the acknowledgement", "bytes", costs.wire);
  }
  report.Add("watcher's CPU for a change at all agents", "ms", Milliseconds(costs.cpu));
  report.Add("  at an agent", "us", absl::ToDoubleMicroseconds(costs.cpu / settings.subscribers));
  report.Add("watcher's CPU while nothing happens", "% of 1 CPU",
             absl::ToDoubleSeconds(MeasureIdleCpu(watcher)) * 100);

  swarm.Expect(watcher.revision());
  const double resumed = absl::ToDoubleSeconds(TimeOf([&] {
    swarm.Reconnect();
    swarm.Await();
  }));
  report.Add("all connections cut: until all agents have resumed", "s", resumed);
  report.Goal("all connections cut: until all agents have resumed", resumed, 5, "s");
  report.Add("resident memory after that", "MB", Megabytes(watcher.Measure().resident_bytes));
  report.Add("streams that ended by themselves", "", static_cast<double>(swarm.ended()));

  // A tenth of the Services.
  const int agents = std::min(settings.subscribers, 1'000);
  Swarm at_small(small.address(), credentials);
  at_small.Expect(small.revision());
  at_small.Grow(agents);
  at_small.Await();
  const ChangeCosts at_small_costs = MeasureChanges(small, at_small, agents, settings.changes);
  report.Add(absl::StrCat("watcher's CPU for a change at ", agents, " agents, ",
                          settings.services / 10, " Services"),
             "ms", Milliseconds(at_small_costs.cpu));
  report.Add("  at an agent", "us", absl::ToDoubleMicroseconds(at_small_costs.cpu / agents));
}

// Two descriptors for each agent, and some.
void RaiseDescriptorLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int Main(int argc, char** argv) {
  Settings settings;
  BenchProgram program("What thousands of agents cost a watcher");
  program.Add("--subscribers", settings.subscribers, "agents", 5);
  program.Add("--services", settings.services, "Services with ten endpoints each", 10);
  program.Add("--changes", settings.changes, "changes that are timed");
  program.Add("--tls", settings.tls, "a folder with cert.pem, key.pem and ca.pem");
  return program.Run(argc, argv, [&] {
    RaiseDescriptorLimit();
    Run(settings);
  });
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) { return fairlead::bench::Main(argc, argv); }
