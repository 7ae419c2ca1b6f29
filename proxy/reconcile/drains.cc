#include "proxy/reconcile/drains.h"

#include <algorithm>
#include <utility>

namespace fairlead {

using ipvs::RealServerKey;
using ipvs::VirtualServerKey;

namespace {

// Which number a drain belongs to whose real server was deleted.
uint64_t DrainCounts::*EndOf(const Drains::Drain& drain, absl::Time now) {
  if (drain.ended) return &DrainCounts::command;
  if (drain.until <= drain.since) return &DrainCounts::at_once;
  return drain.until <= now ? &DrainCounts::timeout : &DrainCounts::idle;
}

}  // namespace

void Drains::Restore(const std::vector<DrainingServer>& drains) {
  for (const DrainingServer& drain : drains) {
    restored_[drain.virtual_server][drain.real_server] = {
        .since = drain.since, .until = drain.until, .ended = false};
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
    if (before == nullptr) {
      ++counts_.started;
      before = find(restored_, restored, real);
    }
    // A clock that was set back makes nothing wait for longer than a new drain.
    const absl::Time since = before == nullptr ? now : std::min(before->since, now);
    const absl::Time until = since + patience;
    // One that was ended stays ended.
    drains[real] = {.since = since,
                    .until = before == nullptr ? until : std::min(before->until, until),
                    .ended = before != nullptr && before->ended};
  }
  Replace(key, std::move(drains));
}

void Drains::Replace(const VirtualServerKey& key, OfServer drains) {
  const auto known = drains_.find(key);
  if (known == drains_.end() && drains.empty()) return;
  if (known == drains_.end() || known->second != drains) ++version_;
  if (known != drains_.end()) {
    for (const auto& [real, drain] : known->second) {
      if (!drains.contains(real)) ++counts_.gone;
    }
  }
  if (!drains.empty()) {
    drains_[key] = std::move(drains);
  } else {
    drains_.erase(known);
  }
}

void Drains::Erase(const VirtualServerKey& key, const RealServerKey& real_server, absl::Time now) {
  Remove(key, real_server, [now](const Drain& drain) { return EndOf(drain, now); });
}

void Drains::Erase(const VirtualServerKey& key) {
  const auto known = drains_.find(key);
  if (known == drains_.end()) return;
  counts_.gone += known->second.size();
  drains_.erase(known);
  ++version_;
}

void Drains::Remove(const VirtualServerKey& key, const RealServerKey& real_server,
                    absl::FunctionRef<uint64_t DrainCounts::*(const Drain&)> why) {
  const auto known = drains_.find(key);
  if (known == drains_.end()) return;
  const auto drain = known->second.find(real_server);
  if (drain == known->second.end()) return;
  ++(counts_.*why(drain->second));
  known->second.erase(drain);
  ++version_;
  if (known->second.empty()) drains_.erase(known);
}

size_t Drains::End(const std::function<bool(const DrainingServer&)>& which, absl::Time now) {
  size_t ended = 0;
  for (auto& [key, servers] : drains_) {
    for (auto& [real, drain] : servers) {
      if (!which({key, real, drain.since, drain.until})) continue;
      drain.until = std::min(drain.until, now);
      drain.ended = true;
      ++ended;
    }
  }
  if (ended > 0) ++version_;
  return ended;
}

void Drains::NoteWanted(const VirtualServerKey& key, const RealServerKey& real_server) {
  const auto it = restored_.find(key);
  if (it != restored_.end()) it->second.erase(real_server);
  Remove(key, real_server, [](const Drain&) { return &DrainCounts::returned; });
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
