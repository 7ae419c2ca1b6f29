// To be run as root on a kernel with IPVS, alone in its process. Fails where there is none.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "ipvs/kernel_table.h"
#include "ipvs/service_count.h"
#include "test/ipvs/goldens.h"
#include "test/ipvs/network_namespace.h"

namespace fairlead::ipvs {
namespace {

TEST_CASE("virtual servers of IPv4 are counted, those for marks too, and of their namespace") {
  EnterNewNetworkNamespace();
  auto table = KernelTable::Open();
  REQUIRE(table.ok());
  auto count = ServiceCount::Open();
  REQUIRE(count.ok());
  CHECK(*count->CountIpv4VirtualServers() == 0);
  struct Row {
    std::string name;
    Operation operation;
    uint32_t count;
  };
  const VirtualServerKey v4 = Tcp("10.96.0.1", 80);
  const VirtualServerKey v6 = Tcp("fd00:96::1", 80);
  const auto mark4 = VirtualServerKey::ForMark(IpFamily::kIpv4, 7);
  const auto mark6 = VirtualServerKey::ForMark(IpFamily::kIpv6, 7);
  const std::vector<Row> rows = {
      {"IPv4", Operation::AddVirtualServer(v4, Config("rr")), 1},
      {"IPv6", Operation::AddVirtualServer(v6, Config("rr", IpFamily::kIpv6)), 1},
      {"a mark of IPv4", Operation::AddVirtualServer(mark4, Config("rr")), 2},
      {"a mark of IPv6", Operation::AddVirtualServer(mark6, Config("rr", IpFamily::kIpv6)), 2},
      {"an edit", Operation::EditVirtualServer(v4, Config("wrr")), 2},
      {"a mark less", Operation::DeleteVirtualServer(mark4), 1},
      {"an IPv6 less", Operation::DeleteVirtualServer(v6), 1},
      {"an IPv4 less", Operation::DeleteVirtualServer(v4), 0},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const std::vector<Operation> operations = {row.operation};
    const auto statuses = (*table)->Apply(operations);
    INFO(statuses[0]);
    REQUIRE(statuses[0].ok());
    CHECK(*count->CountIpv4VirtualServers() == row.count);
  }
  EnterNewNetworkNamespace();
  auto elsewhere = ServiceCount::Open();
  REQUIRE(elsewhere.ok());
  const std::vector<Operation> again = {Operation::AddVirtualServer(v4, Config("rr"))};
  REQUIRE((*table)->Apply(again)[0].ok());
  CHECK(*elsewhere->CountIpv4VirtualServers() == 0);
  CHECK(*count->CountIpv4VirtualServers() == 1);
}

TEST_CASE("a count costs the same with ten thousand virtual servers") {
  EnterNewNetworkNamespace();
  auto table = KernelTable::Open();
  REQUIRE(table.ok());
  auto count = ServiceCount::Open();
  REQUIRE(count.ok());
  const auto measure = [&](uint32_t expected) {
    constexpr int kRounds = 1000;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kRounds; ++i) REQUIRE(*count->CountIpv4VirtualServers() == expected);
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
    std::printf("%u virtual servers counted: %.2f us\n", expected, took.count() / kRounds);
  };
  measure(0);
  std::vector<Operation> operations;
  for (int i = 0; i < 10000; ++i) {
    operations.push_back(
        Operation::AddVirtualServer(Tcp(Address("10.96.0.1").Plus(i).Format(), 80), Config("rr")));
  }
  for (const absl::Status& status : (*table)->Apply(operations)) REQUIRE(status.ok());
  measure(10000);
}

TEST_CASE("who may not see the table does not get a number") {
  EnterNewNetworkNamespace();
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
    auto count = ServiceCount::Open();
    if (!count.ok()) _exit(2);
    _exit(absl::IsPermissionDenied(count->CountIpv4VirtualServers().status()) ? 0 : 3);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace fairlead::ipvs
