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
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "test/bench/feed_swarm.h"
#include "test/bench/feed_watcher.h"
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

template <typename T>
T Quantile(std::vector<T> values, double quantile) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(quantile * static_cast<double>(values.size() - 1))];
}

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }
double Kilobytes(int64_t bytes) { return static_cast<double>(bytes) / 1e3; }

void Print(const std::string& what, const std::string& value, const std::string& goal = "") {
  std::printf("%-66s %14s  %s\n", what.c_str(), value.c_str(), goal.c_str());
  std::fflush(stdout);
}

std::string Format(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

struct ChangeCosts {
  std::vector<absl::Duration> to_last;  // Of each change.
  std::vector<absl::Duration> to_each;  // Of each change and agent.
  absl::Duration cpu;                   // Of the watcher, for one change.
  double payload = 0;                   // Bytes for one change and agent.
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
      costs.to_each.push_back(time - made.at);
      last = std::max(last, time);
    }
    costs.to_last.push_back(last - made.at);
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

void Run(const Settings& settings) {
  utsname system{};
  uname(&system);
  const bool own_network = EnterOwnNetwork();
  std::printf("%d agents, a watcher with %d Services of 10 endpoints, %s; %u cores, Linux %s\n\n",
              settings.subscribers, settings.services,
              settings.tls.empty() ? "plain text" : "mutual TLS",
              std::thread::hardware_concurrency(), system.release);
  WatcherProcess watcher({.services = settings.services}, settings.tls);
  // Forked before this process has threads of gRPC's.
  WatcherProcess small({.services = settings.services / 10}, settings.tls);
  const auto credentials = MakeCredentials(settings.tls);

  const int64_t alone = watcher.Measure().resident_bytes;
  Print("resident memory without agents", Format("%.0f MB", Kilobytes(alone) / 1e3));
  Swarm swarm(watcher.address(), credentials);
  int64_t held = alone;
  for (const int size : {settings.subscribers / 5, settings.subscribers}) {
    swarm.Expect(watcher.revision());
    const Usage before = watcher.Measure();
    const absl::Duration took = TimeOf([&] {
      swarm.Grow(size);
      swarm.Await();
    });
    const Usage after = watcher.Measure();
    held = after.resident_bytes;
    Print(absl::StrCat("whole picture for ", size == settings.subscribers ? "the others" : "agents",
                       ", until there are ", size),
          Format("%.1f s", absl::ToDoubleSeconds(took)),
          absl::StrCat("watcher's CPU ", absl::FormatDuration(absl::Trunc(
                                             after.cpu - before.cpu, absl::Milliseconds(10)))));
    Print(absl::StrCat("resident memory with ", size), Format("%.0f MB", Kilobytes(held) / 1e3),
          absl::StrCat(Format("%.0f KB", Kilobytes(held - alone) / size),
                       " for each agent; goal 100 KB"));
  }

  const ChangeCosts costs = MeasureChanges(watcher, swarm, settings.subscribers, settings.changes);
  Print("a change at the last agent, median",
        Format("%.0f ms", Milliseconds(Quantile(costs.to_last, 0.5))));
  Print("a change at the last agent, p99",
        Format("%.0f ms", Milliseconds(Quantile(costs.to_last, 0.99))), "goal 250 ms");
  Print("a change at an agent, median",
        Format("%.0f ms", Milliseconds(Quantile(costs.to_each, 0.5))));
  Print("a change at an agent, p99",
        Format("%.0f ms", Milliseconds(Quantile(costs.to_each, 0.99))));
  Print("bytes of messages for a change and agent", Format("%.0f", costs.payload));
  if (own_network) {
    Print("bytes on the wire for them, both ways, with the acknowledgement",
          Format("%.0f", costs.wire));
  }
  Print("watcher's CPU for a change at all agents", Format("%.1f ms", Milliseconds(costs.cpu)));
  Print("watcher's CPU while nothing happens",
        Format("%.1f %%", absl::ToDoubleSeconds(MeasureIdleCpu(watcher)) * 100), "of one core");

  swarm.Expect(watcher.revision());
  const absl::Duration resumed = TimeOf([&] {
    swarm.Reconnect();
    swarm.Await();
  });
  Print("all connections cut: until all agents have resumed",
        Format("%.2f s", absl::ToDoubleSeconds(resumed)), "goal 5 s");
  Print("resident memory after that",
        Format("%.0f MB", Kilobytes(watcher.Measure().resident_bytes) / 1e3));
  Print("streams that ended by themselves", Format("%.0f", swarm.ended()));

  // The same number of agents, a tenth of the Services.
  const int agents = std::min(settings.subscribers, 1'000);
  Swarm at_small(small.address(), credentials);
  at_small.Expect(small.revision());
  at_small.Grow(agents);
  at_small.Await();
  const ChangeCosts at_small_costs = MeasureChanges(small, at_small, agents, settings.changes);
  Print(
      absl::StrCat("watcher's CPU for a change at ", agents, " agents, ", settings.services / 10,
                   " Services"),
      Format("%.1f ms", Milliseconds(at_small_costs.cpu)),
      absl::StrCat(Format("%.1f us", absl::ToDoubleMicroseconds(at_small_costs.cpu / agents)),
                   " for each agent, beside ",
                   Format("%.1f us", absl::ToDoubleMicroseconds(costs.cpu / settings.subscribers)),
                   " with ", settings.services));
}

std::optional<Settings> ParseArguments(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const std::string value = argv[i + 1];
    bool good = false;
    if (flag == "--subscribers") good = absl::SimpleAtoi(value, &settings.subscribers);
    if (flag == "--services") good = absl::SimpleAtoi(value, &settings.services);
    if (flag == "--changes") good = absl::SimpleAtoi(value, &settings.changes);
    if (flag == "--tls") {
      settings.tls = value;
      good = true;
    }
    if (!good) return std::nullopt;
  }
  if (argc % 2 == 0 || settings.subscribers < 5 || settings.services < 10 || settings.changes < 1) {
    return std::nullopt;
  }
  return settings;
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) {
  const auto settings = fairlead::bench::ParseArguments(argc, argv);
  if (!settings) {
    std::fprintf(stderr,
                 "usage: feed_bench [--subscribers N] [--services N] [--changes N] [--tls DIR]\n");
    return 2;
  }
  // As the program does.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // Two descriptors for each agent, and some.
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  try {
    fairlead::bench::Run(*settings);
  } catch (const std::runtime_error& error) {
    std::fprintf(stderr, "feed_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
