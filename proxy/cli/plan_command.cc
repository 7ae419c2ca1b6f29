#include <cstdio>
#include <memory>
#include <string>

#include "proxy/cli/command.h"
#include "proxy/cli/offline_plan.h"
#include "proxy/plan/plan_output.h"

namespace fairlead {
namespace {

struct PlanFlags {
  NodeFlags node;
  std::string output = "ipvsadm";
};

int Plan(const PlanFlags& flags) {
  auto planned = PlanOffline("plan", flags.node);
  if (const int* exit_code = std::get_if<int>(&planned)) return *exit_code;
  const Planner& planner = *std::get<OfflinePlan>(planned).planner;
  const std::string text = flags.output == "json"
                               ? FormatPlanJson(planner.desired(), planner.config())
                               : FormatPlanSave(planner.desired());
  std::fputs(text.c_str(), stdout);
  return kExitOk;
}

}  // namespace

void AddPlanCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "plan", "Print what a node would program for these manifests; touches no kernel");
  auto flags = std::make_shared<PlanFlags>();
  AddNodeFlags(*command, flags->node, Required::kNodeAndManifests);
  command
      ->add_option("-o,--output", flags->output,
                   "ipvsadm: as `ipvsadm --save -n` prints it; json: the whole plan")
      ->check(CLI::IsMember({"ipvsadm", "json"}))
      ->capture_default_str();
  command->callback([flags, &run] { run = [flags] { return Plan(*flags); }; });
}

}  // namespace fairlead
