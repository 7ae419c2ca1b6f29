#include "proxy/reconcile/reconciler.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proxy/reconcile/dependents.h"

namespace fairlead {

using ipvs::Operation;
using ipvs::RealServerKey;
using ipvs::Verb;
using ipvs::VirtualServerKey;

namespace {

// Of what is retried as a whole.
constexpr char kRuleset[] = "ruleset";
constexpr char kConntrack[] = "conntrack";

}  // namespace

Reconciler::Reconciler(ipvs::Table& table, Firewall& firewall, Routes& routes, Conntrack& conntrack,
                       const ReconcilerOptions& options)
    : table_(table),
      firewall_(firewall),
      routes_(routes),
      conntrack_(conntrack),
      options_(options) {}

absl::Status Reconciler::Adopt() {
  if (absl::Status read = ReadFirewall(); !read.ok()) return read;
  absl::StatusOr<std::vector<ipvs::VirtualServer>> servers = table_.Dump();
  if (!servers.ok()) return servers.status();
  absl::StatusOr<std::vector<VipRoute>> routes = routes_.Dump();
  if (!routes.ok()) return routes.status();

  actual_servers_.clear();
  ipv4_servers_ = 0;
  foreign_servers_.clear();
  for (const ipvs::VirtualServer& server : *servers) {
    SetActual(server.key, ToActual(server));
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
    // Of what is wanted everything is known: only what nobody wants may be of an unread object.
    const bool want =
        desired.WantsElement(element) ||
        (element.port != 0 && desired.FindVirtualServer(ServerOf(element)) != nullptr);
    (want ? wanted : held_).elements.insert(element);
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
  absl::StatusOr<bool> loaded = firewall_.EnsureRuleset(ruleset_);
  if (!loaded.ok()) return loaded.status();
  if (*loaded && loaded_ruleset_ == ruleset_) {
    drift_.Add(DriftKind::kRuleset, [] { return "the firewall's chains were others, or gone"; });
  }
  loaded_ruleset_ = ruleset_;
  absl::StatusOr<std::vector<Element>> elements = firewall_.Dump();
  if (!elements.ok()) return elements.status();
  if (elements_known_) {
    CompareElements(*elements);
  } else {
    found_.elements.insert(elements->begin(), elements->end());
  }
  elements_known_ = true;
  actual_elements_.clear();
  given_marks_.clear();
  for (const Element& element : *elements) Have(element);
  firewall_stale_ = false;
  firewall_suspect_ = false;
  return absl::OkStatus();
}

void Reconciler::ReadFirewallIfStale(bool retry, absl::Time now) {
  if (!firewall_stale_ && !(firewall_suspect_ && now >= next_firewall_check_)) return;
  if (general_retries_.Contains(kRuleset) && !retry) return;
  next_firewall_check_ = now + kMinRecheck;
  if (absl::Status read = ReadFirewall(); read.ok()) {
    general_retries_.Succeeded(kRuleset);
  } else {
    general_retries_.Failed(kRuleset, std::string(read.message()), now);
  }
}

void Reconciler::SetRuleset(std::string ruleset) {
  if (ruleset == ruleset_) return;
  firewall_stale_ = !ruleset_.empty();  // Before the first one there is nothing to renew.
  ruleset_ = std::move(ruleset);
}

FoundMarks Reconciler::Marks() const {
  FoundMarks marks;
  for (const Element& element : actual_elements_) {
    if (element.set == SetName::kMark) marks.ports[ServerOf(element)] = element.mark;
  }
  for (const VirtualServerKey& key : foreign_servers_) {
    if (key.is_mark()) marks.foreign.insert(key.firewall_mark);
  }
  return marks;
}

bool Reconciler::InDoubt(const Element& element) const {
  return firewall_stale_ && element_retries_.Contains(element);
}

bool Reconciler::IsMarkGiven(const VirtualServerKey& mark) const {
  if (given_marks_.contains(mark)) return true;
  if (!firewall_stale_) return false;
  for (const auto& [element, why] : element_retries_.Reasons()) {
    if (element.set == SetName::kMark && MarkServerOf(element) == mark) return true;
  }
  return false;
}

void Reconciler::Have(const Element& element) {
  if (!actual_elements_.insert(element).second) return;
  if (element.set == SetName::kMark) ++given_marks_[MarkServerOf(element)];
}

void Reconciler::HaveNoMore(const Element& element) {
  if (actual_elements_.erase(element) == 0 || element.set != SetName::kMark) return;
  auto given = given_marks_.find(MarkServerOf(element));
  if (--given->second == 0) given_marks_.erase(given);
}

void Reconciler::SetRouteSources(std::vector<IpAddress> sources) {
  if (sources == route_sources_) return;
  route_sources_ = std::move(sources);
  for (const auto& [vip, route] : actual_routes_) found_.vips.insert(vip);
}

bool Reconciler::Owns(const VirtualServerKey& key) const {
  return actual_elements_.contains(OwnedElement(key)) && actual_servers_.contains(key);
}

Reconciler::Sizes Reconciler::CountOwned() const {
  Sizes sizes;
  for (const auto& [key, server] : actual_servers_) {
    if (!Owns(key)) continue;
    ++sizes.virtual_servers;
    sizes.real_servers += server.real_servers.size();
  }
  sizes.draining = drains_.size();
  return sizes;
}

std::vector<VirtualServerKey> Reconciler::OwnedVirtualServers() const {
  std::vector<VirtualServerKey> owned;
  for (const auto& [key, server] : actual_servers_) {
    if (Owns(key)) owned.push_back(key);
  }
  std::sort(owned.begin(), owned.end());
  return owned;
}

void Reconciler::Reconcile(const DesiredState& desired, Touched touched, absl::Time now) {
  Carry(desired, TakeWork(desired, std::move(touched), now), now);
  if (!hold_removals_) drains_.ForgetRestored();
}

void Reconciler::ReconcileUrgent(const DesiredState& desired, const Touched& urgent,
                                 absl::Time now) {
  Touched work = urgent;
  AddDependents(desired, work);
  Carry(desired, std::move(work), now);
}

void Reconciler::Carry(const DesiredState& desired, Touched work, absl::Time now) {
  DecideRetiring(desired, work);
  std::set<VirtualServerKey> internal;
  std::set<VirtualServerKey> internal_gone;
  std::set<VirtualServerKey> addresses;
  for (const VirtualServerKey& key : work.virtual_servers) {
    const bool want = desired.FindVirtualServer(key) != nullptr;
    (!key.is_mark() ? addresses : want ? internal : internal_gone).insert(key);
  }
  ReconcileRoutes(desired, work.vips, RouteChange::Verb::kDelete, now);
  ReconcileElements(desired, work.elements, Moment::kFirst, now);
  ReconcileServers(desired, internal, now);
  ReconcileElements(desired, work.elements, Moment::kInternalReady, now);
  ReconcileServers(desired, addresses, now);
  ReconcileElements(desired, work.elements, Moment::kAddressesDone, now);
  std::erase_if(internal_gone, [&](const VirtualServerKey& key) {
    const bool given = actual_servers_.contains(key) && IsMarkGiven(key);
    if (given) server_retries_.Failed(key, "its mark could not be taken off", now);
    return given;
  });
  ReconcileServers(desired, internal_gone, now);
  FinishDrains(now);
  // At once: a datagram that comes between is lost.
  ForgetFlows(now);
  ReconcileElements(desired, work.elements, Moment::kLast, now);
  ReconcileRoutes(desired, work.vips, RouteChange::Verb::kPut, now);
}

void Reconciler::ForgetFlows(absl::Time now) {
  if (flows_to_forget_.empty()) {
    general_retries_.Succeeded(kConntrack);  // They were given up.
    return;
  }
  const std::vector<FlowMatch> matches(flows_to_forget_.begin(), flows_to_forget_.end());
  const absl::StatusOr<int> forgotten = conntrack_.DeleteFlows(matches);
  if (forgotten.ok()) {
    counters_.flows += static_cast<uint64_t>(*forgotten);
    general_retries_.Succeeded(kConntrack);
    flows_to_forget_.clear();
    return;
  }
  general_retries_.Failed(kConntrack, std::string(forgotten.status().message()), now);
  // Flows end by themselves: what cannot be forgotten now is not worth more than that.
  if (flows_to_forget_.size() > kMaxFlowsToForget) flows_to_forget_.clear();
}

Touched Reconciler::TakeWork(const DesiredState& desired, Touched touched, absl::Time now) {
  ReadFirewallIfStale(general_retries_.TakeDue(now).contains(kRuleset), now);
  CheckRoutes(now);
  Audit(now);
  Touched work = TakeFound(desired);
  work.Merge(std::move(touched));
  work.virtual_servers.merge(std::exchange(drained_, {}));
  work.virtual_servers.merge(server_retries_.TakeDue(now));
  work.elements.merge(element_retries_.TakeDue(now));
  work.vips.merge(route_retries_.TakeDue(now));
  AddDependents(desired, work);
  return work;
}

VipRoute Reconciler::RouteTo(const IpAddress& vip) const {
  VipRoute route{.vip = vip, .source = std::nullopt};
  for (const IpAddress& source : route_sources_) {
    if (source.family() == vip.family()) route.source = source;
  }
  return route;
}

std::vector<VipRoute> Reconciler::WantedRoutes(const DesiredState& desired) const {
  std::set<IpAddress> vips;
  for (const IpAddress& vip : desired.Vips()) vips.insert(vip);
  for (const auto& [vip, retiring] : retiring_) {
    if (retiring.vip) vips.insert(vip);
  }
  std::vector<VipRoute> routes;
  routes.reserve(vips.size());
  for (const IpAddress& vip : vips) routes.push_back(RouteTo(vip));
  return routes;
}

void Reconciler::ReconcileRoutes(const DesiredState& desired, const std::set<IpAddress>& vips,
                                 RouteChange::Verb verb, absl::Time now) {
  std::vector<RouteChange> changes;
  for (const IpAddress& vip : vips) {
    auto have = actual_routes_.find(vip);
    if (!WantsVip(desired, vip)) {
      if (verb != RouteChange::Verb::kDelete) continue;
      if (have != actual_routes_.end()) {
        changes.push_back({RouteChange::Verb::kDelete, have->second});
      } else if (InDoubt(vip)) {
        changes.push_back({RouteChange::Verb::kDelete, {.vip = vip, .source = std::nullopt}});
      }
      continue;
    }
    if (verb != RouteChange::Verb::kPut) continue;
    const VipRoute want = RouteTo(vip);
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

void Reconciler::ClockStepped(absl::Duration step) {
  server_retries_.ClockStepped(step);
  element_retries_.ClockStepped(step);
  route_retries_.ClockStepped(step);
  general_retries_.ClockStepped(step);
  drains_.ClockStepped(step);
  for (absl::Time* time : {&next_firewall_check_, &next_routes_check_, &next_servers_check_,
                           &next_audit_, &audit_began_, &next_drain_poll_}) {
    *time += step;
  }
}

absl::Time Reconciler::NextWake() const {
  if (!drained_.empty()) return absl::InfinitePast();
  const absl::Time never = absl::InfiniteFuture();
  return std::min({server_retries_.NextDue(), element_retries_.NextDue(), route_retries_.NextDue(),
                   general_retries_.NextDue(), next_drain_poll_,
                   options_.audit_cycle == absl::InfiniteDuration() ? never : next_audit_,
                   firewall_suspect_ ? next_firewall_check_ : never,
                   routes_suspect_ ? next_routes_check_ : never});
}

bool Reconciler::HasFailures() const {
  return server_retries_.size() + element_retries_.size() + route_retries_.size() +
             general_retries_.size() >
         0;
}

bool Reconciler::IsInPlace(const DesiredState& desired, const VirtualServerKey& key) const {
  const PlannedVirtualServer* want = desired.FindVirtualServer(key);
  if (want == nullptr || !Owns(key) || server_retries_.Contains(key)) return false;
  const std::vector<Element> elements = ElementsOf(*want);
  return std::all_of(elements.begin(), elements.end(),
                     [this](const Element& element) {
                       return actual_elements_.contains(element) && !InDoubt(element);
                     }) &&
         (!want->vip || (actual_routes_.contains(key.address) && !InDoubt(key.address)));
}

std::vector<ReconcileFailure> Reconciler::Failures() const {
  std::vector<ReconcileFailure> failures;
  for (auto& [key, why] : server_retries_.Reasons()) failures.push_back({key.Format(), why, key});
  for (auto& [element, why] : element_retries_.Reasons()) {
    ReconcileFailure failure{absl::StrCat("element ", element.Format()), why, std::nullopt};
    if (element.port != 0) failure.virtual_server = ServerOf(element);
    failures.push_back(std::move(failure));
  }
  for (auto& [vip, why] : route_retries_.Reasons()) {
    failures.push_back({absl::StrCat("route ", vip.Format()), why, std::nullopt});
  }
  for (auto& [what, why] : general_retries_.Reasons()) {
    failures.push_back({what, why, std::nullopt});
  }
  return failures;
}

}  // namespace fairlead
