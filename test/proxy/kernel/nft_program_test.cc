#include "proxy/kernel/nft_program.h"

#include <catch2/catch.hpp>

#include "absl/strings/match.h"

namespace fairlead {
namespace {

// Any program will do that takes the arguments `-f -`.
TEST_CASE("how nft ends becomes a status") {
  struct Row {
    std::string name;
    std::string program;
    absl::Duration timeout;
    absl::StatusCode code;
    std::string says;
  };
  const std::vector<Row> rows = {
      {"ends well", "true", kNftTimeout, absl::StatusCode::kOk, ""},
      {"is missing", "no-such-program", kNftTimeout, absl::StatusCode::kFailedPrecondition,
       "cannot run the program no-such-program: No such file or directory: install the package "
       "nftables, and have no-such-program in the PATH"},
      {"refuses, in words", "cp", kNftTimeout, absl::StatusCode::kFailedPrecondition,
       "cp refused the ruleset (exit code 1): nft: missing destination file"},
      {"does not end", "tail", absl::Milliseconds(20), absl::StatusCode::kDeadlineExceeded,
       "tail did not end within 20ms"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const absl::Status status = RunNft("text\n", row.program, row.timeout);
    INFO(status.ToString());
    CHECK(status.code() == row.code);
    CHECK(absl::StrContains(status.message(), row.says));
  }
}

TEST_CASE("a text of any size is handed over") {
  const std::string text(1 << 20, 'x');
  CHECK(RunNft(text + "\n", "true").ok());
}

}  // namespace
}  // namespace fairlead
