#include "proxy/inspect/difference.h"

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "ipvs/save_format.h"
#include "proxy/reconcile/dependents.h"

namespace fairlead {
namespace {

using ipvs::RealServerConfig;
using ipvs::RealServerKey;
using ipvs::VirtualServerConfig;
using ipvs::VirtualServerKey;

using Lines = std::vector<std::string>;

std::string FormatService(const PlannedVirtualServer* planned) {
  if (planned == nullptr) return "";
  return absl::StrCat(planned->service.Format(), planned->port_name.empty() ? "" : ":",
                      planned->port_name);
}

// Who wants what, beyond the virtual servers themselves. Made when it is first asked, since as a
// rule nothing differs.
class Owners {
 public:
  explicit Owners(const WantedState& wanted) : wanted_(wanted) {}

  const PlannedVirtualServer* OfServer(const VirtualServerKey& key) const {
    const auto it = std::lower_bound(
        wanted_.servers.begin(), wanted_.servers.end(), key,
        [](const PlannedVirtualServer* a, const VirtualServerKey& b) { return a->key < b; });
    return it == wanted_.servers.end() || (*it)->key != key ? nullptr : *it;
  }

  // One of those that have it.
  const PlannedVirtualServer* OfAddress(const IpAddress& address) {
    Index();
    const auto it = by_address_.find(address);
    return it == by_address_.end() ? nullptr : it->second;
  }

  const PlannedVirtualServer* OfElement(const Element& element) {
    switch (KeyOf(element.set)) {
      case SetKey::kAddress:
      case SetKey::kAddressTwice:
        return OfAddress(element.address);
      case SetKey::kMark:
        return OfServer(MarkServerOf(element));
      case SetKey::kPort:
      case SetKey::kPortAndSources:
        break;
    }
    return OfServer(ServerOf(element));
  }

 private:
  void Index() {
    if (indexed_) return;
    indexed_ = true;
    for (const PlannedVirtualServer* server : wanted_.servers) {
      if (!server->key.is_mark()) by_address_.try_emplace(server->key.address, server);
      for (const PlannedRealServer& real : server->real_servers) {
        by_address_.try_emplace(real.key.address, server);
      }
    }
  }

  const WantedState& wanted_;
  bool indexed_ = false;
  // VIPs and endpoints.
  absl::flat_hash_map<IpAddress, const PlannedVirtualServer*> by_address_;
};

// What is there for the connections it still has.
class Leaving {
 public:
  explicit Leaving(const WantedState& wanted) : wanted_(wanted) {
    servers_.insert(wanted.retiring.begin(), wanted.retiring.end());
    for (const VirtualServerKey& key : wanted.retiring) {
      if (!key.is_mark()) vips_.insert(key.address);
    }
    for (const DrainingServer& drain : wanted.draining) {
      endpoints_.insert(drain.real_server.address);
      // Those of marks lead nobody to them any more, and are there while they drain.
      if (drain.virtual_server.is_mark()) servers_.insert(drain.virtual_server);
    }
  }

  // Of a virtual server that nobody wants.
  bool Retires(const VirtualServerKey& key) const { return servers_.contains(key); }
  // Whether a virtual server at the address does.
  bool Retires(const IpAddress& vip) const { return vips_.contains(vip); }

  bool Drains(const VirtualServerKey& key, const RealServerKey& real) const {
    const auto it =
        std::lower_bound(wanted_.draining.begin(), wanted_.draining.end(), std::tie(key, real),
                         [](const DrainingServer& a, const auto& b) {
                           return std::tie(a.virtual_server, a.real_server) < b;
                         });
    return it != wanted_.draining.end() && it->virtual_server == key && it->real_server == real;
  }

  // Whether what leaves still needs it.
  bool Needs(const Element& element) const {
    switch (KeyOf(element.set)) {
      case SetKey::kAddress:
        return Retires(element.address);
      case SetKey::kAddressTwice:
        return endpoints_.contains(element.address);
      case SetKey::kMark:
        return Retires(MarkServerOf(element));
      case SetKey::kPort:
        if (element.set == SetName::kMark && Retires(MarkServerOf(element))) return true;
        break;
      case SetKey::kPortAndSources:
        break;
    }
    return Retires(ServerOf(element));
  }

