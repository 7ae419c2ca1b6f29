#include "proxy/reconcile/drains.h"

#include <algorithm>
#include <utility>

namespace fairlead {

using ipvs::RealServerKey;
using ipvs::VirtualServerKey;

void Drains::Restore(const std::vector<DrainingServer>& drains) {
  for (const DrainingServer& drain : drains) {
    restored_[drain.virtual_server][drain.real_server] = {drain.since, drain.until};
  }
}

void Drains::Note(const VirtualServerKey& key, const std::vector<RealServerKey>& leaving,
                  absl::Duration patience, absl::Time now) {
  OfServer drains;
  const auto known = drains_.find(key);
  const auto restored = restored_.find(key);
  const auto find = [](const auto& servers, auto it, const RealServerKey& real) -> const Drain* {
    if (it == servers.end()) return nullptr;
    const auto found = it->second.find(real);
    return found == it->second.end() ? nullptr : &found->second;
  };
  for (const RealServerKey& real : leaving) {
    const Drain* before = find(drains_, known, real);
    if (before == nullptr) before = find(restored_, restored, real);
    // A clock that was set back makes nothing wait for longer than a new drain.
    const absl::Time since = before == nullptr ? now : std::min(before->since, now);
    const absl::Time until = since + patience;
    // One that was ended stays ended.
    drains[real] = {since, before == nullptr ? until : std::min(before->until, until)};
  }
  Replace(key, std::move(drains));
}

void Drains::Replace(const VirtualServerKey& key, OfServer drains) {
  const auto known = drains_.find(key);
  if (known == drains_.end() && drains.empty()) return;
  if (known == drains_.end() || known->second != drains) ++version_;
  if (!drains.empty()) {
    drains_[key] = std::move(drains);
  } else {
    drains_.erase(known);
  }
}

void Drains::Erase(const VirtualServerKey& key, const RealServerKey& real_server) {
  const auto known = drains_.find(key);
  if (known == drains_.end() || known->second.erase(real_server) == 0) return;
  ++version_;
  if (known->second.empty()) drains_.erase(known);
}

void Drains::Erase(const VirtualServerKey& key) {
  if (drains_.erase(key) > 0) ++version_;
}

size_t Drains::End(const std::function<bool(const DrainingServer&)>& which, absl::Time now) {
  size_t ended = 0;
  for (auto& [key, servers] : drains_) {
    for (auto& [real, drain] : servers) {
      if (!which({key, real, drain.since, drain.until})) continue;
      drain.until = std::min(drain.until, now);
      ++ended;
    }
  }
  if (ended > 0) ++version_;
  return ended;
}

void Drains::ForgetRestored(const VirtualServerKey& key, const RealServerKey& real_server) {
  const auto it = restored_.find(key);
  if (it != restored_.end()) it->second.erase(real_server);
}

std::optional<absl::Duration> Drains::RestoredPatience(const VirtualServerKey& key) const {
  const auto it = restored_.find(key);
  if (it == restored_.end()) return std::nullopt;
  std::optional<absl::Duration> longest;
  for (const auto& [real, drain] : it->second) {
    longest = std::max(longest.value_or(absl::ZeroDuration()), drain.until - drain.since);
  }
  return longest;
}

void Drains::ClockStepped(absl::Duration step) {
  for (auto* all : {&drains_, &restored_}) {
    for (auto& [key, servers] : *all) {
      for (auto& [real, drain] : servers) {
        drain.since += step;
        drain.until += step;
      }
    }
  }
  if (!drains_.empty()) ++version_;
}

size_t Drains::size() const {
  size_t size = 0;
  for (const auto& [key, servers] : drains_) size += servers.size();
  return size;
}

std::vector<DrainingServer> Drains::List() const {
  std::vector<DrainingServer> list;
  for (const auto& [key, servers] : drains_) {
    for (const auto& [real, drain] : servers) list.push_back({key, real, drain.since, drain.until});
  }
  return list;
}

}  // namespace fairlead
