#include "ipvs/memory_table.h"

#include <catch2/catch.hpp>

#include "test/ipvs/goldens.h"
#include "test/ipvs/parity.h"

namespace fairlead::ipvs {
namespace {

using Code = absl::StatusCode;

const VirtualServerKey kWeb = Tcp("10.96.0.1", 80);
const RealServerKey kPod = Real("10.244.0.1", 8080);

Operation AddWeb() { return Operation::AddVirtualServer(kWeb, Config("rr")); }
Operation AddPod() { return Operation::AddRealServer(kWeb, kPod, {}); }

absl::Status ApplyOne(MemoryTable& table, const Operation& operation) {
  return table.Apply({operation}).front();
}

TEST_CASE("a table in memory holds what was applied") {
  MemoryTable table;
  CHECK(table.Dump()->empty());
  CHECK(absl::IsNotFound(table.Get(kWeb).status()));
  CHECK(CodesOf(table.Apply({AddWeb(), AddPod()})) == std::vector<Code>{Code::kOk, Code::kOk});
  const VirtualServer wanted{
      .key = kWeb, .config = Config("rr"), .real_servers = {{.key = kPod, .config = {}}}};
  CHECK(table.Get(kWeb).value() == wanted);
  CHECK(table.Dump().value() == std::vector<VirtualServer>{wanted});
}

TEST_CASE("a scheduler that the table does not have is named in the error") {
  MemoryTable table({.schedulers = {"rr"}});
  CHECK(ApplyOne(table, Operation::AddVirtualServer(kWeb, Config("wrr"))).message() ==
        "add virtual server TCP 10.96.0.1:80: scheduler \"wrr\" is not in this kernel: "
        "run `modprobe -a ip_vs_wrr`");
}

TEST_CASE("an edit of a real server keeps its connections, a new one has none") {
  MemoryTable table;
  table.Apply({AddWeb(), AddPod()});
  CHECK(table.SetConnections(kWeb, kPod, 3, 2, 1).ok());
  CHECK(absl::IsNotFound(table.SetConnections(kWeb, Real("10.244.0.9", 1), 1, 1)));
  CHECK(absl::IsNotFound(table.SetConnections(Tcp("10.96.0.9", 1), kPod, 1, 1)));
  table.Apply({Operation::EditRealServer(kWeb, kPod, {.weight = 0}),
               Operation::EditVirtualServer(kWeb, Config("wrr"))});
  RealServer wanted{.key = kPod,
                    .config = {.weight = 0},
                    .active_connections = 3,
                    .inactive_connections = 2,
                    .persistent_connections = 1};
  CHECK(table.Get(kWeb)->real_servers == std::vector<RealServer>{wanted});
}

TEST_CASE("operations are recorded, also those that fail") {
  MemoryTable table;
  table.Apply({AddPod(), AddWeb()});
  CHECK(table.operations() == std::vector<Operation>{AddPod(), AddWeb()});
  table.ClearOperations();
  CHECK(table.Dump().ok());
  CHECK(table.operations().empty());
}

TEST_CASE("the next operation, or one after it, fails once on demand") {
  MemoryTable table;
  table.FailNext({absl::ResourceExhaustedError("no memory")});
  table.FailNext({absl::UnknownError("lost"), /*happens=*/true}, 2);
  CHECK(
      CodesOf(table.Apply({AddWeb(), AddWeb(), AddPod(), AddPod()})) ==
      std::vector<Code>{Code::kResourceExhausted, Code::kOk, Code::kUnknown, Code::kAlreadyExists});
}

TEST_CASE("operations of a kind fail until failures are cleared") {
  MemoryTable table;
  table.FailWhen([](const Operation& o) { return o.verb == Verb::kAddRealServer; },
                 {absl::PermissionDeniedError("no")});
  table.FailReads(absl::UnavailableError("busy"));
  CHECK(CodesOf(table.Apply({AddWeb(), AddPod(), AddPod()})) ==
        std::vector<Code>{Code::kOk, Code::kPermissionDenied, Code::kPermissionDenied});
  CHECK(absl::IsUnavailable(table.Dump().status()));
  CHECK(absl::IsUnavailable(table.Get(kWeb).status()));
  table.ClearFailures();
  CHECK(ApplyOne(table, AddPod()).ok());
  CHECK(table.Dump()->size() == 1);
}

}  // namespace
}  // namespace fairlead::ipvs