 private:
  const WantedState& wanted_;
  absl::flat_hash_set<VirtualServerKey> servers_;
  absl::flat_hash_set<IpAddress> vips_;
  absl::flat_hash_set<IpAddress> endpoints_;
};

// --- Virtual servers -----------------------------------------------------------------------------

std::string SaveLine(const ipvs::VirtualServer& server, size_t number) {
  const Lines lines = absl::StrSplit(ipvs::FormatSave({&server, 1}), '\n');
  return lines[number];
}

std::string ServerLine(const VirtualServerKey& key, const VirtualServerConfig& config) {
  ipvs::VirtualServer server;
  server.key = key;
  server.config = config;
  return SaveLine(server, 0);
}

// With the limits, which ipvsadm takes but does not save.
std::string RealLine(const VirtualServerKey& key, const RealServerKey& real,
                     const RealServerConfig& config) {
  ipvs::VirtualServer server;
  server.key = key;
  server.real_servers.emplace_back();
  server.real_servers[0].key = real;
  server.real_servers[0].config = config;
  std::string line = SaveLine(server, 1);
  if (config.upper_threshold != 0) absl::StrAppend(&line, " -x ", config.upper_threshold);
  if (config.lower_threshold != 0) absl::StrAppend(&line, " -y ", config.lower_threshold);
  return line;
}

// Values that differ although ipvsadm writes them alike.
std::string Unsaved(const VirtualServerConfig& config) {
  return absl::StrCat("  # flags ", config.flags, ", persistence of prefixes of ",
                      config.persistence_prefix_length, " bits by engine \"",
                      config.persistence_engine, "\"");
}

std::string Unsaved(const RealServerConfig& config) {
  return absl::StrCat("  # ", ipvs::FormatForwardingMethod(config.forwarding));
}

class Comparison {
 public:
  Comparison(const WantedState& wanted, const KernelState& kernel)
      : wanted_(wanted), kernel_(kernel), owners_(wanted), leaving_(wanted) {}

  std::vector<Difference> Run() {
    CompareServers();
    CompareRuleset();
    CompareElements();
    CompareRoutes();
    CompareSysctls();
    return std::move(differences_);
  }

 private:
  void CompareServers() {
    auto found = kernel_.servers.begin();
    for (const PlannedVirtualServer* want : wanted_.servers) {
      for (; found != kernel_.servers.end() && found->key < want->key; ++found) Unwanted(*found);
      if (found != kernel_.servers.end() && found->key == want->key) {
        CompareServer(*want, *found++);
      } else {
        Missing(*want);
      }
    }
    for (; found != kernel_.servers.end(); ++found) Unwanted(*found);
  }

  void Missing(const PlannedVirtualServer& want) {
    Lines lines = {ServerLine(want.key, want.config)};
    for (const PlannedRealServer& real : want.real_servers) {
      lines.push_back(RealLine(want.key, real.key, real.config));
    }
    AddServer(want.key, &want, std::move(lines), {});
  }

  void Unwanted(const ipvs::VirtualServer& found) {
    const VirtualServerKey& key = found.key;
    if (leaving_.Retires(key)) {
      CompareRealServers(key, nullptr, found);
      return;
    }
    if (!std::binary_search(wanted_.owned.begin(), wanted_.owned.end(), key)) return;
    Lines lines = {ServerLine(key, found.config)};
    for (const ipvs::RealServer& real : found.real_servers) {
      lines.push_back(RealLine(key, real.key, real.config));
    }
    AddServer(key, nullptr, {}, std::move(lines));
  }

  void CompareServer(const PlannedVirtualServer& want, const ipvs::VirtualServer& found) {
    if (want.config != found.config) {
      std::string wanted_line = ServerLine(want.key, want.config);
      std::string found_line = ServerLine(want.key, found.config);
      if (wanted_line == found_line) {
        absl::StrAppend(&wanted_line, Unsaved(want.config));
        absl::StrAppend(&found_line, Unsaved(found.config));
      }
      AddServer(want.key, &want, {std::move(wanted_line)}, {std::move(found_line)});
    }
    CompareRealServers(want.key, &want, found);
  }

