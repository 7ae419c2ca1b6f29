#include <csignal>
#include <cstdio>

#include "absl/synchronization/mutex.h"
#include "proxy/cli/command.h"
#include "proxy/cli/command_shape.h"
#include "proxy/cli/config_file.h"
#include "proxy/cli/output.h"
#include "proxy/cli/version.h"

int main(int argc, char** argv) {
  // A reader that goes away is an error of the write, not the end of the program.
  std::signal(SIGPIPE, SIG_IGN);

  // Debian's abseil looks for cycles at every lock of gRPC's, which takes some percent of a watcher
  // with thousands of agents.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);

  CLI::App app("Keeps the kernel's IPVS virtual-server table in step with a cluster's Services.",
               "fairlead");
  app.set_version_flag("--version", fairlead::kVersion);
  app.require_subcommand(1);
  app.formatter(fairlead::MakeHelpFormatter());
  fairlead::Run run;
  fairlead::AddProxyCommand(app, run);
  fairlead::AddWatcherCommand(app, run);
  fairlead::AddPlanCommand(app, run);
  fairlead::AddExplainCommand(app, run);
  fairlead::AddListCommand(app, run);
  fairlead::AddStatsCommand(app, run);
  fairlead::AddRatesCommand(app, run);
  fairlead::AddConnectionsCommand(app, run);
  fairlead::AddCleanupCommand(app, run);
  fairlead::AddDiffCommand(app, run);
  fairlead::AddDrainCommand(app, run);
  fairlead::AddDoctorCommand(app, run);
  fairlead::AddTopCommand(app, run);
  fairlead::AddLogLevelCommand(app, run);
  fairlead::AddVersionCommand(app, run);
  fairlead::AddShellCommands(app, run);
  fairlead::AddExitCodes(app);
  fairlead::BindEnvironment(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // What nobody knows may be why something is missing.
    const std::string unknown = fairlead::DescribeUnknown(app);
    if (!unknown.empty() && error.get_exit_code() != 0) {
      std::fprintf(stderr, "fairlead: %sRun with --help for more information.\n", unknown.c_str());
      return fairlead::kExitUsage;
    }
    return app.exit(error) == 0 ? fairlead::kExitOk : fairlead::kExitUsage;
  }
  return run();
}
