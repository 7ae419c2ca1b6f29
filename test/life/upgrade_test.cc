// Another version of the program takes over from the one that runs.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proxy/cli/version.h"
#include "test/lab/requirements.h"
#include "test/life/stage.h"
#include "test/life/summary.h"

namespace fairlead::lab {
namespace {

// A copy of the program that calls itself another version: text of the same length takes the
// version's place in its constants. Empty if that was not to be found.
std::string WriteOtherVersion(const std::string& path) {
  std::ifstream file(Program(), std::ios::binary);
  std::string program{std::istreambuf_iterator<char>(file), {}};
  const std::string version(std::begin(kVersion), std::end(kVersion));  // With its last 0.
  std::string other = version;
  other[0] = '9';
  int replaced = 0;
  for (size_t at = 0; (at = program.find(version, at)) != std::string::npos; at += other.size()) {
    program.replace(at, other.size(), other);
    ++replaced;
  }
  std::ofstream(path, std::ios::binary) << program;
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return replaced == 0 ? "" : other.substr(0, other.size() - 1);
}

// Of the line in which an agent says what its first sync came to.
bool WroteNothing(const std::string& log) {
  return absl::StrContains(log, "wrote 0 operations, 0 elements, 0 routes");
}

TEST_CASE("Another version of the program takes over without a write and without a loss") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  // Of all that is written to a kernel something: marks, sources, affinity, ports without
  // endpoints.
  ServiceShape everything = stage.Shape("everything", 3, {"web-1", "web-2"});
  everything.type = "LoadBalancer";
  everything.external_policy = "Local";
  everything.affinity_seconds = 600;
  everything.source_ranges = {"172.18.0.0/16"};
  stage.Write(everything);
  stage.Write(stage.Shape("nobody", 4, {}));
  const Folder programs;
  const std::string program = programs.Path("fairlead");
  const std::string version = WriteOtherVersion(program);
  REQUIRE(version != "");
  CHECK(absl::StrContains(stage.Run(program + " --version"), version));

  stage.StartAgent();
  stage.AwaitPlan();
  const std::string table = stage.Run("ipvsadm --save -n");
  const std::string ruleset = stage.Run("nft list ruleset");
  const std::string routes = stage.Run("ip -details route show table all");
  Traffic traffic(stage.Flows());
  REQUIRE(traffic.AwaitAnswers(Agent::kPatience));

  constexpr int kUpgrades = 6;
  int64_t writes = 0;
  for (int upgrade = 1; upgrade <= kUpgrades; ++upgrade) {
    const bool to_other = upgrade % 2 == 1;
    traffic.Note(absl::StrCat("upgrade ", upgrade));
    stage.StopAgent();
    stage.StartAgent({}, to_other ? program : Program());
    stage.AwaitFirstSync();
    INFO(stage.AgentLog());
    CHECK(absl::StrContains(stage.AgentLog(),
                            absl::StrCat("fairlead ", to_other ? version : kVersion)));
    CHECK(WroteNothing(stage.AgentLog()));
    writes += stage.Writes();
    REQUIRE(traffic.AwaitAnswers(Agent::kPatience));
  }
  CHECK(writes == 0);
  CHECK(stage.Run("ipvsadm --save -n") == table);
  CHECK(stage.Run("nft list ruleset") == ruleset);
  CHECK(stage.Run("ip -details route show table all") == routes);

  // It is not idle either.
  ServiceShape another = stage.Shape("another", 5, {"web-1"});
  stage.Write(another);
  stage.AwaitPlan();
  CHECK(Get(stage.pod(), another.cluster_ip, another.port).ok());
  Conclude({.name = "upgrade to another binary",
            .traffic = CheckUnharmed(traffic.Stop()),
            .counted = absl::StrCat(kUpgrades, " upgrades, ", writes, " writes")});
}

}  // namespace
}  // namespace fairlead::lab
