// To be run as root on a kernel with IPVS, alone in its process. Fails where there is none.
#include "ipvs/kernel_table.h"

#include <linux/netlink.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "ipvs/memory_table.h"
#include "ipvs/replies.h"
#include "ipvs/save_format.h"
#include "ipvs/scheduler_probe.h"
#include "test/ipvs/goldens.h"
#include "test/ipvs/network_namespace.h"
#include "test/ipvs/parity.h"
#include "test/ipvs/random_operations.h"

namespace fairlead::ipvs {
namespace {

using Code = absl::StatusCode;

// The table of a network namespace made for it, which this thread is in from now on.
std::unique_ptr<KernelTable> OpenInNewNamespace(const KernelTable::Options& options = {}) {
  EnterNewNetworkNamespace();
  auto table = KernelTable::Open(options);
  INFO(table.status());
  REQUIRE(table.ok());
  return *std::move(table);
}

void ApplyAll(KernelTable& table, const std::vector<Operation>& operations) {
  for (const absl::Status& status : table.Apply(operations)) {
    INFO(status);
    REQUIRE(status.ok());
  }
}

std::vector<Operation> AddThousandVirtualServers() {
  std::vector<Operation> operations;
  for (int i = 0; i < 1000; ++i) {
    operations.push_back(Operation::AddVirtualServer(
        VirtualServerKey::ForAddress(Protocol::kTcp, Address("10.96.0.1").Plus(i), 80),
        Config("rr")));
  }
  return operations;
}

std::string Run(const std::string& command) {
  std::FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  char buffer[4096];
  for (size_t size; (size = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    output.append(buffer, size);
  }
  INFO(command);
  REQUIRE(pclose(pipe) == 0);
  return output;
}

TEST_CASE("an empty table is dumped as empty") {
  auto table = OpenInNewNamespace();
  CHECK(table->Dump().value().empty());
  CHECK(table->batch() == kMaxBatch);
}

TEST_CASE("the kernel answers as the parity cases say") {
  for (const ParityCase& parity_case : ParityCases()) {
    INFO(parity_case.name);
    auto kernel = OpenInNewNamespace();
    MemoryTable memory;
    const std::vector<Operation> operations = OperationsOf(parity_case);
    CHECK(CodesOf(kernel->Apply(operations)) == ExpectedCodes(parity_case));
    memory.Apply(operations);
    CHECK(kernel->Dump().value() == memory.Dump().value());
  }
}

TEST_CASE("kernel and memory agree on random operations") {
  for (uint32_t seed = 1; seed <= 8; ++seed) {
    INFO("seed " << seed);
    RandomOperations random(seed);
    auto kernel = OpenInNewNamespace();
    MemoryTable memory;
    for (int round = 0; round < 10; ++round) {
      std::vector<Operation> operations;
      for (int i = 0; i < 100; ++i) operations.push_back(random.Next());
      const std::vector<absl::Status> by_kernel = kernel->Apply(operations);
      const std::vector<absl::Status> by_memory = memory.Apply(operations);
      for (size_t i = 0; i < operations.size(); ++i) {
        INFO(operations[i].Format()
             << "\nkernel: " << by_kernel[i] << "\nmemory: " << by_memory[i]);
        REQUIRE(by_kernel[i] == by_memory[i]);
      }
      REQUIRE(DescribeTable(kernel->Dump().value()) == DescribeTable(memory.Dump().value()));
    }
    const std::vector<VirtualServer> servers = memory.Dump().value();
    for (const VirtualServer& server : servers) {
      CHECK(kernel->Get(server.key).value() == server);
    }
  }
}

TEST_CASE("each operation of a big batch has its own status") {
  auto table = OpenInNewNamespace();
  const auto key = Tcp("10.96.0.1", 80);
  std::vector<Operation> operations = {Operation::AddVirtualServer(key, Config("rr"))};
  // Every third is right, in more operations than one batch holds.
  std::vector<Code> expected = {Code::kOk};
  for (int i = 0; i < 5000; ++i) {
    const RealServerKey real{Address("10.244.0.1").Plus(i / 3), 80};
    operations.push_back(i % 3 == 2 ? Operation::EditRealServer(key, Real("10.1.1.1", 1), {})
                                    : Operation::AddRealServer(key, real, {}));
    expected.push_back(i % 3 == 0   ? Code::kOk
                       : i % 3 == 1 ? Code::kAlreadyExists
                                    : Code::kNotFound);
  }
  CHECK(CodesOf(table->Apply(operations)) == expected);
  CHECK(table->Get(key)->real_servers.size() == 1667);
}

TEST_CASE("a batch is as small as the socket's buffers want it") {
  KernelTable::Options options;
  options.socket.send_buffer_bytes = 1;
  options.socket.receive_buffer_bytes = 1;
  auto table = OpenInNewNamespace(options);
  CHECK(table->batch() < 20);
  const auto key = Tcp("10.96.0.1", 80);
  std::vector<Operation> operations(500, Operation::AddVirtualServer(key, Config("rr")));
  std::vector<Code> expected(500, Code::kAlreadyExists);
  expected[0] = Code::kOk;
  CHECK(CodesOf(table->Apply(operations)) == expected);
}

// KernelTable never sends so much that this happens: the socket is used directly.
TEST_CASE("operations whose replies the kernel drops are unknown") {
  auto table = OpenInNewNamespace();
  NetlinkSocket::Options options;
  options.receive_buffer_bytes = 1;
  auto socket = NetlinkSocket::Open(options);
  REQUIRE(socket.ok());
  const std::vector<Operation> operations(
      1000, Operation::AddVirtualServer(Tcp("10.96.0.1", 80), Config("rr")));
  std::string buffer;
  for (uint32_t i = 0; i < operations.size(); ++i) {
    EncodeOperation(operations[i], {.family_id = socket->family_id(), .sequence = i}, &buffer);
  }
  REQUIRE(socket->Send(buffer).ok());
  std::vector<absl::Status> statuses(operations.size());
  BatchReplies replies(0, operations.size() - 1, operations, absl::MakeSpan(statuses));
  absl::StatusOr<absl::string_view> datagram;
  bool lost = false;
  while (datagram = socket->ReceivePending(), !absl::IsDeadlineExceeded(datagram.status())) {
    if (datagram.ok()) {
      replies.Take(*datagram);
    } else {
      CHECK(absl::IsDataLoss(datagram.status()));
      lost = true;
      replies.TakeLoss();
    }
  }
  CHECK(lost);
  replies.Finish();
  std::multiset<Code> codes;
  for (const absl::Status& status : statuses) codes.insert(status.code());
  CHECK(codes.count(Code::kOk) == 0);  // The first has succeeded, but nothing says so.
  CHECK(codes.count(Code::kAlreadyExists) > 0);
  CHECK(codes.count(Code::kUnknown) > 0);
  CHECK(codes.count(Code::kAlreadyExists) + codes.count(Code::kUnknown) == operations.size());
  CHECK(table->Dump()->size() == 1);
}

TEST_CASE("big tables are dumped whole") {
  auto table = OpenInNewNamespace();
  MemoryTable memory;
  RandomOperations random(3);
  std::vector<Operation> operations = MakeOperations(random.NextTable(3000, 3));
  const auto crowded = Tcp("10.200.0.1", 80);
  operations.push_back(Operation::AddVirtualServer(crowded, Config("wrr")));
  for (int i = 0; i < 1500; ++i) {
    operations.push_back(
        Operation::AddRealServer(crowded, {Address("10.201.0.1").Plus(i), 80}, {.weight = i}));
  }
  ApplyAll(*table, operations);
  memory.Apply(operations);
  CHECK(DescribeTable(table->Dump().value()) == DescribeTable(memory.Dump().value()));
  CHECK(table->Get(crowded).value() == memory.Get(crowded).value());
}

TEST_CASE("real servers are read of some virtual servers only") {
  auto table = OpenInNewNamespace();
  RandomOperations random(5);
  ApplyAll(*table, MakeOperations(random.NextTable(100, 3)));
  const std::vector<VirtualServer> all = table->Dump().value();
  const auto odd = [](const VirtualServer& server) { return server.key.port % 2 == 1; };
  std::vector<VirtualServer> expected = all;
  for (VirtualServer& server : expected) {
    if (!odd(server)) server.real_servers.clear();
  }
  REQUIRE(DescribeTable(expected) != DescribeTable(all));
  CHECK(DescribeTable(table->DumpWhere(odd).value()) == DescribeTable(expected));
}

// As /proc has them, with the address as a number.
std::vector<VirtualServerKey> OrderOfProc() {
  std::ifstream proc("/proc/thread-self/net/ip_vs");
  std::vector<VirtualServerKey> keys;
  std::string line;
  while (std::getline(proc, line)) {
    uint32_t address = 0;
    if (std::sscanf(line.c_str(), "TCP %8X:", &address) != 1) continue;
    keys.push_back(VirtualServerKey::ForAddress(Protocol::kTcp, IpAddress::V4(address), 80));
  }
  return keys;
}

// Reads until all are there: an earlier test's namespace hides some until the kernel has emptied
// it, which it does by the thousand and in its own time.
template <typename Read>
std::vector<VirtualServerKey> ReadWhole(size_t number, const Read& read) {
  const absl::Time give_up = absl::Now() + absl::Minutes(1);
  std::vector<VirtualServerKey> keys = read();
  while (keys.size() != number && absl::Now() < give_up) {
    absl::SleepFor(absl::Milliseconds(10));
    keys = read();
  }
  return keys;
}

TEST_CASE("virtual servers are listed as the kernel has them") {
  auto table = OpenInNewNamespace();
  const std::vector<Operation> operations = AddThousandVirtualServers();
  ApplyAll(*table, operations);
  const std::vector<VirtualServerKey> expected = ReadWhole(1000, OrderOfProc);
  REQUIRE(expected.size() == 1000);
  CHECK_FALSE(std::is_sorted(expected.begin(), expected.end()));
  CHECK(ReadWhole(1000, [&] { return table->ListInOrder().value(); }) == expected);
}

// Why the reconciler writes in that order after a flush.
TEST_CASE("what was flushed is added soonest in the opposite of the kernel's order") {
  auto table = OpenInNewNamespace();
  constexpr int kServers = 1000;
  const auto fill = [&](const std::vector<VirtualServerKey>& keys) {
    std::vector<Operation> operations;
    for (const VirtualServerKey& key : keys) {
      operations.push_back(Operation::AddVirtualServer(key, Config("rr")));
      for (int i = 0; i < 10; ++i) {
        operations.push_back(
            Operation::AddRealServer(key, {key.address.Plus((1 << 20) * (1 + i)), 8080}, {}));
      }
    }
    const absl::Time start = absl::Now();
    ApplyAll(*table, operations);
    return absl::Now() - start;
  };
  std::vector<VirtualServerKey> keys;
  for (int i = 0; i < kServers; ++i) {
    keys.push_back(VirtualServerKey::ForAddress(Protocol::kTcp, Address("10.96.0.1").Plus(i), 80));
  }
  fill(keys);
  const auto list = [&] { return table->ListInOrder().value(); };
  std::vector<VirtualServerKey> order = ReadWhole(kServers, list);
  REQUIRE(order.size() == kServers);
  std::reverse(order.begin(), order.end());
  REQUIRE(std::system("ipvsadm -C") == 0);
  const absl::Duration opposite = fill(order);
  const std::vector<VirtualServerKey> same = ReadWhole(kServers, list);
  REQUIRE(std::system("ipvsadm -C") == 0);
  const absl::Duration forward = fill(same);
  INFO("in the opposite order " << opposite << ", in the same order " << forward);
  CHECK(forward > 2 * opposite);
}

TEST_CASE("what does not exist is not found, and is not taken for empty") {
  auto table = OpenInNewNamespace();
  const auto web = Tcp("10.96.0.1", 80);
  const auto mark = VirtualServerKey::ForMark(IpFamily::kIpv6, 1);
  CHECK(absl::IsNotFound(table->Get(web).status()));
  CHECK(absl::IsNotFound(table->Get(mark).status()));
  ApplyAll(*table, {Operation::AddVirtualServer(web, Config("rr"))});
  CHECK(table->Get(web)->real_servers.empty());
  CHECK(absl::IsNotFound(table->Get(Tcp("10.96.0.1", 81)).status()));
}

// Why KernelTable asks again when it finds no real servers.
TEST_CASE("the kernel dumps no real servers, and no error, for what does not exist") {
  auto table = OpenInNewNamespace();
  auto socket = NetlinkSocket::Open({});
  REQUIRE(socket.ok());
  std::string buffer;
  EncodeDumpRealServers(Tcp("10.96.0.1", 80), {.family_id = socket->family_id(), .sequence = 1},
                        &buffer);
  REQUIRE(socket->Send(buffer).ok());
  DumpReplies replies(1, socket->family_id(), "dump real servers");
  int entries = 0;
  while (!replies.complete()) {
    replies.Take(socket->Receive().value(), [&](absl::string_view) {
      ++entries;
      return absl::OkStatus();
    });
  }
  CHECK(entries == 0);
  CHECK(replies.status().ok());
}

TEST_CASE("a table belongs to the namespace that it was opened in") {
  auto first = OpenInNewNamespace();
  ApplyAll(*first, {Operation::AddVirtualServer(Tcp("10.96.0.1", 80), Config("rr"))});
  auto second = OpenInNewNamespace();
  CHECK(second->Dump()->empty());
  CHECK(first->Dump()->size() == 1);
}

TEST_CASE("a table is saved as ipvsadm saves it") {
  for (uint32_t seed = 1; seed <= 5; ++seed) {
    INFO("seed " << seed);
    RandomOperations random(seed);
    auto table = OpenInNewNamespace();
    std::vector<Operation> operations = MakeOperations(random.NextTable(60, 6));
    for (const std::string address : {"192.168.7.1", "172.16.0.1"}) {
      operations.push_back(Operation::AddVirtualServer(Tcp(address, 80), Config("rr")));
    }
    operations.push_back(Operation::AddVirtualServer(
        VirtualServerKey::ForMark(IpFamily::kIpv4, 0xfffffff0), Config("rr")));
    // A pool of both families, in which ipvsadm's order is peculiar.
    RealServerConfig tunnel;
    tunnel.forwarding = ForwardingMethod::kTunnel;
    for (const std::string address : {"10.1.0.1", "10.1.0.2", "fd00:1::1", "fd00:1::2"}) {
      operations.push_back(
          Operation::AddRealServer(Tcp("172.16.0.1", 80), Real(address, 80), tunnel));
    }
    ApplyAll(*table, operations);
    const std::vector<std::string> ours = absl::StrSplit(FormatSave(table->Dump().value()), '\n');
    const std::vector<std::string> wanted = absl::StrSplit(Run("ipvsadm --save -n"), '\n');
    REQUIRE(ours.size() == wanted.size());
    for (size_t i = 0; i < ours.size(); ++i) CHECK(ours[i] == wanted[i]);
  }
}

// The kernel has one hash table for all namespaces, and a dump is an index into it.
TEST_CASE("what happens in other namespaces hides no virtual server") {
  auto table = OpenInNewNamespace();
  const std::vector<Operation> operations = AddThousandVirtualServers();
  ApplyAll(*table, operations);
  const pid_t child = fork();
  if (child == 0) {
    while (true) {  // Until killed; each namespace goes when the next one is entered.
      EnterNewNetworkNamespace();
      auto other = KernelTable::Open();
      if (!other.ok()) _exit(1);
      (*other)->Apply(operations);
    }
  }
  REQUIRE(child > 0);
  std::vector<size_t> sizes;
  for (int i = 0; i < 20; ++i) sizes.push_back(table->Dump().value().size());
  kill(child, SIGKILL);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  CHECK(sizes == std::vector<size_t>(20, 1000));
}

TEST_CASE("a saved table is restored by ipvsadm") {
  RandomOperations random(11);
  std::vector<VirtualServer> wanted = random.NextTable(40, 4);
  for (VirtualServer& server : wanted) {
    // What ipvsadm does not save or does not take back.
    server.config.flags &= ~kFlagScheduler3;
    if (server.config.scheduler != "sh" && server.config.scheduler != "mh") {
      server.config.flags &= kFlagPersistent | kFlagOnePacket;
    }
    if (server.key.is_mark() || server.key.protocol != Protocol::kUdp) {
      server.config.flags &= ~kFlagOnePacket;
    }
    if (server.key.is_mark() || server.key.port == 0) server.config.flags |= kFlagPersistent;
    if (!server.config.persistent()) continue;
    if (server.config.persistence_timeout == absl::ZeroDuration()) {
      server.config.persistence_timeout = absl::Seconds(60);
    }
  }
  for (VirtualServer& server : wanted) {
    for (RealServer& real : server.real_servers) {
      // Neither thresholds; and without masquerading ipvsadm takes the virtual server's port.
      real.config = {.weight = real.config.weight};
    }
  }
  auto table = OpenInNewNamespace();
  char path[] = "/tmp/ipvs_kernel_test.XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  std::ofstream(path) << FormatSave(wanted);
  Run(absl::StrCat("ipvsadm --restore < ", path));
  close(fd);
  unlink(path);
  const std::vector<std::string> restored = DescribeTable(table->Dump().value());
  const std::vector<std::string> expected = DescribeTable(wanted);
  REQUIRE(restored.size() == expected.size());
  for (size_t i = 0; i < restored.size(); ++i) CHECK(restored[i] == expected[i]);
}

TEST_CASE("a scheduler is probed without a trace") {
  auto table = OpenInNewNamespace();
  CHECK(ProbeScheduler("rr").ok());
  CHECK(ProbeScheduler("wlc").ok());
  const absl::Status missing = ProbeScheduler("foo");
  CHECK(absl::IsNotFound(missing));
  CHECK(missing.message() ==
        "scheduler \"foo\" is not in this kernel: module ip_vs_foo is missing");
  CHECK(absl::IsInvalidArgument(ProbeScheduler(std::string(16, 'x'))));
  CHECK(table->Dump()->empty());
  auto same_namespace = KernelTable::Open();
  CHECK(same_namespace.value()->Dump()->empty());
}

TEST_CASE("without privileges everything is denied, and the limits still hold") {
  EnterNewNetworkNamespace();
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
    auto table = KernelTable::Open();
    if (!table.ok()) _exit(2);
    const auto operation = Operation::AddVirtualServer(Tcp("10.96.0.1", 80), Config("rr"));
    for (const absl::Status& status : (*table)->Apply(std::vector<Operation>(2000, operation))) {
      if (!absl::IsPermissionDenied(status)) _exit(3);
    }
    if (!absl::IsPermissionDenied((*table)->Dump().status())) _exit(4);
    if (!absl::IsPermissionDenied((*table)->Get(operation.virtual_server).status())) _exit(5);
    if (!absl::IsPermissionDenied(ProbeScheduler("rr"))) _exit(6);
    if ((*table)->batch() >= kMaxBatch) _exit(7);
    _exit(0);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace fairlead::ipvs
