#include <csignal>
#include <cstdio>

#include "proxy/cli/command.h"
#include "proxy/cli/version.h"

int main(int argc, char** argv) {
  // A reader that goes away is an error of the write, not the end of the program.
  std::signal(SIGPIPE, SIG_IGN);

  CLI::App app("Keeps the kernel's IPVS virtual-server table in step with a cluster's Services.",
               "fairlead");
  app.set_version_flag("--version", fairlead::kVersion);
  app.require_subcommand(1);
  fairlead::Run run;
  fairlead::AddProxyCommand(app, run);
  fairlead::AddWatcherCommand(app, run);
  fairlead::AddPlanCommand(app, run);
  fairlead::AddExplainCommand(app, run);
  fairlead::AddListCommand(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? fairlead::kExitOk : fairlead::kExitUsage;
  }
  return run();
}
