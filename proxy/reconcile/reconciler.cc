#include "proxy/reconcile/reconciler.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace fairlead {

using ipvs::Operation;
using ipvs::RealServerKey;
using ipvs::Verb;
using ipvs::VirtualServerKey;

namespace {

Element OwnedElement(const VirtualServerKey& key) {
  return {SetName::kOwned, key.address, key.protocol, key.port};
}

Element OpenElement(const VirtualServerKey& key) {
  return {SetName::kOpen, key.address, key.protocol, key.port};
}

Element GuardElement(const IpAddress& vip) { return {.set = SetName::kGuarded, .address = vip}; }

VirtualServerKey KeyOf(const Element& element) {
  return VirtualServerKey::ForAddress(element.protocol, element.address, element.port);
}

bool IsDelete(Verb verb) {
  return verb == Verb::kDeleteVirtualServer || verb == Verb::kDeleteRealServer;
}

// What depends on a virtual server is looked at with it, so that a retry of one completes all.
void AddDependents(const DesiredState& desired, Touched& work) {
  for (const VirtualServerKey& key : work.virtual_servers) {
    work.elements.insert(OwnedElement(key));
    work.elements.insert(OpenElement(key));
    const PlannedVirtualServer* want = desired.FindVirtualServer(key);
    if (want == nullptr) continue;
    for (const Element& element : ElementsOf(*want)) work.elements.insert(element);
    if (want->is_vip()) work.vips.insert(key.address);
  }
  for (const IpAddress& vip : work.vips) work.elements.insert(GuardElement(vip));
}

// Errors of the whole firewall rather than of one element: halving the transaction finds nothing.
bool IsGeneral(const absl::Status& status) {
  return absl::IsPermissionDenied(status) || absl::IsFailedPrecondition(status) ||
         absl::IsUnavailable(status);
}

}  // namespace

Reconciler::Reconciler(ipvs::Table& table, Firewall& firewall, Routes& routes,
                       ReconcilerOptions options)
    : table_(table), firewall_(firewall), routes_(routes), options_(std::move(options)) {}

absl::Status Reconciler::Adopt() {
  if (absl::Status read = ReadFirewall(); !read.ok()) return read;
  absl::StatusOr<std::vector<ipvs::VirtualServer>> servers = table_.Dump();
  if (!servers.ok()) return servers.status();
  absl::StatusOr<std::vector<VipRoute>> routes = routes_.Dump();
  if (!routes.ok()) return routes.status();

  actual_servers_.clear();
  foreign_servers_.clear();
  for (const ipvs::VirtualServer& server : *servers) {
    actual_servers_[server.key] = ToActual(server);
    (Owns(server.key) ? found_.virtual_servers : foreign_servers_).insert(server.key);
  }
  actual_routes_.clear();
  for (const VipRoute& route : *routes) {
    actual_routes_[route.vip] = route;
    found_.vips.insert(route.vip);
  }
  found_real_servers_.clear();
  for (const VirtualServerKey& key : found_.virtual_servers) {
    for (const auto& [real, config] : actual_servers_[key].real_servers) {
      found_real_servers_[key].insert(real);
    }
  }
  return absl::OkStatus();
}

void Reconciler::HoldRemovals(bool hold) {
  if (hold_removals_ && !hold) {
    found_.Merge(std::exchange(held_, {}));
    for (const auto& [key, real_servers] : found_real_servers_) found_.virtual_servers.insert(key);
  }
  if (!hold) found_real_servers_.clear();
  hold_removals_ = hold;
}

Touched Reconciler::TakeFound(const DesiredState& desired) {
  Touched found = std::exchange(found_, {});
  if (!hold_removals_) return found;
  Touched wanted;
  for (const VirtualServerKey& key : found.virtual_servers) {
    const bool want = desired.FindVirtualServer(key) != nullptr;
    (want ? wanted : held_).virtual_servers.insert(key);
  }
  for (const Element& element : found.elements) {
    (desired.WantsElement(element) ? wanted : held_).elements.insert(element);
  }
  for (const IpAddress& vip : found.vips) {
    (desired.WantsVip(vip) ? wanted : held_).vips.insert(vip);
  }
  return wanted;
}

