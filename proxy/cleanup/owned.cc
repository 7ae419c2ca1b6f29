#include "proxy/cleanup/owned.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proxy/cleanup/virtual_servers.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {
namespace {

using ipvs::VirtualServerKey;

constexpr absl::string_view kRoute = "route";
constexpr absl::string_view kServer = "virtual server";
constexpr absl::string_view kTable = "table";
constexpr absl::string_view kAllServers = "all that are recorded";

std::string TableName() { return absl::StrCat("inet ", kTableName); }

bool IsRecord(const Element& element) {
  return element.set == SetName::kOwned || element.set == SetName::kOwnedMark;
}

VirtualServerKey KeyOfRecord(const Element& element) {
  return element.set == SetName::kOwnedMark
             ? VirtualServerKey::ForMark(element.family(), element.mark)
             : VirtualServerKey::ForAddress(element.protocol, element.address, element.port);
}

// Those of addresses, then those of marks, each sorted.
std::vector<VirtualServerKey> RecordedServers(const std::vector<Element>& elements) {
  std::vector<VirtualServerKey> keys;
  for (const Element& element : elements) {
    if (IsRecord(element)) keys.push_back(KeyOfRecord(element));
  }
  std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) {
    return a.is_mark() != b.is_mark() ? b.is_mark() : a < b;
  });
  return keys;
}

std::vector<VirtualServerKey> OnlyMarks(const std::vector<VirtualServerKey>& keys, bool marks) {
  std::vector<VirtualServerKey> chosen;
  std::copy_if(keys.begin(), keys.end(), std::back_inserter(chosen),
               [marks](const auto& key) { return key.is_mark() == marks; });
  return chosen;
}

std::string WhyKept(const VirtualServerKey& key) {
  if (!key.is_mark()) return "--keep-virtual-servers: for the proxy that takes it over";
  return absl::StrFormat(
      "--keep-virtual-servers: gets no new connections, and no other proxy will remove it; when "
      "those it has have ended: ipvsadm -D -f %d%s",
      key.firewall_mark, key.family == IpFamily::kIpv4 ? "" : " -6");
}

void KeepServers(const std::vector<VirtualServerKey>& keys, CleanupReport& report) {
  for (const VirtualServerKey& key : keys) report.Kept(kServer, key.Format(), WhyKept(key));
}

void RemoveRoutes(Routes& routes, CleanupReport& report) {
  std::map<IpAddress, VipRoute> seen;
  std::map<IpAddress, std::string> why;
  for (int attempt = 0; attempt <= kRemovalAttempts; ++attempt) {
    absl::StatusOr<std::vector<VipRoute>> present = routes.Dump();
    if (!present.ok()) {
      report.Failed(kRoute, "all", present.status().message());
      // What went is not known either.
      return;
    }
    for (const VipRoute& route : *present) seen.emplace(route.vip, route);
    std::set<IpAddress> left;
    std::vector<RouteChange> changes;
    for (const VipRoute& route : *present) {
      left.insert(route.vip);
      changes.push_back({RouteChange::Verb::kDelete, route});
    }
    if (left.empty() || attempt == kRemovalAttempts) {
      for (const auto& [vip, route] : seen) {
        if (!left.contains(vip)) report.Removed(kRoute, vip.Format());
      }
      for (const IpAddress& vip : left) {
        const auto known = why.find(vip);
        report.Failed(kRoute, vip.Format(),
                      known == why.end() ? "comes again: somebody makes it" : known->second);
      }
      return;
    }
    const std::vector<absl::Status> results = routes.Apply(changes);
    for (size_t i = 0; i < changes.size(); ++i) {
      if (!results[i].ok()) why[changes[i].route.vip] = std::string(results[i].message());
    }
  }
}

