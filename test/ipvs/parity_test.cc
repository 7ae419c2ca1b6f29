#include "test/ipvs/parity.h"

#include <catch2/catch.hpp>

#include "ipvs/memory_table.h"
#include "test/ipvs/random_operations.h"

namespace fairlead::ipvs {
namespace {

// ipvs_kernel_test runs the same against a kernel.
TEST_CASE("the table in memory answers as a kernel does") {
  for (const ParityCase& parity_case : ParityCases()) {
    INFO(parity_case.name);
    MemoryTable table;
    CHECK(CodesOf(table.Apply(OperationsOf(parity_case))) == ExpectedCodes(parity_case));
  }
}

TEST_CASE("random operations meet every answer") {
  RandomOperations random(1);
  std::vector<Operation> operations;
  for (int i = 0; i < 2000; ++i) operations.push_back(random.Next());
  MemoryTable table;
  std::vector<absl::StatusCode> codes = CodesOf(table.Apply(operations));
  for (const auto code : {absl::StatusCode::kOk, absl::StatusCode::kAlreadyExists,
                          absl::StatusCode::kNotFound, absl::StatusCode::kInvalidArgument}) {
    CHECK(std::count(codes.begin(), codes.end(), code) > 100);
  }
}

TEST_CASE("a table is what the operations that make it say") {
  RandomOperations random(2);
  const std::vector<VirtualServer> wanted = random.NextTable(50, 5);
  MemoryTable table;
  for (const absl::Status& status : table.Apply(MakeOperations(wanted))) CHECK(status.ok());
  CHECK(table.Dump().value() == wanted);
}

}  // namespace
}  // namespace fairlead::ipvs
