// The subcommands of `fairlead`. Each adds itself to the command line and says what to run.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace fairlead {

// Exit codes of every subcommand.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // It was understood, and did not work.
inline constexpr int kExitUsage = 2;    // The command line is wrong.

// Where the agent answers inspections.
inline constexpr char kDefaultSocket[] = "/run/fairlead/proxy.sock";

// Set by the subcommand that was given.
using Run = std::function<int()>;

void AddProxyCommand(CLI::App& app, Run& run);
void AddPlanCommand(CLI::App& app, Run& run);
void AddExplainCommand(CLI::App& app, Run& run);
void AddListCommand(CLI::App& app, Run& run);
void AddStatsCommand(CLI::App& app, Run& run);
void AddRatesCommand(CLI::App& app, Run& run);
void AddConnectionsCommand(CLI::App& app, Run& run);
void AddTopCommand(CLI::App& app, Run& run);
void AddVersionCommand(CLI::App& app, Run& run);
void AddDiffCommand(CLI::App& app, Run& run);
void AddDrainCommand(CLI::App& app, Run& run);
void AddDoctorCommand(CLI::App& app, Run& run);
void AddWatcherCommand(CLI::App& app, Run& run);
void AddCleanupCommand(CLI::App& app, Run& run);
void AddLogLevelCommand(CLI::App& app, Run& run);
// `completion` and `man`, of all that `app` has when they run.
void AddShellCommands(CLI::App& app, Run& run);

}  // namespace fairlead
