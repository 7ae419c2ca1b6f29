#include "proxy/cli/offline_plan.h"

#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/cli/command.h"
#include "watcher/manifest/manifest_reader.h"

namespace fairlead {

std::variant<OfflinePlan, int> PlanOffline(const char* command, const NodeFlags& flags,
                                           std::FILE* messages) {
  const auto say = [command, messages](absl::string_view text) {
    if (messages == nullptr) return;
    std::fprintf(messages, "fairlead %s: %s\n", command, std::string(text).c_str());
  };
  absl::StatusOr<NodeSettings> settings = ParseNodeSettings(flags);
  absl::StatusOr<ManifestOptions> options = ParseManifestOptions(flags);
  for (const absl::Status& status : {settings.status(), options.status()}) {
    if (status.ok()) continue;
    say(status.message());
    return kExitUsage;
  }
  options->read_only_state = true;

  ManifestReader reader(*options);
  const Reading reading = reader.Read();
  for (const Problem& problem : reading.problems) say(problem.Format());
  if (!reading.complete) return kExitFailure;

  OfflinePlan plan;
  for (const auto& [id, object] : reading.picture) plan.snapshot.Upsert(object);
  const std::shared_ptr<const Node> node = plan.snapshot.FindNode(settings->node_name);
  const std::set<std::string>& schedulers = KnownSchedulers();
  if (!schedulers.contains(settings->default_scheduler)) {
    say(absl::StrCat("--scheduler: no kernel is known to have \"", settings->default_scheduler,
                     "\""));
    return kExitUsage;
  }
  plan.planner = std::make_unique<Planner>(MakeNodeConfig(*settings, node.get(), {}, schedulers));
  if (plan.planner->config().node_port_addresses.empty()) {
    say(absl::StrCat("warning: no address of node ", settings->node_name,
                     " is known that serves node ports, they are left out: give --node-ip"));
  }
  plan.planner->Replan(plan.snapshot, plan.snapshot.TakeDirtyServices());
  for (const std::string& warning : plan.planner->Warnings()) {
    say(absl::StrCat("warning: ", warning));
  }
  return plan;
}

}  // namespace fairlead
