#include "test/kernel/harness.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "ipvs/kernel_table.h"
#include "ipvs/save_format.h"
#include "proxy/cli/offline_plan.h"
#include "proxy/kernel/netlink_routes.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/plan/plan_output.h"
#include "proxy/reconcile/dependents.h"

namespace fairlead::lab {
namespace {

using Lines = std::set<std::string>;

std::string Difference(const std::string& what, const Lines& planned, const Lines& there) {
  Lines missing;
  Lines extra;
  std::set_difference(planned.begin(), planned.end(), there.begin(), there.end(),
                      std::inserter(missing, missing.end()));
  std::set_difference(there.begin(), there.end(), planned.begin(), planned.end(),
                      std::inserter(extra, extra.end()));
  std::string text;
  for (const std::string& line : missing) absl::StrAppend(&text, what, " missing: ", line, "\n");
  for (const std::string& line : extra) absl::StrAppend(&text, what, " extra: ", line, "\n");
  return text;
}

Lines TableLines(const std::string& text, const std::string& foreign) {
  Lines lines;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    if (line.empty() || line.find(foreign) != std::string::npos) continue;
    lines.insert(line);
  }
  return lines;
}

// Marks are given for as long as a port has its address: what they were before is in the kernel.
absl::StatusOr<FoundMarks> MarksInKernel(const Node& node) {
  return node.net->Run([]() -> absl::StatusOr<FoundMarks> {
    auto firewall = NftFirewall::Open();
    if (!firewall.ok()) return firewall.status();
    auto dump = (*firewall)->Dump();
    if (!dump.ok()) return dump.status();
    FoundMarks marks;
    for (const Element& element : *dump) {
      if (element.set == SetName::kMark) marks.ports[ServerOf(element)] = element.mark;
    }
    return marks;
  });
}

// As `fairlead plan` has it with the agent's flags, and with the node's marks. In this process: a
// start of the program takes a while on an emulated machine.
absl::StatusOr<std::unique_ptr<Planner>> Plan(const Node& node, const AgentOptions& options) {
  CLI::App app;
  fairlead::NodeFlags flags;
  AddNodeFlags(app, flags, Required::kNodeAndManifests);
  std::vector<std::string> words = Agent::NodeFlags(node, options);
  std::reverse(words.begin(), words.end());  // As CLI11 wants them.
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  auto marks = MarksInKernel(node);
  if (!marks.ok()) return marks.status();
  auto planned = PlanOffline("plan", flags, /*messages=*/nullptr);
  auto* plan = std::get_if<OfflinePlan>(&planned);
  if (plan == nullptr) return absl::UnavailableError("the manifests cannot be planned");
  auto planner = std::make_unique<Planner>(NodeConfig());
  planner->RestoreMarks(*std::move(marks));
  planner->SetConfig(plan->planner->config(), plan->snapshot);
  return planner;
}

absl::StatusOr<Lines> RoutesInKernel(const Node& node) {
  return node.net->Run([]() -> absl::StatusOr<Lines> {
    auto routes = NetlinkRoutes::Open();
    if (!routes.ok()) return routes.status();
    auto dump = (*routes)->Dump();
    if (!dump.ok()) return dump.status();
    Lines lines;
    for (const VipRoute& route : *dump) {
      lines.insert(absl::StrCat(route.vip.Format(), " src ",
                                route.source.has_value() ? route.source->Format() : "none"));
    }
    return lines;
  });
}

absl::StatusOr<Lines> ElementsInKernel(const Node& node) {
  return node.net->Run([]() -> absl::StatusOr<Lines> {
    auto firewall = NftFirewall::Open();
    if (!firewall.ok()) return firewall.status();
    auto dump = (*firewall)->Dump();
    if (!dump.ok()) return dump.status();
    Lines lines;
    for (const Element& element : *dump) lines.insert(element.Format());
    return lines;
  });
}

// Virtual servers that nobody wants, with real servers that take no new connections.
absl::StatusOr<std::vector<ipvs::VirtualServer>> RetiringIn(const Node& node,
                                                            const DesiredState& desired) {
  return node.net->Run([&]() -> absl::StatusOr<std::vector<ipvs::VirtualServer>> {
    auto table = ipvs::KernelTable::Open();
    if (!table.ok()) return table.status();
    auto servers = (*table)->Dump();
    if (!servers.ok()) return servers.status();
    std::erase_if(*servers, [&](const ipvs::VirtualServer& server) {
      return server.key.is_mark() || desired.FindVirtualServer(server.key) != nullptr ||
             server.real_servers.empty() ||
             std::any_of(server.real_servers.begin(), server.real_servers.end(),
                         [](const ipvs::RealServer& real) { return real.config.weight != 0; });
    });
    for (ipvs::VirtualServer& server : *servers) server.real_servers.clear();
    return servers;
  });
}

}  // namespace

Series ParseMetrics(const std::string& text) {
  Series series;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const size_t blank = line.rfind(' ');
    double value = 0;
    if (absl::StartsWith(line, "#") || blank == absl::string_view::npos ||
        !absl::SimpleAtod(line.substr(blank + 1), &value)) {
      continue;
    }
    series.emplace(line.substr(0, blank), value);
  }
  return series;
}