  // `want` null: it retires, and none is wanted.
  void CompareRealServers(const VirtualServerKey& key, const PlannedVirtualServer* want,
                          const ipvs::VirtualServer& server) {
    absl::Span<const PlannedRealServer> wanted;
    if (want != nullptr) wanted = want->real_servers;
    const bool same_config = want == nullptr || want->config == server.config;
    const auto add = [&](const RealServerKey& real, Lines wanted_lines, Lines found_lines) {
      differences_.push_back({.kind = DriftKind::kRealServer,
                              .object = absl::StrCat(real.Format(), " of ", key.Format()),
                              .service = FormatService(want),
                              .group = key.Format(),
                              .context = same_config ? ServerLine(key, server.config) : "",
                              .wanted = std::move(wanted_lines),
                              .found = std::move(found_lines)});
    };
    const auto unwanted = [&](const ipvs::RealServer& found) {
      const bool drains = leaving_.Drains(key, found.key);
      if (drains && found.config.weight == 0) return;
      Lines wanted_lines;
      if (drains) {
        RealServerConfig quiet = found.config;
        quiet.weight = 0;
        wanted_lines.push_back(RealLine(key, found.key, quiet));
      }
      add(found.key, std::move(wanted_lines), {RealLine(key, found.key, found.config)});
    };
    auto found = server.real_servers.begin();
    const auto end = server.real_servers.end();
    for (const PlannedRealServer& real : wanted) {
      for (; found != end && found->key < real.key; ++found) unwanted(*found);
      if (found == end || found->key != real.key) {
        add(real.key, {RealLine(key, real.key, real.config)}, {});
        continue;
      }
      if (found->config != real.config) {
        std::string wanted_line = RealLine(key, real.key, real.config);
        std::string found_line = RealLine(key, real.key, found->config);
        if (wanted_line == found_line) {
          absl::StrAppend(&wanted_line, Unsaved(real.config));
          absl::StrAppend(&found_line, Unsaved(found->config));
        }
        add(real.key, {std::move(wanted_line)}, {std::move(found_line)});
      }
      ++found;
    }
    for (; found != end; ++found) unwanted(*found);
  }

  void AddServer(const VirtualServerKey& key, const PlannedVirtualServer* planned, Lines wanted,
                 Lines found) {
    differences_.push_back({.kind = DriftKind::kVirtualServer,
                            .object = key.Format(),
                            .service = FormatService(planned),
                            .group = key.Format(),
                            .context = "",
                            .wanted = std::move(wanted),
                            .found = std::move(found)});
  }

  // --- The firewall ------------------------------------------------------------------------------

  void CompareRuleset() {
    const absl::StatusOr<RulesetShape> shape = ShapeOf(wanted_.ruleset);
    if (!shape.ok()) return;  // None is wanted yet.
    Difference difference{.kind = DriftKind::kRuleset,
                          .object = absl::StrCat("table inet ", kTableName),
                          .service = "",
                          .group = absl::StrCat("table inet ", kTableName),
                          .context = "",
                          .wanted = {},
                          .found = {}};
    if (!kernel_.ruleset.has_value()) {
      difference.wanted = {difference.object};
      differences_.push_back(std::move(difference));
      return;
    }
    const auto lines_of = [](const RulesetShape& shape, const RulesetShape& other) {
      Lines lines;
      for (const auto& [chain, rules] : shape) {
        const auto it = other.find(chain);
        if (it != other.end() && it->second == rules) continue;
        lines.push_back(absl::StrCat("chain inet ", kTableName, " ", chain, "  # ", rules,
                                     rules == 1 ? " rule" : " rules"));
      }
      return lines;
    };
    difference.wanted = lines_of(*shape, *kernel_.ruleset);
    difference.found = lines_of(*kernel_.ruleset, *shape);
    if (difference.wanted.empty() && difference.found.empty()) return;
    difference.context = difference.object;
    differences_.push_back(std::move(difference));
  }

  void CompareElements() {
    auto found = kernel_.elements.begin();
    for (const Element& want : wanted_.elements) {
      for (; found != kernel_.elements.end() && *found < want; ++found) UnwantedElement(*found);
      if (found != kernel_.elements.end() && *found == want) {
        ++found;
      } else {
        AddElement(want, /*wanted=*/true);
      }
    }
    for (; found != kernel_.elements.end(); ++found) UnwantedElement(*found);
  }

