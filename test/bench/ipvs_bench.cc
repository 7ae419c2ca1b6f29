// How fast an IPVS table is filled: by the library, by a loop that only sends (the kernel's limit),
// and by ipvsadm. As root on a kernel with IPVS:
//
//   test/lab/run build/test/bench/ipvs_bench [--services N] [--destinations N] [--rounds N]
//     [--ipvsadm-rounds N]
//
// Each measurement has a network namespace of its own: destinations that were deleted would slow
// down the next one for minutes. The ways take turns, so that what else the machine does hits all.
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "ipvs/codec.h"
#include "ipvs/kernel_table.h"
#include "ipvs/netlink_socket.h"
#include "ipvs/save_format.h"
#include "test/bench/need.h"
#include "test/bench/program.h"
#include "test/bench/report.h"
#include "test/ipvs/network_namespace.h"

namespace fairlead::ipvs {
namespace {

struct Scale {
  int services = 10'000;
  int destinations = 10;
  int rounds = 9;
  // ipvsadm takes minutes where the others take seconds, and its ratio needs no precision.
  int ipvsadm_rounds = 1;

  int entries() const { return services * (1 + destinations); }
};

std::vector<VirtualServer> MakeTable(const Scale& scale) {
  const IpAddress vips = IpAddress::V4(0x0a600001);  // 10.96.0.1
  const IpAddress pods = IpAddress::V4(0x0af40001);  // 10.244.0.1
  std::vector<VirtualServer> table(scale.services);
  for (int i = 0; i < scale.services; ++i) {
    table[i].key = VirtualServerKey::ForAddress(Protocol::kTcp, vips.Plus(i), 80);
    for (int j = 0; j < scale.destinations; ++j) {
      table[i].real_servers.push_back(
          {.key = {.address = pods.Plus(i * scale.destinations + j), .port = 8080}});
    }
  }
  return table;
}

std::vector<Operation> MakeOperations(const std::vector<VirtualServer>& table) {
  std::vector<Operation> operations;
  for (const VirtualServer& server : table) {
    operations.push_back(Operation::AddVirtualServer(server.key, server.config));
    for (const RealServer& real : server.real_servers) {
      operations.push_back(Operation::AddRealServer(server.key, real.key, real.config));
    }
  }
  return operations;
}

// Each returns how long the work took, without what has to be made ready for it.
absl::Duration FillByLibrary(const std::vector<Operation>& operations) {
  auto table = KernelTable::Open();
  bench::Need(table.status());
  const absl::Time start = absl::Now();
  const std::vector<absl::Status> statuses = (*table)->Apply(operations);
  const absl::Duration taken = absl::Now() - start;
  for (const absl::Status& status : statuses) bench::Need(status);
  return taken;
}

// Messages that are there already, as many in one send as the library sends, and nothing looked at
// but the acknowledgement of the last.
absl::Duration FillByBareLoop(const std::vector<Operation>& operations) {
  auto socket = NetlinkSocket::Open({});
  bench::Need(socket.status());
  std::vector<std::string> batches;
  for (size_t i = 0; i < operations.size(); ++i) {
    if (i % kMaxBatch == 0) batches.emplace_back();
    const bool last = i % kMaxBatch == kMaxBatch - 1 || i == operations.size() - 1;
    const uint16_t flags = last ? NLM_F_ACK : 0;
    EncodeOperation(operations[i],
                    {.family_id = socket->family_id(),
                     .flags = flags,
                     .sequence = static_cast<uint32_t>(i + 1)},
                    &batches.back());
  }
  const int fd = socket->fd();
  char reply[1024];
  const absl::Time start = absl::Now();
  for (const std::string& batch : batches) {
    bench::Need(send(fd, batch.data(), batch.size(), 0) == static_cast<ssize_t>(batch.size()),
                "send");
    bench::Need(recv(fd, reply, sizeof(reply), 0) >= static_cast<ssize_t>(sizeof(nlmsghdr) + 4),
                "receive");
    int error;
    std::memcpy(&error, reply + sizeof(nlmsghdr), sizeof(error));
    bench::Need(error == 0, "an operation failed");
  }
  return absl::Now() - start;
}

absl::Duration FillByIpvsadm(const std::string& path) {
  const std::string command = absl::StrCat("ipvsadm --restore < ", path);
  const absl::Time start = absl::Now();
  bench::Need(std::system(command.c_str()) == 0, command);
  return absl::Now() - start;
}

// Runs `fill` in a child, whose namespace goes with it, and checks that the table is full then.
absl::Duration Measure(const std::function<absl::Duration()>& fill, const Scale& scale) {
  int channel[2];
  bench::Need(pipe(channel) == 0, "pipe");
  const pid_t child = fork();
  bench::Need(child >= 0, "fork");
  if (child == 0) {
    try {
      EnterNewNetworkNamespace();
      const absl::Duration taken = fill();
      const auto table = KernelTable::Open();
      bench::Need(table.ok() && (*table)->Dump()->size() == static_cast<size_t>(scale.services),
                  "the table is not full");
      const int64_t nanoseconds = absl::ToInt64Nanoseconds(taken);
      bench::Need(write(channel[1], &nanoseconds, sizeof(nanoseconds)) == sizeof(nanoseconds),
                  "write");
      _exit(0);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "ipvs_bench: %s\n", error.what());
      _exit(1);
    }
  }
  close(channel[1]);
  int64_t nanoseconds = 0;
  const bool received = read(channel[0], &nanoseconds, sizeof(nanoseconds)) == sizeof(nanoseconds);
  close(channel[0]);
  int status = 0;
  waitpid(child, &status, 0);
  bench::Need(received && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a measurement failed");
  return absl::Nanoseconds(nanoseconds);
}

void Run(const Scale& scale) {
  const std::vector<VirtualServer> table = MakeTable(scale);
  const std::vector<Operation> operations = MakeOperations(table);
  char path[] = "/tmp/ipvs_bench.XXXXXX";
  const int fd = mkstemp(path);
  const std::string saved = FormatSave(table);
  bench::Need(
      fd >= 0 && write(fd, saved.data(), saved.size()) == static_cast<ssize_t>(saved.size()),
      "write the table for ipvsadm");
  close(fd);

  const std::vector<std::pair<std::string, std::function<absl::Duration()>>> ways = {
      {"library", [&] { return FillByLibrary(operations); }},
      {"limit", [&] { return FillByBareLoop(operations); }},
      {"ipvsadm", [&] { return FillByIpvsadm(path); }},
  };
  bench::Report report("ipvs");
  std::map<std::string, std::vector<double>> rates;
  for (int round = 0; round < scale.rounds; ++round) {
    // Whoever comes first finds the caches of the round before: each does in turn.
    for (size_t i = 0; i < ways.size(); ++i) {
      const auto& [name, fill] = ways[(i + round) % ways.size()];
      if (name == "ipvsadm" && round >= scale.ipvsadm_rounds) continue;
      const absl::Duration taken = Measure(fill, scale);
      rates[name].push_back(scale.entries() / absl::ToDoubleSeconds(taken));
    }
  }
  unlink(path);

  report.Section(absl::StrCat(scale.services, " services with ", scale.destinations,
                              " destinations each: ", scale.entries(), " entries"));
  for (const auto& [name, fill] : ways) report.Add(name, "entries/s", rates[name]);
  for (const char* other : {"limit", "ipvsadm"}) {
    std::vector<double> ratios;
    for (size_t i = 0; i < rates[other].size(); ++i) {
      ratios.push_back(rates["library"][i] / rates[other][i]);
    }
    report.Add(absl::StrCat("library / ", other), "x", ratios);
  }
}

int Main(int argc, char** argv) {
  Scale scale;
  bench::BenchProgram program("How fast an IPVS table is filled");
  program.Add("--services", scale.services, "virtual servers");
  program.Add("--destinations", scale.destinations, "real servers of each");
  program.Add("--rounds", scale.rounds, "rounds in which the ways take turns");
  program.Add("--ipvsadm-rounds", scale.ipvsadm_rounds, "of them with ipvsadm");
  return program.Run(argc, argv, [&] { Run(scale); });
}

}  // namespace
}  // namespace fairlead::ipvs

int main(int argc, char** argv) { return fairlead::ipvs::Main(argc, argv); }
