// The reconciler's work on the sets of the firewall.
#include <algorithm>

#include "proxy/reconcile/dependents.h"
#include "proxy/reconcile/reconciler.h"

namespace fairlead {

using ipvs::VirtualServerKey;

namespace {

// Errors of the whole firewall rather than of one element: halving the transaction finds nothing.
bool IsGeneral(const absl::Status& status) {
  return absl::IsPermissionDenied(status) || absl::IsFailedPrecondition(status) ||
         absl::IsUnavailable(status);
}

// In which order the changes of a transaction are written, so that it may be cut anywhere: a way to
// a port comes before the other one goes, and what takes another's place in a map or an interval
// comes after it.
int Turn(const ElementChange& change) {
  if (change.verb == ElementChange::Verb::kDelete) return 1;
  return IsWay(change.element.set) ? 0 : 2;
}

}  // namespace

Reconciler::Moment Reconciler::MomentOf(const DesiredState& desired, const Element& element,
                                        bool want) const {
  switch (element.set) {
    case SetName::kServed:
    case SetName::kOpen:
      // A way to a port comes after its virtual server, and goes before it, or with the coming of
      // the other way.
      return want || Wants(desired, OtherWay(element)) ? Moment::kLast : Moment::kFirst;
    case SetName::kMark: {
      // Pods and the node keep all endpoints while an address changes over to local ones, and back.
      const PlannedVirtualServer* server = desired.FindVirtualServer(ServerOf(element));
      const bool replaced = server != nullptr && server->mark != 0;
      return want || replaced ? Moment::kInternalReady : Moment::kAddressesDone;
    }
    case SetName::kDrop:
    case SetName::kReject:
      // Together with the mark that passes it: pods and the node meet no silence in between.
      return want ? Moment::kInternalReady : Moment::kAddressesDone;
    case SetName::kAllowed:
      // Prefixes that overlap cannot be there together: the old ones go with the new ones' coming.
      return want || desired.WantsElement(LimitedElement(ServerOf(element))) ? Moment::kFirst
                                                                             : Moment::kLast;
    default:
      return want ? Moment::kFirst : Moment::kLast;
  }
}

bool Reconciler::IsAtOnce(const DesiredState& desired, const Element& element, bool want) const {
  if (!IsWay(element.set)) return false;
  const Element other = OtherWay(element);
  // What stops packets holds from now on.
  if (!want) return element.set == SetName::kServed && Wants(desired, other);
  if (!Missing(desired, element, want).empty()) return false;
  // Where its virtual server is there already, a port opens together with the guard: one that is
  // in use, as another proxy left it or after a flush of the firewall, is never shut. One that is
  // open is served when nothing stops its packets any more.
  return element.set == SetName::kOpen ||
         (WantsVip(desired, element.address) && !actual_elements_.contains(other));
}

bool Reconciler::Shuts(const DesiredState& desired, const Element& way) const {
  const VirtualServerKey key = ServerOf(way);
  const bool in_use = actual_servers_.contains(key) || unread_servers_.contains(key);
  return in_use && Wants(desired, OtherWay(way)) && !IsThere(OtherWay(way));
}

std::string Reconciler::Missing(const DesiredState& desired, const Element& element,
                                bool want) const {
  const auto there = [this](const VirtualServerKey& key) {
    return actual_servers_.contains(key) && !unread_servers_.contains(key);
  };
  const auto gone = [this](const VirtualServerKey& key) {
    return !actual_servers_.contains(key) && !unread_servers_.contains(key);
  };
  switch (element.set) {
    case SetName::kServed:
    case SetName::kOpen:
      if (want) return there(ServerOf(element)) ? "" : "its virtual server is not there";
      // The other way comes in the same transaction, but where nobody knows whether its virtual
      // server is there.
      return Shuts(desired, element) && !there(ServerOf(element)) ? "the other way is not there"
                                                                  : "";
    case SetName::kMark: {
      return want && !there(MarkServerOf(element)) ? "the virtual server of its mark is not there"
                                                   : "";
    }
    case SetName::kOwned:
      return !want && !gone(ServerOf(element)) ? "its virtual server is still there" : "";
    case SetName::kOwnedMark: {
      return !want && !gone(MarkServerOf(element)) ? "its virtual server is still there" : "";
    }
    case SetName::kGuarded: {
      const bool routed = actual_routes_.contains(element.address) || InDoubt(element.address);
      return !want && routed ? "its route is still there" : "";
    }
    default:
      return "";
  }
}

void Reconciler::ReconcileElements(const DesiredState& desired, const std::set<Element>& elements,
                                   Moment moment, absl::Time now) {
  std::vector<ElementChange> changes;
  for (const Element& element : elements) {
    const bool want = Wants(desired, element);
    const bool have = actual_elements_.contains(element);
    if (want == have && !InDoubt(element)) {
      element_retries_.Succeeded(element);
      continue;
    }
    const bool at_once = moment == Moment::kFirst && IsAtOnce(desired, element, want);
    if (!at_once && MomentOf(desired, element, want) != moment) continue;
    if (const std::string missing = Missing(desired, element, want); !missing.empty()) {
      // The rest comes with another try of what is missing; a mark's server is another object.
      if (element.set == SetName::kMark) element_retries_.Failed(element, missing, now);
      continue;
    }
    changes.push_back({want ? ElementChange::Verb::kAdd : ElementChange::Verb::kDelete, element});
  }
  if (changes.empty()) return;
  std::stable_sort(changes.begin(), changes.end(),
                   [](const auto& a, const auto& b) { return Turn(a) < Turn(b); });
  ApplyElements(desired, changes, now);
}

std::vector<ElementChange> Reconciler::WithoutShutting(const DesiredState& desired,
                                                       absl::Span<const ElementChange> changes,
                                                       absl::Time now) {
  std::set<Element> coming;
  std::vector<ElementChange> left;
  for (const ElementChange& change : changes) {
    const bool is_way = IsWay(change.element.set);
    if (is_way && change.verb == ElementChange::Verb::kAdd) coming.insert(change.element);
    if (is_way && change.verb == ElementChange::Verb::kDelete && Shuts(desired, change.element) &&
        !coming.contains(OtherWay(change.element))) {
      element_retries_.Failed(change.element, "what takes its place could not be written", now);
    } else {
      left.push_back(change);
    }
  }
  return left;
}

void Reconciler::ApplyElements(const DesiredState& desired, absl::Span<const ElementChange> changes,
                               absl::Time now) {
  if (changes.empty()) return;
  counters_.elements += changes.size();
  absl::Status status = firewall_.Apply(changes);
  const bool gone = absl::IsNotFound(status) && changes.size() == 1 &&
                    changes[0].verb == ElementChange::Verb::kDelete;
  if (gone) firewall_stale_ = true;  // Somebody else has been at the sets.
  if (status.ok() || gone) {
    for (const ElementChange& change : changes) {
      if (change.verb == ElementChange::Verb::kAdd) {
        Have(change.element);
      } else {
        HaveNoMore(change.element);
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
  ApplyElements(desired, changes.first(changes.size() / 2), now);
  ApplyElements(desired, WithoutShutting(desired, changes.subspan(changes.size() / 2), now), now);
}

}  // namespace fairlead
