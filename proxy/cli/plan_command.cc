#include <cstdio>
#include <memory>
#include <string>

#include "proxy/cli/command.h"
#include "proxy/cli/node_flags.h"
#include "proxy/plan/plan_output.h"
#include "proxy/plan/planner.h"
#include "watcher/manifest/manifest_reader.h"

namespace fairlead {
namespace {

struct PlanFlags {
  NodeFlags node;
  std::string output = "ipvsadm";
};

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "fairlead plan: %s\n", std::string(status.message()).c_str());
  return kExitUsage;
}

int Plan(const PlanFlags& flags) {
  absl::StatusOr<NodeSettings> settings = ParseNodeSettings(flags.node);
  if (!settings.ok()) return Fail(settings.status());
  absl::StatusOr<ManifestOptions> options = ParseManifestOptions(flags.node);
  if (!options.ok()) return Fail(options.status());
  options->read_only_state = true;

  ManifestReader reader(*options);
  const Reading reading = reader.Read();
  for (const Problem& problem : reading.problems) {
    std::fprintf(stderr, "fairlead plan: %s\n", problem.Format().c_str());
  }
  if (!reading.complete) return kExitFailure;

  Snapshot snapshot;
  for (const auto& [id, object] : reading.picture) snapshot.Upsert(object);
  const std::shared_ptr<const Node> node = snapshot.FindNode(settings->node_name);
  const std::set<std::string>& schedulers = KnownSchedulers();
  if (!schedulers.contains(settings->default_scheduler)) {
    std::fprintf(stderr, "fairlead plan: --scheduler: no kernel is known to have \"%s\"\n",
                 settings->default_scheduler.c_str());
    return kExitUsage;
  }
  Planner planner(MakeNodeConfig(*settings, node.get(), {}, schedulers));
  if (planner.config().node_port_addresses.empty()) {
    std::fprintf(stderr,
                 "fairlead plan: warning: no address of node %s is known that serves node ports, "
                 "they are left out: give --node-ip\n",
                 settings->node_name.c_str());
  }
  planner.Replan(snapshot, snapshot.TakeDirtyServices());
  for (const std::string& warning : planner.Warnings()) {
    std::fprintf(stderr, "fairlead plan: warning: %s\n", warning.c_str());
  }
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
  AddNodeFlags(*command, flags->node);
  command
      ->add_option("-o,--output", flags->output,
                   "ipvsadm: as `ipvsadm --save -n` prints it; json: the whole plan")
      ->check(CLI::IsMember({"ipvsadm", "json"}))
      ->capture_default_str();
  command->callback([flags, &run] { run = [flags] { return Plan(*flags); }; });
}

}  // namespace fairlead