std::string Program() {
  const char* program = getenv("FAIRLEAD_BIN");
  return program == nullptr ? "build/fairlead" : program;
}

Folder::Folder() {
  char name[] = "/tmp/fairlead-test-XXXXXX";
  path_ = mkdtemp(name);
}

Folder::~Folder() { std::filesystem::remove_all(path_); }

void Folder::Write(const std::string& name, const std::string& text) const {
  const std::string beside = Path(absl::StrCat(".", name, ".new"));
  std::ofstream(beside) << text;
  std::filesystem::rename(beside, Path(name));
}

void Folder::Overwrite(const std::string& name, const std::string& text) const {
  std::ofstream(Path(name)) << text;
}

void Folder::Remove(const std::string& name) const { std::filesystem::remove(Path(name)); }

AgentOptions OptionsFor(const Folder& work, const std::vector<std::string>& manifests,
                        const std::vector<std::string>& flags) {
  return {.program = Program(), .manifests = manifests, .folder = work.path(), .flags = flags};
}

std::string DifferenceFromPlan(const Node& node, const AgentOptions& options,
                               const std::string& foreign, bool draining) {
  const auto planned = Plan(node, options);
  const auto table = Shell(*node.net, "ipvsadm --save -n");
  for (const absl::Status& status : {planned.status(), table.status()}) {
    if (!status.ok()) return status.ToString();
  }
  const DesiredState& desired = (*planned)->desired();
  const Lines wanted = TableLines(FormatPlanSave(desired), foreign);
  Lines there = TableLines(*table, foreign);
  std::vector<ipvs::VirtualServer> retiring;
  if (draining) {
    auto servers = RetiringIn(node, desired);
    if (!servers.ok()) return servers.status().ToString();
    retiring = *std::move(servers);
  }
  for (const ipvs::VirtualServer& server : retiring) {
    there.erase(std::string(absl::StripSuffix(ipvs::FormatSave({&server, 1}), "\n")));
  }
  std::erase_if(there, [&](const std::string& line) {
    return draining && !wanted.contains(line) &&
           (absl::EndsWith(line, " -w 0") || absl::StartsWith(line, "-A -f "));
  });
  const std::string difference = Difference("IPVS", wanted, there);
  if (!difference.empty()) return difference;

  auto routes = RoutesInKernel(node);
  auto elements = ElementsInKernel(node);
  for (const absl::Status& status : {routes.status(), elements.status()}) {
    if (!status.ok()) return status.ToString();
  }
  const std::vector<IpAddress>& sources = (*planned)->config().node_ips;
  Lines planned_routes;
  for (const IpAddress& vip : desired.Vips()) {
    const auto source = std::find_if(sources.begin(), sources.end(), [&](const IpAddress& address) {
      return address.family() == vip.family();
    });
    planned_routes.insert(
        absl::StrCat(vip.Format(), " src ", source == sources.end() ? "none" : source->Format()));
  }
  Lines planned_elements;
  for (const Element& element : desired.Elements()) planned_elements.insert(element.Format());
  std::erase_if(*elements, [&](const std::string& line) {
    return draining && !planned_elements.contains(line) && absl::StartsWith(line, "owned_mark");
  });
  for (const ipvs::VirtualServer& server : retiring) {
    const ipvs::VirtualServerKey& key = server.key;
    for (const Element& element : {OwnedElement(key), OpenElement(key), RejectElement(key)}) {
      elements->erase(element.Format());
    }
    if (desired.WantsVip(key.address)) continue;
    elements->erase(GuardElement(key.address).Format());
    std::erase_if(*routes, [&](const std::string& line) {
      return absl::StartsWith(line, absl::StrCat(key.address.Format(), " src "));
    });
  }
  return absl::StrCat(Difference("route", planned_routes, *routes),
                      Difference("element", planned_elements, *elements));
}

std::string AwaitPlan(const Node& node, const AgentOptions& options, bool draining) {
  std::string difference;
  WaitUntil(Agent::kPatience, [&] {
    difference = DifferenceFromPlan(node, options, "192.0.2.", draining);
    return difference.empty();
  });
  return difference;
}

std::string PodManifest(const Pod& pod, const std::string& app, bool ready) {
  std::string text = absl::StrCat(
      "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: ", pod.name, "\n  labels: {app: ", app,
      "}\nspec:\n  nodeName: n", pod.node,
      "\n  containers: [{name: main, ports: [{name: http, containerPort: 8080}]}]\nstatus:\n"
      "  phase: Running\n  podIP: \"",
      pod.ipv4, "\"\n  podIPs: [{ip: \"", pod.ipv4, "\"}");
  if (!pod.ipv6.empty()) absl::StrAppend(&text, ", {ip: \"", pod.ipv6, "\"}");
  absl::StrAppend(&text, "]\n  conditions: [{type: Ready, status: \"", ready ? "True" : "False",
                  "\"}]\n");
  return text;
}

}  // namespace fairlead::lab
