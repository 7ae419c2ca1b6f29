// The rules' tables against the desired state alone: each cell's packet is led through virtual
// servers and elements of sets as the kernel would do it with what the planner wants there.
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "proxy/cli/node_flags.h"
#include "proxy/plan/element.h"
#include "proxy/plan/planner.h"
#include "test/vectors/vectors.h"
#include "watcher/manifest/manifest_reader.h"
#include "watcher/snapshot.h"

namespace fairlead::vectors {
namespace {

// The objects as the program reads them.
Snapshot ReadSnapshot(const Group& group, ManifestOptions options) {
  std::string folder = std::filesystem::temp_directory_path() / "fairlead-vectors-XXXXXX";
  REQUIRE(mkdtemp(folder.data()) != nullptr);
  for (const auto& [file, text] : group.manifests) {
    std::ofstream(std::filesystem::path(folder) / file) << text;
  }
  options.paths = {folder};
  const Reading reading = ManifestReader(options).Read();
  std::filesystem::remove_all(folder);
  REQUIRE(reading.complete);
  for (const Problem& problem : reading.problems) {
    INFO(problem.Format());
    CHECK(problem.severity == Severity::kWarning);
  }
  Snapshot snapshot;
  for (const auto& [id, object] : reading.picture) snapshot.Upsert(object);
  return snapshot;
}

// A group's desired state, from its flags and objects.
Planner PlanGroup(const Group& group) {
  CLI::App app;
  fairlead::NodeFlags flags;
  AddNodeFlags(app, flags, Required::kNothing);
  std::vector<std::string> words = NodeFlags();
  words.insert(words.end(), group.flags.begin(), group.flags.end());
  std::reverse(words.begin(), words.end());  // As CLI11 wants it.
  app.parse(words);
  const auto settings = ParseNodeSettings(flags);
  if (!settings.ok()) FAIL(settings.status());
  const auto options = ParseManifestOptions(flags);
  if (!options.ok()) FAIL(options.status());
  Snapshot snapshot = ReadSnapshot(group, *options);
  const auto node = snapshot.FindNode(settings->node_name);
  Planner planner(MakeNodeConfig(*settings, node.get(), {}, KnownSchedulers()));
  planner.Replan(snapshot, snapshot.TakeDirtyServices());
  return planner;
}

// What becomes of the first packet of a case.
class Packet {
 public:
  Packet(const Planner& planner, const Case& one)
      : config_(planner.config()),
        desired_(planner.desired()),
        case_(one),
        pod_(!one.source.is_node() && config_.pods.IsPod(one.source.address, one.source.device)) {}

  // In the words of what is expected; who serves it comes behind it.
  std::string Describe() const {
    if (!ReachesNode()) return "none";
    const bool served = Wants(SetName::kServed);
    if (!served && Wants(SetName::kLimited) && !IsAllowed()) return "drop";
    const uint32_t mark = served ? 0 : Mark();
    if (!served && mark == 0 && Wants(SetName::kDrop)) return "drop";
    const auto key =
        mark == 0 ? ipvs::VirtualServerKey::ForAddress(case_.protocol, case_.address, case_.port)
                  : ipvs::VirtualServerKey::ForMark(case_.address.family(), mark);
    const PlannedVirtualServer* server = desired_.FindVirtualServer(key);
    if (server == nullptr) return mark == 0 ? "none" : "a mark without its virtual server";
    const std::string service = absl::StrCat(
        " by ", server->service.Format(), server->port_name.empty() ? "" : ":", server->port_name);
    // IPVS refuses what it has no real server for.
    if (server->real_servers.empty()) return absl::StrCat("reject", service);
    return absl::StrCat(DescribeEndpoints(*server), service);
  }

 private:
  bool Wants(SetName set) const {
    return desired_.WantsElement(
        {.set = set, .address = case_.address, .protocol = case_.protocol, .port = case_.port});
  }

  // A VIP needs its route; a guarded one is closed but for served and open ports.
  bool ReachesNode() const {
    const auto& own = config_.node_port_addresses;
    const bool is_own = std::find(own.begin(), own.end(), case_.address) != own.end();
    if (!desired_.WantsVip(case_.address) && !is_own) return false;
    const bool guarded =
        desired_.WantsElement({.set = SetName::kGuarded, .address = case_.address});
    return !guarded || Wants(SetName::kServed) || Wants(SetName::kOpen);
  }

  bool IsAllowed() const {
    const std::vector<Element> elements = desired_.Elements();
    return std::any_of(elements.begin(), elements.end(), [&](const Element& element) {
      return element.set == SetName::kAllowed && element.address == case_.address &&
             element.protocol == case_.protocol && element.port == case_.port &&
             element.sources.Contains(case_.source.address);
    });
  }

  // Pods and the node are marked.
  uint32_t Mark() const {
    if (!pod_ && !case_.source.is_node()) return 0;
    for (const Element& element : desired_.Elements()) {
      if (element.set == SetName::kMark && element.address == case_.address &&
          element.protocol == case_.protocol && element.port == case_.port) {
        return element.mark;
      }
    }
    return 0;
  }

  bool IsMasqueraded(const PlannedRealServer& real) const {
    const IpAddress& source = case_.source.address;
    const bool hairpin = desired_.WantsElement({.set = SetName::kHairpin, .address = source});
    if (hairpin && source == real.key.address) return true;
    // The node's own packets: they have its address.
    if (case_.source.is_node()) return false;
    if (Wants(SetName::kMasqueradeAlways)) return true;
    return Wants(SetName::kMasqueradeOutsiders) && config_.pods.Detects(source.family()) && !pod_;
  }

  std::string DescribeEndpoints(const PlannedVirtualServer& server) const {
    Expected seen = {.verdict = Verdict::kBalance};
    for (const PlannedRealServer& real : server.real_servers) {
      seen.endpoints[NameOf(real)] = IsMasqueraded(real);
    }
    // With persistence, or by a hash of the client's address.
    seen.one_of = (server.config.flags & ipvs::kFlagPersistent) != 0 ||
                  server.config.scheduler == config_.affinity_scheduler;
    return seen.Format();
  }

  std::string NameOf(const PlannedRealServer& real) const {
    for (const StagePod& pod : StagePods()) {
      const std::string name = absl::StrCat(pod.name, ":", real.key.port);
      if (EndpointAddress(name, case_.address.family()) == real.key.Format()) return name;
    }
    return real.key.Format();
  }

  const NodeConfig& config_;
  const DesiredState& desired_;
  const Case& case_;
  const bool pod_;
};

// What the case expects, with the node's own connections as packets show them.
std::string ExpectedText(const Case& one) {
  Expected expected = one.expected;
  if (one.source.is_node()) {
    for (auto& [endpoint, masquerade] : expected.endpoints) masquerade = false;
  }
  const bool served = expected.verdict == Verdict::kBalance || expected.verdict == Verdict::kReject;
  return absl::StrCat(expected.Format(), served ? " by " : "", served ? one.service : "");
}

TEST_CASE("What the planner wants does what the tables say") {
  const auto groups = LoadGroups(FAIRLEAD_VECTORS);
  if (!groups.ok()) FAIL(groups.status());
  int count = 0;
  for (const Group& group : *groups) {
    const Planner planner = PlanGroup(group);
    for (const Case& one : group.cases) {
      if (one.needs_machine) continue;
      ++count;
      INFO(one.Format());
      CHECK(Packet(planner, one).Describe() == ExpectedText(one));
    }
  }
  std::printf("%d cases planned\n", count);
}

}  // namespace
}  // namespace fairlead::vectors
