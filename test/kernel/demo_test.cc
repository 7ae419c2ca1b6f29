#include <catch2/catch.hpp>

#include "test/demo/scenes.h"
#include "test/demo/stage.h"
#include "test/kernel/harness.h"
#include "test/lab/requirements.h"

namespace fairlead::demo {
namespace {

TEST_CASE("What the demonstration shows holds") {
  FAIRLEAD_NEEDS_IPVS();
  const lab::Folder folder;
  auto stage = Stage::Build({.program = lab::Program(),
                             .manifest = FAIRLEAD_KERNEL_TESTDATA "/shop.yaml",
                             .folder = folder.path()});
  INFO(stage.status());
  REQUIRE(stage.ok());
  const absl::Status started = (*stage)->StartAgents();
  INFO(started);
  REQUIRE(started.ok());
  const std::vector<Row> rows = PlayAll(**stage, [](const std::string&) {});
  REQUIRE(rows.size() > 10);
  for (const Row& row : rows) {
    INFO(row.tried << ": " << row.seen);
    CHECK(row.held);
  }
}

}  // namespace
}  // namespace fairlead::demo