void Reconciler::KeepHeld(const PlannedVirtualServer& want, VirtualServerDiff& diff) {
  auto it = found_real_servers_.find(want.key);
  if (!hold_removals_ || it == found_real_servers_.end()) return;
  std::set<RealServerKey>& held = it->second;
  for (const PlannedRealServer& real : want.real_servers) held.erase(real.key);
  std::erase_if(diff.leaving, [&](const RealServerKey& real) { return held.contains(real); });
  std::erase_if(diff.operations, [&](const Operation& operation) {
    return operation.verb == Verb::kEditRealServer && held.contains(operation.real_server);
  });
}

absl::Status Reconciler::ReadFirewall() {
  absl::StatusOr<bool> loaded = firewall_.EnsureRuleset(options_.ruleset);
  if (!loaded.ok()) return loaded.status();
  absl::StatusOr<std::vector<Element>> elements = firewall_.Dump();
  if (!elements.ok()) return elements.status();
  actual_elements_.clear();
  actual_elements_.insert(elements->begin(), elements->end());
  found_.elements.insert(elements->begin(), elements->end());
  firewall_stale_ = false;
  return absl::OkStatus();
}

bool Reconciler::InDoubt(const Element& element) const {
  return firewall_stale_ && element_retries_.Contains(element);
}

void Reconciler::SetRouteSources(std::vector<IpAddress> sources) {
  if (sources == route_sources_) return;
  route_sources_ = std::move(sources);
  for (const auto& [vip, route] : actual_routes_) found_.vips.insert(vip);
}

bool Reconciler::Owns(const VirtualServerKey& key) const {
  return !key.is_mark() && actual_elements_.contains(OwnedElement(key)) &&
         actual_servers_.contains(key);
}

std::vector<VirtualServerKey> Reconciler::OwnedVirtualServers() const {
  std::vector<VirtualServerKey> owned;
  for (const auto& [key, server] : actual_servers_) {
    if (Owns(key)) owned.push_back(key);
  }
  std::sort(owned.begin(), owned.end());
  return owned;
}

void Reconciler::Reconcile(const DesiredState& desired, const Touched& touched, absl::Time now) {
  Carry(desired, TakeWork(desired, touched, now), now);
}

void Reconciler::ReconcileUrgent(const DesiredState& desired, const Touched& urgent,
                                 absl::Time now) {
  Touched work = urgent;
  AddDependents(desired, work);
  Carry(desired, work, now);
}

void Reconciler::Carry(const DesiredState& desired, const Touched& work, absl::Time now) {
  ReconcileRoutes(desired, work.vips, RouteChange::Verb::kDelete, now);
  ReconcileElements(desired, work.elements, Moment::kBeforeServers, now);
  ReconcileServers(desired, work.virtual_servers, now);
  FinishDrains(now);
  ReconcileElements(desired, work.elements, Moment::kAfterServers, now);
  ReconcileRoutes(desired, work.vips, RouteChange::Verb::kPut, now);
}

Touched Reconciler::TakeWork(const DesiredState& desired, const Touched& touched, absl::Time now) {
  if (firewall_stale_) {
    if (absl::Status read = ReadFirewall(); read.ok()) {
      // Somebody may have taken the table away: everything wanted is compared again.
      for (const Element& element : desired.Elements()) found_.elements.insert(element);
    }
  }
  Touched work = TakeFound(desired);
  work.Merge(touched);
  work.virtual_servers.merge(server_retries_.TakeDue(now));
  work.elements.merge(element_retries_.TakeDue(now));
  work.vips.merge(route_retries_.TakeDue(now));
  AddDependents(desired, work);
  return work;
}

// --- Firewall ------------------------------------------------------------------------------------