  void UnwantedElement(const Element& element) {
    if (!leaving_.Needs(element)) AddElement(element, /*wanted=*/false);
  }

  void AddElement(const Element& element, bool wanted) {
    Lines lines = {absl::StrCat("add element inet ", kTableName, " ", element.FormatKernelSet(),
                                " { ", element.FormatValue(), " }")};
    differences_.push_back({.kind = DriftKind::kElement,
                            .object = element.Format(),
                            .service = FormatService(owners_.OfElement(element)),
                            .group = absl::StrCat("set ", element.FormatKernelSet()),
                            .context = "",
                            .wanted = wanted ? lines : Lines(),
                            .found = wanted ? Lines() : lines});
  }

  // --- Routes and sysctls ------------------------------------------------------------------------

  static Lines RouteLines(const VipRoute& route) {
    return {absl::StrCat(
        "local ", route.vip.Format(), " dev lo table local proto ", kRouteProtocol,
        route.source.has_value() ? absl::StrCat(" src ", route.source->Format()) : "")};
  }

  void CompareRoutes() {
    auto found = kernel_.routes.begin();
    const auto unwanted = [&](const VipRoute& route) {
      if (!leaving_.Retires(route.vip)) AddRoute(route.vip, {}, RouteLines(route));
    };
    for (const VipRoute& want : wanted_.routes) {
      for (; found != kernel_.routes.end() && found->vip < want.vip; ++found) unwanted(*found);
      if (found == kernel_.routes.end() || found->vip != want.vip) {
        AddRoute(want.vip, RouteLines(want), {});
        continue;
      }
      if (*found != want) AddRoute(want.vip, RouteLines(want), RouteLines(*found));
      ++found;
    }
    for (; found != kernel_.routes.end(); ++found) unwanted(*found);
  }

  void AddRoute(const IpAddress& vip, Lines wanted, Lines found) {
    const std::string object = absl::StrCat("route ", vip.Format());
    differences_.push_back({.kind = DriftKind::kRoute,
                            .object = object,
                            .service = FormatService(owners_.OfAddress(vip)),
                            .group = object,
                            .context = "",
                            .wanted = std::move(wanted),
                            .found = std::move(found)});
  }

  void CompareSysctls() {
    for (const SysctlState& sysctl : kernel_.sysctls) {
      if (sysctl.value.has_value() && IsMet(sysctl.wanted, *sysctl.value)) continue;
      const auto line = [&](const std::string& value) {
        return absl::StrCat(sysctl.wanted.name, " = ", value);
      };
      differences_.push_back(
          {.kind = DriftKind::kSysctl,
           .object = sysctl.wanted.name,
           .service = "",
           .group = sysctl.wanted.name,
           .context = "",
           .wanted = {line(sysctl.wanted.value)},
           .found = sysctl.value.has_value() ? Lines{line(*sysctl.value)} : Lines()});
    }
  }

  static bool IsMet(const Sysctl& wanted, const std::string& value) {
    if (value == wanted.value) return true;
    int64_t number = 0;
    int64_t least = 0;
    return wanted.minimum && absl::SimpleAtoi(value, &number) &&
           absl::SimpleAtoi(wanted.value, &least) && number > least;
  }

  const WantedState& wanted_;
  const KernelState& kernel_;
  Owners owners_;
  const Leaving leaving_;
  std::vector<Difference> differences_;
};

}  // namespace

std::vector<VirtualServerKey> RecordedServers(const KernelState& kernel) {
  std::vector<VirtualServerKey> keys;
  for (const Element& element : kernel.elements) {
    if (element.set == SetName::kOwned) keys.push_back(ServerOf(element));
    if (element.set == SetName::kOwnedMark) keys.push_back(MarkServerOf(element));
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

std::vector<Difference> CompareWithKernel(const WantedState& wanted, const KernelState& kernel) {
  return Comparison(wanted, kernel).Run();
}

std::map<DriftKind, size_t> CountByKind(const std::vector<Difference>& differences) {
  std::map<DriftKind, size_t> counts;
  for (const Difference& difference : differences) ++counts[difference.kind];
  return counts;
}

}  // namespace fairlead
