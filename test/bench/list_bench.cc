// What it costs to look at an agent with very many Services, scrapes, lists and its own audit, and
// what that does to a change that comes meanwhile. As root on a kernel with IPVS:
//
//   test/lab/run build/test/bench/list_bench [--services N] [--endpoints N] [--rounds N]
//     [--changes N] [--connections N]
//
// The agent is `fairlead proxy`, fed over gRPC by this process; commands are programs of their own
// that ask it through its socket. A change is one endpoint that leaves a Service or comes back; it
// takes from the feeder's commit until a reading of the kernel's table shows it.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "ipvs/kernel_table.h"
#include "test/bench/fed_agent.h"
#include "test/bench/need.h"
#include "test/bench/program.h"
#include "test/bench/report.h"
#include "test/lab/cluster.h"

namespace fairlead::bench {
namespace {

constexpr int kMetricsPort = 10249;
// Between two readings of the kernel.
constexpr absl::Duration kPoll = absl::Microseconds(200);
constexpr absl::Duration kPatience = absl::Minutes(1);
constexpr char kFlowsVip[] = "10.96.0.10";
constexpr int kFlowsPort = 53;

struct Settings {
  int services = 10'000;
  int endpoints = 10;
  int rounds = 5;
  // For each circumstance.
  int changes = 100;
  int connections = 10'000;
};

// What something took, in milliseconds.
struct Costs {
  std::vector<double> wall;
  std::vector<double> agent;    // CPU of the agent.
  std::vector<double> command;  // CPU of the command.
};

struct Ran {
  int exit_code = 0;
  absl::Duration cpu;
};

// Runs the program in the calling thread's namespace, with its output thrown away.
Ran RunProgram(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
  }
  pid_t child = 0;
  const int error = posix_spawn(&child, pointers[0], &files, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  Need(error == 0, absl::StrCat(words[0], ": ", std::strerror(error)));
  int status = 0;
  rusage usage{};
  Need(wait4(child, &status, 0, &usage) == child && WIFEXITED(status), "wait4");
  return {
      .exit_code = WEXITSTATUS(status),
      .cpu = absl::DurationFromTimeval(usage.ru_utime) + absl::DurationFromTimeval(usage.ru_stime)};
}

// The size of what the agent serves as its metrics, in the calling thread's namespace.
size_t FetchMetrics() {
  constexpr absl::string_view kRequest =
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const absl::Cleanup close_socket = [fd] { close(fd); };
  sockaddr_in server{};
  server.sin_family = AF_INET;
  server.sin_port = htons(kMetricsPort);
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Need(connect(fd, reinterpret_cast<const sockaddr*>(&server), sizeof(server)) == 0 &&
           send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(kRequest.size()),
       absl::StrCat("ask for metrics: ", std::strerror(errno)));
  std::string answer;
  std::vector<char> buffer(1 << 16);
  ssize_t got = 0;
  while ((got = recv(fd, buffer.data(), buffer.size(), 0)) > 0) {
    answer.append(buffer.data(), static_cast<size_t>(got));
  }
  Need(got == 0 && absl::StartsWith(answer, "HTTP/1.1 200 "), "no metrics");
  return answer.size();
}

class Bench {
 public:
  explicit Bench(const Settings& settings);

  void Run();

 private:
  void MeasureScrapes();
  void MeasureCommands();
  void MeasureIdle(const std::string& what);
  void MeasureChanges(const std::string& how, const std::vector<std::string>& circumstances);

  // What Look takes, as often as there are rounds.
  Costs Measure(const std::string& circumstance);
  // Does what the circumstance is called, a command's words or kScrape. The code is not 0 where a
  // command has no answer in time.
  Ran Look(const std::string& circumstance);
  // Milliseconds until the kernel has it. Each second change takes back the one before.
  double Change(ipvs::KernelTable& table);
  // So many entries in IPVS's table of connections, for the minutes that they last.
  void OpenFlows();

