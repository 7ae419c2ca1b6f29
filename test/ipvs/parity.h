// Sequences of operations with the answers that a kernel gives: run against the table in memory in
// the unit tests, and against the kernel's in the lab.
#pragma once

#include <string>
#include <vector>

#include "ipvs/table.h"

namespace fairlead::ipvs {

struct ParityStep {
  Operation operation;
  absl::StatusCode expected;
};

struct ParityCase {
  std::string name;
  std::vector<ParityStep> steps;
};

// For an empty table of a kernel that has the schedulers rr, wrr and sh but not "foo".
std::vector<ParityCase> ParityCases();

std::vector<Operation> OperationsOf(const ParityCase& parity_case);
std::vector<absl::StatusCode> ExpectedCodes(const ParityCase& parity_case);
std::vector<absl::StatusCode> CodesOf(const std::vector<absl::Status>& statuses);

// What is configured, in one line per entry: for comparing tables whose counters differ.
std::vector<std::string> DescribeTable(const std::vector<VirtualServer>& table);

}  // namespace fairlead::ipvs