// Takes all elements out of the sets, so that no packet is led any more to what goes next. Where
// that fails it is for the table to say so, when its turn comes: it has them then.
void Close(Firewall& firewall, std::initializer_list<SetName> sets) {
  for (int attempt = 0; attempt < kRemovalAttempts; ++attempt) {
    const absl::StatusOr<std::vector<Element>> elements = firewall.Dump();
    if (!elements.ok()) return;
    std::vector<ElementChange> changes;
    for (const Element& element : *elements) {
      if (std::find(sets.begin(), sets.end(), element.set) == sets.end()) continue;
      changes.push_back({ElementChange::Verb::kDelete, element});
    }
    // One that has gone meanwhile undoes the transaction.
    if (changes.empty() || firewall.Apply(changes).ok()) return;
  }
}

void RemoveTable(const OwnedKernel& kernel, CleanupReport& report) {
  absl::Status status;
  for (int attempt = 0; attempt < kRemovalAttempts; ++attempt) {
    status = kernel.delete_firewall();
    if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) break;
  }
  if (status.ok()) {
    report.Removed(kTable, TableName());
  } else {
    report.Failed(kTable, TableName(), status.message());
  }
}

}  // namespace

OwnedThings FindOwned(const OwnedKernel& kernel) {
  OwnedThings things;
  const auto unread = [&things](absl::string_view kind, absl::string_view name,
                                const absl::Status& status) {
    things.unread.push_back(
        {{std::string(kind), std::string(name)}, std::string(status.message())});
  };
  if (auto routes = kernel.routes.Dump(); routes.ok()) {
    things.routes = *std::move(routes);
  } else {
    unread(kRoute, "all", routes.status());
  }
  auto elements = kernel.firewall.Dump();
  if (elements.ok()) {
    things.firewall = true;
    things.elements = *std::move(elements);
  } else if (!absl::IsNotFound(elements.status())) {
    unread(kTable, TableName(), elements.status());
  }
  things.virtual_servers = RecordedServers(things.elements);
  if (kernel.table == nullptr) things.virtual_servers.clear();
  if (things.virtual_servers.empty()) return things;
  const auto present = kernel.table->Dump();
  if (!present.ok()) {
    unread(kServer, kAllServers, present.status());
    return things;
  }
  std::set<VirtualServerKey> keys;
  for (const ipvs::VirtualServer& server : *present) keys.insert(server.key);
  std::erase_if(things.virtual_servers,
                [&keys](const VirtualServerKey& key) { return !keys.contains(key); });
  return things;
}

CleanupReport PlanOwnedRemoval(const OwnedThings& things, const OwnedOptions& options) {
  CleanupReport report;
  for (const VipRoute& route : things.routes) report.Removed(kRoute, route.vip.Format());
  if (options.keep_virtual_servers) {
    KeepServers(things.virtual_servers, report);
  } else {
    for (const VirtualServerKey& key : things.virtual_servers) {
      report.Removed(kServer, key.Format());
    }
  }
  if (things.firewall) report.Removed(kTable, TableName());
  report.failed = things.unread;
  return report;
}

CleanupReport RemoveOwned(const OwnedKernel& kernel, const OwnedOptions& options) {
  CleanupReport report;
  RemoveRoutes(kernel.routes, report);
  absl::StatusOr<std::vector<Element>> elements = kernel.firewall.Dump();
  if (absl::IsNotFound(elements.status())) return report;
  if (!elements.ok()) {
    report.Failed(kTable, TableName(), elements.status().message());
    return report;
  }
  if (options.keep_virtual_servers) {
    // The table goes as a whole: until then it serves them.
    KeepServers(FindOwned(kernel).virtual_servers, report);
    RemoveTable(kernel, report);
    return report;
  }
  // By the record, and not by what a dump of the kernel shows: that may miss some.
  bool done = true;
  if (kernel.table != nullptr) {
    const std::vector<VirtualServerKey> recorded = RecordedServers(*elements);
    Close(kernel.firewall, {SetName::kServed, SetName::kOpen});
    done = RemoveVirtualServers(*kernel.table, OnlyMarks(recorded, false), report);
    Close(kernel.firewall, {SetName::kMark, SetName::kDrop});
    done = RemoveVirtualServers(*kernel.table, OnlyMarks(recorded, true), report) && done;
  }
  if (done) {
    RemoveTable(kernel, report);
  } else {
    report.Kept(kTable, TableName(), "records the virtual servers that could not be removed");
  }
  return report;
}

}  // namespace fairlead
