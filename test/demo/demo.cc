// The demonstration: a cluster of three nodes that serves a manifest's Services, with real packets.
//
// demo --fairlead PROGRAM --manifest FILE: needs root and IPVS, so run it by `./dev demo`.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "test/demo/scenes.h"
#include "test/demo/stage.h"
#include "test/lab/requirements.h"

namespace fairlead::demo {
namespace {

void Tell(const std::string& line) {
  std::printf("\n-- %s\n", line.c_str());
  std::fflush(stdout);
}

int Fail(const absl::Status& status) {
  std::printf("demo: %s\n", std::string(status.message()).c_str());
  return 1;
}

int Play(const StageOptions& options) {
  if (absl::Status status = lab::CheckIpvs(); !status.ok()) return Fail(status);
  Tell("a cluster of three nodes for " + options.manifest);
  absl::StatusOr<std::unique_ptr<Stage>> stage = Stage::Build(options);
  if (!stage.ok()) return Fail(stage.status());
  std::printf(
      "%zu pods; %s is what the scenes play on; three Services with its selector are added:"
      "\n%s (NodePort, Local), %s (NodePort, Cluster), %s (scheduler lc)\n",
      (*stage)->pods().size(), (*stage)->cast().web.c_str(), (*stage)->cast().local.c_str(),
      (*stage)->cast().cluster.c_str(), (*stage)->cast().least_connections.c_str());

  Tell("an agent on each node");
  const absl::Time start = absl::Now();
  if (absl::Status status = (*stage)->StartAgents(); !status.ok()) return Fail(status);
  std::printf(
      "all three have programmed their kernel after %s\n",
      absl::FormatDuration(absl::Trunc(absl::Now() - start, absl::Milliseconds(1))).c_str());
  Tell("fairlead list, on n1");
  absl::StatusOr<std::string> list = (*stage)->agent(1).ListText();
  if (!list.ok()) return Fail(list.status());
  std::fputs(list->c_str(), stdout);

  const std::vector<Row> rows = PlayAll(**stage, Tell);
  Tell("what was tried, and whether it held");
  std::fputs(FormatRows(rows).c_str(), stdout);
  const auto failed = std::count_if(rows.begin(), rows.end(), [](const Row& r) { return !r.held; });
  std::printf("\n%zu held, %ld did not\n", rows.size() - static_cast<size_t>(failed),
              static_cast<long>(failed));
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace fairlead::demo

int main(int argc, char** argv) {
  CLI::App app("Shows Fairlead at work on a cluster of three nodes.");
  fairlead::demo::StageOptions options;
  app.add_option("--fairlead", options.program, "The program")->required();
  app.add_option("--manifest", options.manifest, "What to serve")->required();
  app.add_option("--replicas", options.replicas, "Of Deployments that do not say")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  char folder[] = "/tmp/fairlead-demo-XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  options.folder = folder;
  const int exit_code = fairlead::demo::Play(options);
  std::filesystem::remove_all(folder);
  return exit_code;
}
