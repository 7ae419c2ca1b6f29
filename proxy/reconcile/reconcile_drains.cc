// The reconciler's work on what leaves: real servers that drain, virtual servers that retire.
#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "proxy/reconcile/dependents.h"
#include "proxy/reconcile/reconciler.h"

namespace fairlead {

using ipvs::Operation;
using ipvs::RealServerKey;
using ipvs::VirtualServerKey;

namespace {

bool HasConnections(const ipvs::VirtualServer& server) {
  return std::any_of(server.real_servers.begin(), server.real_servers.end(),
                     [](const ipvs::RealServer& real) {
                       return real.active_connections + real.inactive_connections > 0;
                     });
}

}  // namespace

absl::Duration Reconciler::PatienceOf(const VirtualServerKey& key,
                                      const PlannedVirtualServer* want) const {
  const auto known = traits_.find(key);
  Traits traits{.protocol = key.protocol, .drain_timeout = std::nullopt};
  if (want != nullptr) {
    traits = {want->protocol, want->drain_timeout};
  } else if (known != traits_.end()) {
    traits = known->second;
  } else {
    // Its Service went under a former agent.
    traits.drain_timeout = drains_.RestoredPatience(key);
  }
  return traits.drain_timeout.value_or(traits.protocol == ipvs::Protocol::kUdp
                                           ? options_.udp_drain_timeout
                                           : options_.drain_timeout);
}

void Reconciler::NoteLeaving(const VirtualServerKey& key, absl::Duration patience,
                             const std::vector<RealServerKey>& leaving, absl::Time now) {
  drains_.Note(key, leaving, patience, now);
  if (leaving.empty()) return;
  noted_leaving_.insert(key);
  next_drain_poll_ = std::min(next_drain_poll_, now + kDrainPoll);
}

bool Reconciler::IsRetiring(const VirtualServerKey& key) const {
  const auto it = retiring_.find(key.address);
  return it != retiring_.end() && it->second.servers.contains(key);
}

bool Reconciler::HasToRetire(const VirtualServerKey& key) {
  const auto actual = actual_servers_.find(key);
  if (actual == actual_servers_.end() || actual->second.real_servers.empty() || !Owns(key) ||
      PatienceOf(key, nullptr) == absl::ZeroDuration()) {
    return false;
  }
  // Until its last real server has gone.
  if (IsRetiring(key)) return true;
  const absl::StatusOr<ipvs::VirtualServer> seen = table_.Get(key);
  if (!seen.ok()) return !absl::IsNotFound(seen.status());
  return HasConnections(*seen);
}

void Reconciler::DecideRetiring(const DesiredState& desired, Touched& work) {
  for (const VirtualServerKey& key : work.virtual_servers) {
    if (key.is_mark()) continue;
    const bool want = desired.FindVirtualServer(key) != nullptr;
    const bool routed = actual_routes_.contains(key.address);
    const bool before = IsRetiring(key);
    if (!want && HasToRetire(key)) {
      RetiringAddress& retiring = retiring_[key.address];
      retiring.servers.insert(key);
      retiring.vip |= routed;
    } else if (before) {
      RetiringAddress& retiring = retiring_[key.address];
      retiring.servers.erase(key);
      if (retiring.servers.empty()) retiring_.erase(key.address);
    }
    if (want && !before) continue;
    work.elements.insert(RejectElement(key));
    // That of one that is wanted again need not be.
    if (routed) {
      work.vips.insert(key.address);
      work.elements.insert(GuardElement(key.address));
    }
  }
}

bool Reconciler::Wants(const DesiredState& desired, const Element& element) const {
  if (desired.WantsElement(element)) return true;
  switch (element.set) {
    case SetName::kOwned:
      return IsRetiring(ServerOf(element));
    case SetName::kOpen:
      return IsRetiring(ServerOf(element)) && WantsVip(desired, element.address);
    case SetName::kReject:
      // Its connections go on: only new ones are refused.
      return IsRetiring(ServerOf(element)) &&
             desired.FindVirtualServer(ServerOf(element)) == nullptr;
    case SetName::kGuarded:
      return WantsVip(desired, element.address);
    default:
      return false;
  }
}

bool Reconciler::WantsVip(const DesiredState& desired, const IpAddress& vip) const {
  if (desired.WantsVip(vip)) return true;
  const auto it = retiring_.find(vip);
  return it != retiring_.end() && it->second.vip;
}

std::vector<VirtualServerKey> Reconciler::Retiring() const {
  std::vector<VirtualServerKey> keys;
  for (const auto& [address, retiring] : retiring_) {
    keys.insert(keys.end(), retiring.servers.begin(), retiring.servers.end());
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

size_t Reconciler::EndDrains(const std::function<bool(const DrainingServer&)>& which,
                             absl::Time now) {
  const size_t ended = drains_.End(which, now);
  if (ended > 0) next_drain_poll_ = now;
  return ended;
}

void Reconciler::ForgetRealServer(const VirtualServerKey& key, const RealServerKey& real) {
  auto actual = actual_servers_.find(key);
  if (actual == actual_servers_.end() || !actual->second.real_servers.contains(real)) return;
  Remember(Operation::DeleteRealServer(key, real));
}

bool Reconciler::PollDrains(const VirtualServerKey& key, absl::Time now,
                            std::vector<Operation>& operations) {
  static const std::vector<ipvs::RealServer> kNone;
  const absl::StatusOr<ipvs::VirtualServer> seen = table_.Get(key);
  if (!seen.ok() && !absl::IsNotFound(seen.status())) return false;
  const Drains::OfServer servers = drains_.by_server().at(key);
  Drains::OfServer present;
  for (const ipvs::RealServer& real : seen.ok() ? seen->real_servers : kNone) {
    auto it = servers.find(real.key);
    if (it == servers.end()) continue;
    present.insert(*it);
    if (real.config.weight == 0 &&
        (it->second.until <= now || real.active_connections + real.inactive_connections == 0)) {
      operations.push_back(Operation::DeleteRealServer(key, real.key));
    }
  }
  // A deletion that was not answered has happened, or somebody else was at it.
  for (const auto& [real, drain] : servers) {
    if (!present.contains(real)) ForgetRealServer(key, real);
  }
  drains_.Replace(key, std::move(present));
  return true;
}

void Reconciler::FinishDrains(absl::Time now) {
  const std::set<VirtualServerKey> noted = std::exchange(noted_leaving_, {});
  const bool poll = now >= next_drain_poll_;
  if (!poll && noted.empty()) return;
  // Those that are due, and of the others as many as there is time for, in turn.
  std::vector<VirtualServerKey> due;
  std::vector<VirtualServerKey> others;
  for (const auto& [key, servers] : drains_.by_server()) {
    if (noted.contains(key) ||
        std::any_of(servers.begin(), servers.end(),
                    [now](const auto& entry) { return entry.second.until <= now; })) {
      due.push_back(key);
    } else if (poll && (!drain_poll_from_ || key >= *drain_poll_from_)) {
      others.push_back(key);
    }
  }
  std::vector<VirtualServerKey> looked_at;
  std::vector<Operation> operations;
  for (const VirtualServerKey& key : due) {
    if (PollDrains(key, now, operations)) looked_at.push_back(key);
  }
  const absl::Time start = absl::Now();
  if (poll) drain_poll_from_.reset();
  for (size_t i = 0; i < others.size(); ++i) {
    if (i > 0 && absl::Now() - start >= options_.tick_budget) {
      drain_poll_from_ = others[i];
      break;
    }
    if (PollDrains(others[i], now, operations)) looked_at.push_back(others[i]);
  }
  const std::vector<absl::Status> results = ApplyOperations(operations);
  for (size_t i = 0; i < operations.size(); ++i) {
    // Otherwise it stays a drain, and is tried again.
    if (results[i].ok()) {
      drains_.Erase(operations[i].virtual_server, operations[i].real_server, now);
    }
  }
  for (const VirtualServerKey& key : looked_at) {
    // What was only there for them can go; the next pass sees whether it is still wanted.
    if (drains_.by_server().contains(key)) continue;
    if (key.is_mark() || IsRetiring(key)) drained_.insert(key);
  }
  if (drains_.empty()) {
    next_drain_poll_ = absl::InfiniteFuture();
  } else if (poll) {
    next_drain_poll_ = now + (drain_poll_from_ ? kAuditTick : kDrainPoll);
  }
}

}  // namespace fairlead