void Reconciler::ReconcileElements(const DesiredState& desired, const std::set<Element>& elements,
                                   Moment moment, absl::Time now) {
  std::vector<ElementChange> changes;
  for (const Element& element : elements) {
    const bool want = desired.WantsElement(element);
    const bool have = actual_elements_.contains(element);
    if (want == have && !InDoubt(element)) {
      element_retries_.Succeeded(element);
      continue;
    }
    const bool open = element.set == SetName::kOpen;
    const Moment due = want == open ? Moment::kAfterServers : Moment::kBeforeServers;
    // An open port comes after its virtual server, and goes before it; the rest the other way.
    if (due != moment) continue;
    const VirtualServerKey key = KeyOf(element);
    const bool in_kernel = actual_servers_.contains(key);
    const bool unread = unread_servers_.contains(key);
    if (want && open && (!in_kernel || unread)) continue;
    if (!want && element.set == SetName::kOwned && (in_kernel || unread)) continue;
    if (!want && element.set == SetName::kGuarded &&
        (actual_routes_.contains(element.address) || InDoubt(element.address))) {
      continue;
    }
    changes.push_back({want ? ElementChange::Verb::kAdd : ElementChange::Verb::kDelete, element});
  }
  if (!changes.empty()) ApplyElements(changes, now);
}

void Reconciler::ApplyElements(absl::Span<const ElementChange> changes, absl::Time now) {
  counters_.elements += changes.size();
  absl::Status status = firewall_.Apply(changes);
  const bool gone = absl::IsNotFound(status) && changes.size() == 1 &&
                    changes[0].verb == ElementChange::Verb::kDelete;
  if (gone) firewall_stale_ = true;  // Somebody else has been at the sets.
  if (status.ok() || gone) {
    for (const ElementChange& change : changes) {
      if (change.verb == ElementChange::Verb::kAdd) {
        actual_elements_.insert(change.element);
      } else {
        actual_elements_.erase(change.element);
      }
      element_retries_.Succeeded(change.element);
    }
    return;
  }
  firewall_stale_ = true;
  if (changes.size() == 1 || IsGeneral(status)) {
    for (const ElementChange& change : changes) {
      element_retries_.Failed(change.element, std::string(status.message()), now);
    }
    return;
  }
  // One bad element undoes the whole transaction: the halves find it.
  ApplyElements(changes.first(changes.size() / 2), now);
  ApplyElements(changes.subspan(changes.size() / 2), now);
}

// --- Virtual servers -----------------------------------------------------------------------------

void Reconciler::ReconcileServers(const DesiredState& desired,
                                  const std::set<VirtualServerKey>& keys, absl::Time now) {
  std::map<VirtualServerKey, absl::Status> failed = RereadUnread(keys);
  std::set<VirtualServerKey> known = keys;
  for (const auto& [key, status] : failed) known.erase(key);
  // Where an operation fails our account was wrong, or the kernel refuses: read back and try once
  // more at once, then with back-off.
  std::set<VirtualServerKey> again;
  for (const auto& [key, status] : ApplyServers(desired, known, now)) {
    if (Reread(key).ok()) {
      again.insert(key);
    } else {
      failed.emplace(key, status);
    }
  }
  for (const auto& [key, status] : ApplyServers(desired, again, now)) {
    failed.emplace(key, status);
    Reread(key).IgnoreError();  // Then it stays unread.
  }
  for (const VirtualServerKey& key : keys) {
    auto it = failed.find(key);
    if (it == failed.end()) {
      server_retries_.Succeeded(key);
    } else {
      server_retries_.Failed(key, std::string(it->second.message()), now);
    }
  }
}

std::map<VirtualServerKey, absl::Status> Reconciler::RereadUnread(
    const std::set<VirtualServerKey>& keys) {
  std::map<VirtualServerKey, absl::Status> failed;
  // Reread changes the set.
  for (const VirtualServerKey& key : std::set<VirtualServerKey>(unread_servers_)) {
    if (!keys.contains(key)) continue;
    if (absl::Status read = Reread(key); !read.ok()) failed.emplace(key, read);
  }
  return failed;
}

