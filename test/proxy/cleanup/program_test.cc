#include "proxy/cleanup/program.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

TEST_CASE("a program gets its input whole, and its output is had whole") {
  const std::string large(3 << 20, 'x');
  CHECK(RunProgram({"cat"}, large).value() == large);
  CHECK(RunProgram({"sh", "-c", "echo \"$1\"; echo said >&2", "sh", "a b"}).value() == "a b\n");
  CHECK(RunProgram({"cat"}).value().empty());
}

TEST_CASE("how a program fails is told") {
  struct Row {
    std::string name;
    std::vector<std::string> words;
    absl::Status status;
  };
  const std::vector<Row> rows = {
      {"missing",
       {"fairlead-no-such-program"},
       absl::NotFoundError(
           "the program fairlead-no-such-program cannot be run: No such file or directory")},
      {"with what it said",
       {"sh", "-c", "echo out; echo it is locked >&2; exit 4"},
       absl::FailedPreconditionError("sh failed with code 4: it is locked")},
      {"by a signal",
       {"sh", "-c", "kill -9 $$"},
       absl::FailedPreconditionError("sh failed with signal 9: ")},
      {"no program",
       {"/etc/passwd"},
       absl::FailedPreconditionError("the program /etc/passwd cannot be run: Permission denied")},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(RunProgram(row.words).status() == row.status);
  }
  // One that goes on for ever.
  const ProgramRunner too_late = RunProgramsWithin(absl::ZeroDuration());
  CHECK(too_late({"cat"}, "text").status() ==
        absl::DeadlineExceededError("cat was not started: those before it have taken too long"));
  const ProgramRunner in_time = RunProgramsWithin(absl::Hours(1));
  CHECK(in_time({"cat"}, "text").value() == "text");
  CHECK(in_time({"cat"}, "more").value() == "more");
  CHECK(RunProgram({"tail", "-f", "/dev/null"}, "", absl::Milliseconds(20)).status() ==
        absl::DeadlineExceededError("tail did not end within 20ms"));
}

}  // namespace
}  // namespace fairlead
