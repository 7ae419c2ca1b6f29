#include "proxy/plan/desired_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

// Adds the changes to the counts; `touched` gets what has come to be wanted or has ceased to be.
template <typename T>
void AddCounts(const std::map<T, int>& changes, absl::flat_hash_map<T, int>& counts,
               std::set<T>& touched) {
  for (const auto& [wanted, change] : changes) {
    if (change == 0) continue;
    const auto it = counts.try_emplace(wanted, 0).first;
    const bool before = it->second > 0;
    it->second += change;
    const bool after = it->second > 0;
    if (!after) counts.erase(it);
    if (before != after) touched.insert(wanted);
  }
}

template <typename T, typename V>
std::vector<T> SortedKeys(const absl::flat_hash_map<T, V>& map) {
  std::vector<T> keys;
  keys.reserve(map.size());
  for (const auto& [key, value] : map) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

bool SameServer(const PlannedVirtualServer* a, const PlannedVirtualServer* b) {
  if (a == nullptr || b == nullptr) return a == b;
  return *a == *b;
}

}  // namespace

void Touched::Merge(Touched other) {
  virtual_servers.merge(other.virtual_servers);
  elements.merge(other.elements);
  vips.merge(other.vips);
}

std::string Conflict::Format() const {
  return absl::StrCat("Service ", loser.Format(), ": ", key.Format(), " belongs to Service ",
                      winner.Format(),
                      winner_is_older ? ", which is older" : ", of the same age and first by name");
}

const PlannedVirtualServer* DesiredState::Winner(const Claims& claims) {
  return claims.empty() ? nullptr : claims.begin()->second;
}

Touched DesiredState::Update(std::shared_ptr<const ServicePlan> plan) {
  static const auto& kNoPlan = *new std::shared_ptr<const ServicePlan>(new ServicePlan());
  const auto it = plans_.find(plan->service);
  // Kept to the end: what it plans is compared with the new plan.
  const std::shared_ptr<const ServicePlan> old = it == plans_.end() ? kNoPlan : it->second;
  if (it != plans_.end() && *old == *plan) return {};

  const Claim old_claim{old->created, plan->service};
  const Claim new_claim{plan->created, plan->service};
  Changes changes;
  auto before = old->virtual_servers.begin();
  auto after = plan->virtual_servers.begin();
  const auto before_end = old->virtual_servers.end();
  const auto after_end = plan->virtual_servers.end();
  while (before != before_end || after != after_end) {
    const bool take_before =
        before != before_end && (after == after_end || before->key <= after->key);
    const bool take_after =
        after != after_end && (before == before_end || after->key <= before->key);
    ReplaceClaim(take_before ? before->key : after->key, old_claim,
                 take_before ? &*before : nullptr, new_claim, take_after ? &*after : nullptr,
                 changes);
    if (take_before) ++before;
    if (take_after) ++after;
  }

  if (plan->empty()) {
    plans_.erase(plan->service);
  } else {
    const ObjectName& name = plan->service;
    plans_.insert_or_assign(name, std::move(plan));
  }
  return Commit(std::move(changes));
}

void DesiredState::ReplaceClaim(const ipvs::VirtualServerKey& key, const Claim& old_claim,
                                const PlannedVirtualServer* before, const Claim& new_claim,
                                const PlannedVirtualServer* after, Changes& changes) {
  Claims& claims = virtual_servers_[key];
  const PlannedVirtualServer* old_winner = Winner(claims);
  if (before != nullptr) claims.erase(old_claim);
  if (after != nullptr) claims.insert_or_assign(new_claim, after);
  const PlannedVirtualServer* new_winner = Winner(claims);

  if (claims.size() > 1) {
    contested_.insert(key);
  } else {
    contested_.erase(key);
  }
  if (claims.empty()) virtual_servers_.erase(key);

  if (SameServer(old_winner, new_winner)) return;
  changes.touched.virtual_servers.insert(key);
  const auto count = [&changes](const PlannedVirtualServer* server, int change) {
    if (server == nullptr) return;
    for (const Element& element : ElementsOf(*server)) changes.elements[element] += change;
    if (server->vip) changes.vips[server->key.address] += change;
  };
  count(old_winner, -1);
  count(new_winner, +1);
}

Touched DesiredState::Commit(Changes changes) {
  AddCounts(changes.elements, elements_, changes.touched.elements);
  AddCounts(changes.vips, vips_, changes.touched.vips);
  return std::move(changes.touched);
}

const PlannedVirtualServer* DesiredState::FindVirtualServer(
    const ipvs::VirtualServerKey& key) const {
  const auto it = virtual_servers_.find(key);
  return it == virtual_servers_.end() ? nullptr : Winner(it->second);
}

bool DesiredState::WantsElement(const Element& element) const {
  return elements_.contains(element);
}

bool DesiredState::WantsVip(const IpAddress& vip) const { return vips_.contains(vip); }

std::vector<const PlannedVirtualServer*> DesiredState::VirtualServers() const {
  std::vector<const PlannedVirtualServer*> servers;
  servers.reserve(virtual_servers_.size());
  for (const auto& [key, claims] : virtual_servers_) servers.push_back(Winner(claims));
  std::sort(servers.begin(), servers.end(),
            [](const auto* a, const auto* b) { return a->key < b->key; });
  return servers;
}

std::vector<Element> DesiredState::Elements() const { return SortedKeys(elements_); }

std::vector<IpAddress> DesiredState::Vips() const { return SortedKeys(vips_); }

std::vector<Conflict> DesiredState::ConflictsOf(const ipvs::VirtualServerKey& key) const {
  std::vector<Conflict> conflicts;
  if (!contested_.contains(key)) return conflicts;
  const Claims& claims = virtual_servers_.at(key);
  const Claim& winner = claims.begin()->first;
  for (auto it = std::next(claims.begin()); it != claims.end(); ++it) {
    const Claim& loser = it->first;
    conflicts.push_back({key, winner.service, loser.service, winner.created < loser.created});
  }
  return conflicts;
}

std::vector<Conflict> DesiredState::Conflicts() const {
  std::vector<Conflict> conflicts;
  for (const ipvs::VirtualServerKey& key : contested_) {
    for (Conflict& conflict : ConflictsOf(key)) conflicts.push_back(std::move(conflict));
  }
  return conflicts;
}

}  // namespace fairlead