std::map<VirtualServerKey, absl::Status> Reconciler::ApplyServers(
    const DesiredState& desired, const std::set<VirtualServerKey>& keys, absl::Time now) {
  std::map<VirtualServerKey, absl::Status> failed;
  std::vector<Operation> operations;
  for (const VirtualServerKey& key : keys) {
    const PlannedVirtualServer* want = desired.FindVirtualServer(key);
    auto have = actual_servers_.find(key);
    const ActualVirtualServer* present = have == actual_servers_.end() ? nullptr : &have->second;
    const bool recorded = actual_elements_.contains(OwnedElement(key));
    const Element open = OpenElement(key);
    if (want == nullptr && !recorded) continue;  // Somebody else's.
    if (want != nullptr && (!recorded || InDoubt(OwnedElement(key)))) {
      failed[key] = absl::UnavailableError("its record of ownership could not be written");
      continue;
    }
    if (want == nullptr && present != nullptr &&
        (actual_elements_.contains(open) || InDoubt(open))) {
      failed[key] = absl::UnavailableError("its port could not be closed");
      continue;
    }
    if (foreign_servers_.erase(key) > 0 && want != nullptr) taken_over_.insert(key);
    VirtualServerDiff diff = DiffVirtualServer(key, want, present);
    if (want != nullptr) KeepHeld(*want, diff);
    operations.insert(operations.end(), diff.operations.begin(), diff.operations.end());
    NoteLeaving(key, diff.leaving, now);
  }
  const std::vector<absl::Status> results = ApplyOperations(operations);
  for (size_t i = 0; i < operations.size(); ++i) {
    if (results[i].ok()) continue;
    failed.emplace(operations[i].virtual_server, results[i]);
    // It came after Adopt, and we did not make it.
    if (operations[i].verb == Verb::kAddVirtualServer && absl::IsAlreadyExists(results[i])) {
      foreign_servers_.insert(operations[i].virtual_server);
    }
  }
  return failed;
}

std::vector<absl::Status> Reconciler::ApplyOperations(absl::Span<const Operation> operations) {
  if (operations.empty()) return {};
  counters_.operations += operations.size();
  std::vector<absl::Status> results = table_.Apply(operations);
  for (size_t i = 0; i < operations.size(); ++i) {
    if (IsDelete(operations[i].verb) && absl::IsNotFound(results[i])) results[i] = absl::OkStatus();
    if (results[i].ok()) Remember(operations[i]);
  }
  return results;
}

void Reconciler::Remember(const Operation& operation) {
  ActualVirtualServer* server = nullptr;
  if (operation.verb != Verb::kDeleteVirtualServer) {
    server = &actual_servers_[operation.virtual_server];
  }
  switch (operation.verb) {
    case Verb::kAddVirtualServer:
    case Verb::kEditVirtualServer:
      server->config = operation.virtual_config;
      return;
    case Verb::kDeleteVirtualServer:
      actual_servers_.erase(operation.virtual_server);
      drains_.erase(operation.virtual_server);
      return;
    case Verb::kAddRealServer:
    case Verb::kEditRealServer:
      server->real_servers[operation.real_server] = operation.real_config;
      return;
    case Verb::kDeleteRealServer:
      server->real_servers.erase(operation.real_server);
      return;
  }
}

absl::Status Reconciler::Reread(const VirtualServerKey& key) {
  absl::StatusOr<ipvs::VirtualServer> server = table_.Get(key);
  if (!server.ok() && !absl::IsNotFound(server.status())) {
    unread_servers_.insert(key);
    return server.status();
  }
  unread_servers_.erase(key);
  if (server.ok()) {
    actual_servers_[key] = ToActual(*server);
  } else {
    actual_servers_.erase(key);
  }
  return absl::OkStatus();
}

// --- Draining ------------------------------------------------------------------------------------

void Reconciler::NoteLeaving(const VirtualServerKey& key, const std::vector<RealServerKey>& leaving,
                             absl::Time now) {
  if (leaving.empty()) {
    drains_.erase(key);
    return;
  }
  const auto before = std::exchange(drains_[key], {});
  const absl::Duration patience =
      key.protocol == ipvs::Protocol::kUdp ? absl::ZeroDuration() : options_.drain_timeout;
  for (const RealServerKey& real : leaving) {
    auto it = before.find(real);
    drains_[key][real] = it == before.end() ? now + patience : it->second;
  }
  next_drain_poll_ = now;
}

