#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proxy/cli/command.h"
#include "proxy/cli/diff_format.h"
#include "proxy/cli/inspect_client.h"

namespace fairlead {
namespace {

// As diff(1) has them.
constexpr int kExitDifferent = 1;
constexpr int kExitTrouble = 2;

struct DiffFlags {
  std::string socket = kDefaultSocket;
  std::string output = "unified";
};

absl::StatusOr<std::vector<v1::Difference>> AskAgent(const std::string& socket) {
  const auto stub = ConnectToAgent(socket);
  const auto context = AskContext();
  const auto reader = stub->Diff(context.get(), {});
  std::vector<v1::Difference> differences;
  v1::Difference difference;
  while (reader->Read(&difference)) differences.push_back(difference);
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return FromGrpc(status);
  return differences;
}

int Diff(const DiffFlags& flags) {
  const absl::StatusOr<std::vector<v1::Difference>> differences = AskAgent(flags.socket);
  if (!differences.ok()) {
    FailToAsk("diff", flags.socket, differences.status());
    return kExitTrouble;
  }
  const std::string text =
      flags.output == "json" ? FormatDiffJson(*differences) : FormatDiffUnified(*differences);
  std::fputs(text.c_str(), stdout);
  return differences->empty() ? kExitOk : kExitDifferent;
}

}  // namespace

void AddDiffCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "diff", "Show how the kernel differs from the running agent's plan, as `diff -u` does");
  auto flags = std::make_shared<DiffFlags>();
  command->add_option("--socket", flags->socket, "The agent's Unix socket")->capture_default_str();
  command->add_option("-o,--output", flags->output, "unified or json")
      ->check(CLI::IsMember({"unified", "json"}))
      ->capture_default_str();
  command->footer(
      "Exits with 0 where the kernel is as planned, 1 where it differs, 2 where that cannot be\n"
      "found out. Virtual servers of others, and endpoints that drain, are no difference.");
  command->callback([flags, &run] { run = [flags] { return Diff(*flags); }; });
}

}  // namespace fairlead