  const Settings settings_;
  const ServiceCrowd crowd_;
  Report report_{"list"};
  std::unique_ptr<lab::Cluster> cluster_;
  std::unique_ptr<FedAgent> agent_;
  std::mt19937 random_{1};  // The same each time.
  int changes_ = 0;
  int changed_ = 0;  // The Service.
};

constexpr char kScrape[] = "scraped";
constexpr char kNothing[] = "nothing else";
// A command that asks nobody.
constexpr char kStart[] = "--version";
const std::vector<std::string>& Commands() {
  static const auto& commands =
      *new std::vector<std::string>{"list", "list -o json", "diff", "doctor", "connections"};
  return commands;
}

Bench::Bench(const Settings& settings)
    : settings_(settings),
      crowd_{.services = settings.services, .endpoints = settings.endpoints},
      cluster_(Need(lab::Cluster::Create({.node_count = 1, .ipv6 = false}))) {
  const lab::Pod* pod = Need(cluster_->AddPod("server-1", 1));
  Need(Need(cluster_->AddPod("client-1", 1))
           ->net->SetSysctl("net.ipv4.ip_local_port_range", "1024 65535"));
  agent_ = std::make_unique<FedAgent>(cluster_->node(1));
  agent_->Add(crowd_);
  agent_->journal().Upsert(
      std::make_shared<const Service>(Service{
          .name = {"bench", "flows"},
          .cluster_ips = {Need(IpAddress::Parse(kFlowsVip))},
          .ports = {{.name = "dns", .protocol = ipvs::Protocol::kUdp, .port = kFlowsPort}}}),
      absl::Now());
  agent_->journal().Upsert(
      std::make_shared<const EndpointSlice>(EndpointSlice{
          .name = {"bench", "flows-x7k2p"},
          .service_name = "flows",
          .ports = {{.name = "dns", .protocol = ipvs::Protocol::kUdp, .port = kFlowsPort}},
          .endpoints = {{.address = Need(IpAddress::Parse(pod->ipv4)), .node_name = "n1"}}}),
      absl::Now());
  agent_->journal().MarkComplete();
}

Ran Bench::Look(const std::string& circumstance) {
  return cluster_->node(1).net->Run([&]() -> Ran {
    if (circumstance == kScrape) {
      FetchMetrics();
      return {};
    }
    std::vector<std::string> words = {Program()};
    for (const absl::string_view word : absl::StrSplit(circumstance, ' ')) {
      words.emplace_back(word);
    }
    if (circumstance != kStart) words.insert(words.end(), {"--socket", agent_->Socket()});
    Ran ran = RunProgram(words);
    // That is how they say that there is something to say.
    if (ran.exit_code == 1 && (circumstance == "diff" || circumstance == "doctor")) {
      ran.exit_code = 0;
    }
    return ran;
  });
}

Costs Bench::Measure(const std::string& circumstance) {
  Costs costs;
  (void)Look(circumstance);
  for (int round = 0; round < settings_.rounds; ++round) {
    const absl::Duration cpu = agent_->Cpu();
    const absl::Time start = absl::Now();
    const Ran ran = Look(circumstance);
    Need(ran.exit_code == 0, absl::StrCat(circumstance, ": exit ", ran.exit_code));
    costs.wall.push_back(absl::ToDoubleMilliseconds(absl::Now() - start));
    costs.agent.push_back(absl::ToDoubleMilliseconds(agent_->Cpu() - cpu));
    costs.command.push_back(absl::ToDoubleMilliseconds(ran.cpu));
  }
  return costs;
}

void Bench::MeasureScrapes() {
  report_.Section("A scrape, without audit; none of the endpoints has had a packet");
  for (const std::string detail : {"none", "endpoint", "service"}) {
    agent_->Start({"--audit-period", "0", "--metrics-detail", detail});
    const Costs costs = Measure(kScrape);
    const auto size = static_cast<double>(cluster_->node(1).net->Run(FetchMetrics));
    const std::string what = absl::StrCat("--metrics-detail ", detail);
    report_.Add(what, "ms", costs.wall);
    report_.Add("  CPU of the agent", "ms", costs.agent);
    report_.Add("  its answer", "MiB", size / (1 << 20));
    // The last one, which has the default, is asked on.
    if (detail != "service") agent_->Stop();
  }
}

void Bench::OpenFlows() {
  cluster_->pod("client-1").net->Run([&] {
    sockaddr_in vip{};
    vip.sin_family = AF_INET;
    vip.sin_port = htons(kFlowsPort);
    Need(inet_pton(AF_INET, kFlowsVip, &vip.sin_addr) == 1, kFlowsVip);
    for (int i = 0; i < settings_.connections; ++i) {
      const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      const absl::Cleanup close_socket = [fd] { close(fd); };
      Need(sendto(fd, "", 1, 0, reinterpret_cast<const sockaddr*>(&vip), sizeof(vip)) == 1,
           absl::StrCat("send a datagram: ", std::strerror(errno)));
    }
  });
}

void Bench::MeasureCommands() {
  report_.Section(
      absl::StrCat("Commands, without audit; there are ", settings_.connections, " connections"));
  OpenFlows();
  std::vector<std::string> commands = Commands();
  commands.insert(commands.begin(), kStart);
  for (const std::string& command : commands) {
    const Costs costs = Measure(command);
    report_.Add(absl::StrCat("fairlead ", command), "ms", costs.wall);
    report_.Add("  CPU of the agent", "ms", costs.agent);
    report_.Add("  CPU of the command", "ms", costs.command);
  }
}

void Bench::MeasureIdle(const std::string& what) {
  constexpr absl::Duration kLong = absl::Seconds(10);
  std::vector<double> shares;
  for (int i = 0; i < 2; ++i) {
    const absl::Duration cpu = agent_->Cpu();
    const absl::Time start = absl::Now();
    absl::SleepFor(kLong);
    shares.push_back(100 * absl::FDivDuration(agent_->Cpu() - cpu, absl::Now() - start));
  }
  report_.Add(what, "% of 1 CPU", shares);
}

double Bench::Change(ipvs::KernelTable& table) {
  const bool leaves = changes_++ % 2 == 0;
  if (leaves) changed_ = std::uniform_int_distribution(0, crowd_.services - 1)(random_);
  const int last = crowd_.endpoints - 1;
  const ipvs::VirtualServerKey server = CrowdKey(changed_);
  const ipvs::RealServerKey real = CrowdEndpoint(crowd_, changed_, last);
  const absl::Time start = absl::Now();
  agent_->journal().Upsert(CrowdSlice(crowd_, changed_, leaves ? last : crowd_.endpoints), start);
  while (true) {
    const ipvs::VirtualServer seen = Need(table.Get(server));
    const bool serves = std::any_of(seen.real_servers.begin(), seen.real_servers.end(),
                                    [&](const ipvs::RealServer& found) {
                                      return found.key == real && found.config.weight != 0;
                                    });
    const absl::Duration taken = absl::Now() - start;
    if (serves != leaves) return absl::ToDoubleMilliseconds(taken);
    Need(taken < kPatience, "a change does not reach the kernel");
    absl::SleepFor(kPoll);
  }
}

void Bench::MeasureChanges(const std::string& how, const std::vector<std::string>& circumstances) {
  const auto table = cluster_->node(1).net->Run([] { return Need(ipvs::KernelTable::Open()); });
  std::vector<std::vector<double>> times(circumstances.size());
  std::vector<int> unanswered(circumstances.size());
  // They take turns, so that what else the machine does hits all.
  constexpr int kTurns = 4;
  for (int turn = 0; turn < kTurns; ++turn) {
    for (size_t i = 0; i < circumstances.size(); ++i) {
      std::atomic<bool> going = true;
      std::string failure;
      std::thread looker([&] {
        try {
          while (going && circumstances[i] != kNothing) {
            if (Look(circumstances[i]).exit_code != 0) ++unanswered[i];
          }
        } catch (const std::runtime_error& error) {
          failure = error.what();
        }
      });
      {
        const absl::Cleanup join = [&] {
          going = false;
          looker.join();
        };
        for (int change = 0; change < (settings_.changes + kTurns - 1) / kTurns; ++change) {
          // At any moment of what goes on meanwhile.
          absl::SleepFor(absl::Milliseconds(std::uniform_int_distribution(0, 40)(random_)));
          times[i].push_back(Change(*table));
        }
      }
      Need(failure.empty(), failure);
    }
  }
  for (size_t i = 0; i < circumstances.size(); ++i) {
    report_.Add(absl::StrCat(how, circumstances[i]), "ms", times[i]);
    if (unanswered[i] > 0) report_.Add("  which had no answer in time", "times", unanswered[i]);
  }
}

void Bench::Run() {
  MeasureScrapes();
  MeasureCommands();

  report_.Section("What an agent uses while nothing changes");
  MeasureIdle("without audit");
  agent_->Stop();
  // From here on as it is by default, but for what is said.
  agent_->Start();
  MeasureIdle("with its audit");

  report_.Section("One endpoint changed, until the kernel has it, beside");
  std::vector<std::string> circumstances = {kNothing, kScrape};
  circumstances.insert(circumstances.end(), Commands().begin(), Commands().end());
  MeasureChanges("its audit, and ", circumstances);
  agent_->Stop();
  agent_->Start({"--audit-period", "0"});
  MeasureChanges("no audit, and ", {kNothing, kScrape, "list -o json"});
  agent_->Stop();
}

int Main(int argc, char** argv) {
  Settings settings;
  BenchProgram program("What looking at an agent costs it, and a change meanwhile");
  program.Add("--services", settings.services, "Services");
  program.Add("--endpoints", settings.endpoints, "endpoints of each");
  program.Add("--rounds", settings.rounds, "how often each command is run");
  program.Add("--changes", settings.changes, "changes in each circumstance");
  program.Add("--connections", settings.connections, "connections that the kernel tracks");
  return program.Run(argc, argv, [&] { Bench(settings).Run(); });
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) { return fairlead::bench::Main(argc, argv); }
