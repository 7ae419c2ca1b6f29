#include <grpcpp/grpcpp.h>
#include <sys/utsname.h>

#include <cstdio>
#include <string>

#include "proxy/agent/inspect_service.h"
#include "proxy/cli/command.h"
#include "proxy/cli/inspect_client.h"
#include "proxy/cli/output.h"
#include "proxy/cli/version.h"
#include "proxy/cli/version_format.h"

namespace fairlead {
namespace {

struct VersionFlags {
  std::string socket = kDefaultSocket;
  OutputFlags output;
};

int PrintVersion(const VersionFlags& flags) {
  Versions versions;
  versions.program = kVersion;
  versions.ipvs = ParseIpvsVersion(ReadKernelTableTitle());
  if (utsname name{}; uname(&name) == 0) versions.kernel = name.release;
  // There need not be one.
  v1::StatusResponse status;
  const auto context = AskContext();
  if (ConnectToAgent(flags.socket)->Status(context.get(), {}, &status).ok()) {
    versions.agent = status.version();
  }
  const Output output = flags.output.output();
  const std::string text = output == Output::kText ? FormatVersionsText(versions)
                                                   : FormatVersionsDocument(versions, output);
  std::fputs(text.c_str(), stdout);
  return kExitOk;
}

}  // namespace

void AddVersionCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "version",
      "Show the versions of this program, of the agent that runs, of what they speak, and of the "
      "kernel's IPVS");
  auto flags = std::make_shared<VersionFlags>();
  AddOutputFlags(*command, {"text", "json", "yaml"}, flags->output);
  command->add_option("--socket", flags->socket, "The agent's Unix socket")->capture_default_str();
  command->callback([flags, &run] { run = [flags] { return PrintVersion(*flags); }; });
}

}  // namespace fairlead
