// What an agent and its watcher hold in memory. As root on a kernel with IPVS:
//
//   test/lab/run build/test/bench/memory_bench [--program FAIRLEAD] [--services N]
//     [--endpoints N]
//
// Of one size alone where the number of each Service's endpoints is given.
//
// An agent and a watcher of each size start in a network namespace of their own, and are looked at
// when the kernel has everything. The watcher reads a folder of manifests.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "ipvs/kernel_table.h"
#include "test/bench/need.h"
#include "test/bench/objects.h"
#include "test/bench/program.h"
#include "test/bench/report.h"
#include "test/ipvs/network_namespace.h"
#include "test/lab/process.h"

namespace fairlead::bench {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(5);
constexpr char kFeed[] = "127.0.0.1:10270";
// The goal that is set for an agent of 10,000 Services with 100,000 endpoints.
constexpr double kGoalMegabytes = 50;

// In megabytes, of /proc/PID/status.
struct Memory {
  double resident = 0;
  double anonymous = 0;  // Of it: what is its own, and no file's.
  double peak = 0;
};

double MegabytesOf(pid_t pid, const std::string& field) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  std::string name;
  while (status >> name) {
    double kibibytes = 0;
    if (name == field + ":" && status >> kibibytes) return kibibytes * 1024 / 1e6;
    std::getline(status, name);
  }
  throw std::runtime_error(absl::StrCat("no ", field, " of process ", pid));
}

Memory MemoryOf(pid_t pid) {
  return {MegabytesOf(pid, "VmRSS"), MegabytesOf(pid, "RssAnon"), MegabytesOf(pid, "VmHWM")};
}

bool KernelHas(const Scale& scale) {
  const auto table = Need(ipvs::KernelTable::Open());
  const auto servers = Need(table->Dump());
  size_t endpoints = 0;
  for (const ipvs::VirtualServer& server : servers) endpoints += server.real_servers.size();
  return servers.size() == static_cast<size_t>(scale.services) &&
         endpoints == static_cast<size_t>(scale.services) * scale.endpoints;
}

// A Service and its slice as two documents.
std::string Manifest(int number, int endpoints) {
  const auto service = MakeService(number);
  const auto slice = MakeSlice(number, endpoints);
  const auto port = [](const std::string& name, int value) {
    return nlohmann::json{{"name", name}, {"port", value}};
  };
  nlohmann::json list = nlohmann::json::array();
  for (const Endpoint& endpoint : slice->endpoints) {
    list.push_back({{"addresses", nlohmann::json::array({endpoint.address.Format()})},
                    {"nodeName", endpoint.node_name.str()},
                    {"zone", endpoint.zone.str()},
                    {"conditions", {{"ready", true}}},
                    {"targetRef", {{"kind", "Pod"}, {"name", endpoint.target_name.str()}}}});
  }
  const nlohmann::json documents[] = {
      {{"apiVersion", "v1"},
       {"kind", "Service"},
       {"metadata",
        {{"namespace", service->name.name_space.str()}, {"name", service->name.name.str()}}},
       {"spec",
        {{"clusterIP", service->cluster_ips[0].Format()},
         {"ports",
          nlohmann::json::array({port(service->ports[0].name, service->ports[0].port)})}}}},
      {{"apiVersion", "discovery.k8s.io/v1"},
       {"kind", "EndpointSlice"},
       {"metadata",
        {{"namespace", slice->name.name_space.str()},
         {"name", slice->name.name.str()},
         {"labels", {{"kubernetes.io/service-name", slice->service_name.str()}}}}},
       {"addressType", "IPv4"},
       {"ports", nlohmann::json::array({port(slice->ports[0].name, slice->ports[0].port)})},
       {"endpoints", list}},
  };
  return absl::StrCat("---\n", documents[0].dump(), "\n---\n", documents[1].dump(), "\n");
}

// A hundred Services to a file.
void WriteManifests(const std::string& folder, const Scale& scale) {
  for (int first = 0; first < scale.services; first += 100) {
    std::ofstream file(absl::StrCat(folder, "/", first, ".yaml"));
    const int end = std::min(first + 100, scale.services);
    for (int i = first; i < end; ++i) file << Manifest(i, scale.endpoints);
    Need(file.flush().good(), "cannot write manifests");
  }
}

struct Measured {
  Memory agent;
  Memory watcher;
};