void Reconciler::FinishDrains(absl::Time now) {
  if (drains_.empty()) next_drain_poll_ = absl::InfiniteFuture();
  if (now < next_drain_poll_) return;
  static const std::vector<ipvs::RealServer> kNone;
  std::vector<Operation> operations;
  for (auto& [key, servers] : drains_) {
    absl::StatusOr<ipvs::VirtualServer> seen = table_.Get(key);
    if (!seen.ok() && !absl::IsNotFound(seen.status())) continue;  // The next poll tries again.
    std::map<RealServerKey, absl::Time> present;
    for (const ipvs::RealServer& real : seen.ok() ? seen->real_servers : kNone) {
      auto it = servers.find(real.key);
      if (it == servers.end()) continue;
      present.insert(*it);
      if (real.config.weight == 0 &&
          (it->second <= now || real.active_connections + real.inactive_connections == 0)) {
        operations.push_back(Operation::DeleteRealServer(key, real.key));
      }
    }
    servers = std::move(present);
  }
  const std::vector<absl::Status> results = ApplyOperations(operations);
  for (size_t i = 0; i < operations.size(); ++i) {
    if (!results[i].ok()) continue;  // Stays a drain, and is tried again.
    auto it = drains_.find(operations[i].virtual_server);
    it->second.erase(operations[i].real_server);
  }
  std::erase_if(drains_, [](const auto& entry) { return entry.second.empty(); });
  next_drain_poll_ = drains_.empty() ? absl::InfiniteFuture() : now + kDrainPoll;
}

std::vector<DrainingServer> Reconciler::Draining() const {
  std::vector<DrainingServer> draining;
  for (const auto& [key, servers] : drains_) {
    for (const auto& [real, until] : servers) draining.push_back({key, real, until});
  }
  return draining;
}

// --- Routes --------------------------------------------------------------------------------------

void Reconciler::ReconcileRoutes(const DesiredState& desired, const std::set<IpAddress>& vips,
                                 RouteChange::Verb verb, absl::Time now) {
  std::vector<RouteChange> changes;
  for (const IpAddress& vip : vips) {
    auto have = actual_routes_.find(vip);
    if (!desired.WantsVip(vip)) {
      if (verb != RouteChange::Verb::kDelete) continue;
      if (have != actual_routes_.end()) {
        changes.push_back({RouteChange::Verb::kDelete, have->second});
      } else if (InDoubt(vip)) {
        changes.push_back({RouteChange::Verb::kDelete, {.vip = vip, .source = std::nullopt}});
      }
      continue;
    }
    if (verb != RouteChange::Verb::kPut) continue;
    VipRoute want{.vip = vip, .source = std::nullopt};
    for (const IpAddress& source : route_sources_) {
      if (source.family() == vip.family()) want.source = source;
    }
    if (have != actual_routes_.end() && have->second == want && !InDoubt(vip)) continue;
    if (!actual_elements_.contains(GuardElement(vip)) || InDoubt(GuardElement(vip))) {
      route_retries_.Failed(vip, "its guard is not in place", now);
    } else {
      changes.push_back({RouteChange::Verb::kPut, want});
    }
  }
  if (changes.empty()) return;
  counters_.routes += changes.size();
  const std::vector<absl::Status> results = routes_.Apply(changes);
  for (size_t i = 0; i < changes.size(); ++i) {
    const VipRoute& route = changes[i].route;
    if (!results[i].ok()) {
      route_retries_.Failed(route.vip, std::string(results[i].message()), now);
      continue;
    }
    route_retries_.Succeeded(route.vip);
    if (verb == RouteChange::Verb::kDelete) {
      actual_routes_.erase(route.vip);
    } else {
      actual_routes_[route.vip] = route;
    }
  }
}

// --- Reports -------------------------------------------------------------------------------------

absl::Time Reconciler::NextWake() const {
  return std::min({server_retries_.NextDue(), element_retries_.NextDue(), route_retries_.NextDue(),
                   next_drain_poll_});
}

std::vector<ReconcileFailure> Reconciler::Failures() const {
  std::vector<ReconcileFailure> failures;
  for (auto& [key, why] : server_retries_.Reasons()) failures.push_back({key.Format(), why, key});
  for (auto& [element, why] : element_retries_.Reasons()) {
    ReconcileFailure failure{absl::StrCat("element ", element.Format()), why, std::nullopt};
    if (element.port != 0) failure.virtual_server = KeyOf(element);
    failures.push_back(std::move(failure));
  }
  for (auto& [vip, why] : route_retries_.Reasons()) {
    failures.push_back({absl::StrCat("route ", vip.Format()), why, std::nullopt});
  }
  return failures;
}

}  // namespace fairlead