Measured Measure(const std::string& program, const Scale& scale) {
  ipvs::EnterNewNetworkNamespace();
  Need(std::system("ip link set lo up && ip link add dummy0 type dummy && "
                   "ip link set dummy0 up && ip address add 192.168.1.1/24 dev dummy0") == 0,
       "cannot make a device");
  char folder[] = "/tmp/memory_bench.XXXXXX";
  Need(mkdtemp(folder) != nullptr, "cannot make a folder");
  const std::string manifests = absl::StrCat(folder, "/manifests");
  Need(mkdir(manifests.c_str(), 0700) == 0, "cannot make a folder");
  WriteManifests(manifests, scale);
  auto watcher = lab::Process::Start(
      {.words = {program, "watcher", "--manifests", manifests, "--socket",
                 absl::StrCat(folder, "/watcher"), "--listen", kFeed, "--insecure-plaintext"}});
  Need(watcher.status());
  auto agent = lab::Process::Start(
      {.words = {program, "proxy", "--node-name", "n1", "--node-ip", "192.168.1.1",
                 "--cluster-cidr", "10.0.0.0/8", "--state-dir", folder, "--socket",
                 absl::StrCat(folder, "/socket"), "--watcher", kFeed, "--insecure-plaintext"}});
  Need(agent.status());
  if (!lab::WaitUntil(kPatience, [&] { return !(*agent)->running() || KernelHas(scale); }) ||
      !(*agent)->running()) {
    throw std::runtime_error("the agent does not come to an end with it: " + (*agent)->Log());
  }
  // The picture has been saved too, and an audit has begun.
  absl::SleepFor(absl::Seconds(10));
  const Measured measured{MemoryOf((*agent)->pid()), MemoryOf((*watcher)->pid())};
  agent->reset();
  watcher->reset();
  (void)std::system(absl::StrCat("rm -r ", folder).c_str());
  return measured;
}

void AddMemory(Report& report, const Scale& scale, const Memory& memory) {
  report.Add(absl::StrCat(scale.services, " Services with ", scale.endpoints, " endpoints"), "MB",
             memory.resident);
  report.Add("  of it anonymous: no file's", "MB", memory.anonymous);
  report.Add("  at its peak", "MB", memory.peak);
}

void RunOne(const std::string& program, const Scale& scale) {
  Report report("memory");
  const Measured measured = Measure(program, scale);
  report.Section("Resident memory of an agent");
  AddMemory(report, scale, measured.agent);
  report.Section("Resident memory of its watcher");
  AddMemory(report, scale, measured.watcher);
}

void Run(const std::string& program, int services) {
  Report report("memory");
  const std::vector<Scale> scales = {
      {0, 0}, {services / 10, 10}, {services / 2, 10}, {services, 1}, {services, 10}};
  std::vector<Measured> measured;
  report.Section("Resident memory of an agent, 10 s after its kernel has everything");
  for (const Scale& scale : scales) {
    measured.push_back(Measure(program, scale));
    AddMemory(report, scale, measured.back().agent);
  }
  const Measured& none = measured[0];
  const Measured& one = measured[3];
  const Measured& ten = measured[4];
  const auto per_endpoint = [&](double with_one, double with_ten) {
    return (with_ten - with_one) * 1e6 / (9.0 * services);
  };
  const auto per_service = [&](double with_none, double with_one, double with_ten) {
    return (with_one - with_none) * 1e6 / services - per_endpoint(with_one, with_ten);
  };
  report.Goal("resident memory of the agent with all of them", ten.agent.resident, kGoalMegabytes,
              "MB");
  report.Section("Resident memory of its watcher then");
  for (size_t i = 0; i < scales.size(); ++i) AddMemory(report, scales[i], measured[i].watcher);
  report.Section("By object");
  report.Add("agent, an endpoint", "bytes", per_endpoint(one.agent.resident, ten.agent.resident));
  report.Add("agent, a Service", "bytes",
             per_service(none.agent.resident, one.agent.resident, ten.agent.resident));
  report.Add("watcher, an endpoint", "bytes",
             per_endpoint(one.watcher.resident, ten.watcher.resident));
  report.Add("watcher, a Service", "bytes",
             per_service(none.watcher.resident, one.watcher.resident, ten.watcher.resident));
}

int Main(int argc, char** argv) {
  const char* const from_environment = std::getenv("FAIRLEAD_BIN");
  std::string program_file = from_environment == nullptr ? "" : from_environment;
  int services = 10'000;
  int endpoints = -1;
  BenchProgram program("What an agent and its watcher hold in memory");
  program.Add("--program", program_file, "fairlead");
  program.Add("--services", services, "Services at most", 0);
  program.Add("--endpoints", endpoints, "of one size alone: endpoints of each Service", 0);
  return program.Run(argc, argv, [&] {
    Need(!program_file.empty(), "neither --program nor FAIRLEAD_BIN");
    if (endpoints >= 0) {
      RunOne(program_file, {services, endpoints});
    } else {
      Run(program_file, services);
    }
  });
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) { return fairlead::bench::Main(argc, argv); }
