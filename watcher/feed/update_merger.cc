#include "watcher/feed/update_merger.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace fairlead {

void UpdateMerger::BeginSnapshot() {
  changes_.clear();
  merged_.snapshot = true;
}

void UpdateMerger::Add(DecodedChange change) {
  if (!merged_.snapshot) KeepOldest(change.triggered);
  if (change.object) {
    changes_[change.id] = *std::move(change.object);
  } else {
    Remove(change.id);
  }
}

void UpdateMerger::Remove(const ObjectId& id) {
  // What a snapshot does not mention is not there.
  if (merged_.snapshot) {
    changes_.erase(id);
  } else {
    changes_[id] = Removal();
  }
}

void UpdateMerger::AddInvalid(std::optional<ObjectId> id) {
  ++merged_.invalid_changes;
  // An older version that is still to be delivered remains.
  if (id) changes_.try_emplace(*std::move(id), Unreadable());
}

void UpdateMerger::KeepOldest(const std::optional<absl::Time>& triggered) {
  if (!triggered) return;
  merged_.oldest_trigger = std::min(merged_.oldest_trigger.value_or(*triggered), *triggered);
}

void UpdateMerger::Merge(FeedUpdate later) {
  if (later.snapshot) {
    auto earlier = std::exchange(changes_, {});
    merged_.snapshot = true;
    for (const ObjectId& id : later.unreadable) {
      const auto it = earlier.find(id);
      if (it != earlier.end() && std::holds_alternative<Object>(it->second)) {
        changes_[id] = it->second;
      }
    }
  }
  for (Object& object : later.upserts) {
    ObjectId id = IdOf(object);
    changes_[std::move(id)] = std::move(object);
  }
  for (const ObjectId& id : later.removals) Remove(id);
  for (ObjectId& id : later.unreadable) changes_.try_emplace(std::move(id), Unreadable());
  KeepOldest(later.oldest_trigger);
  merged_.position = std::move(later.position);
  merged_.partial = later.partial;
  merged_.saved = later.saved;
  merged_.received = std::min(merged_.received, later.received);
  merged_.invalid_changes += later.invalid_changes;
}

FeedUpdate UpdateMerger::Take() {
  std::vector<std::pair<ObjectId, Outcome>> changes;
  changes.reserve(changes_.size());
  for (auto& [id, outcome] : changes_) changes.emplace_back(id, std::move(outcome));
  changes_.clear();
  std::sort(changes.begin(), changes.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });

  FeedUpdate update = std::exchange(merged_, {});
  for (auto& [id, outcome] : changes) {
    if (auto* object = std::get_if<Object>(&outcome)) {
      update.upserts.push_back(std::move(*object));
    } else if (std::holds_alternative<Removal>(outcome)) {
      update.removals.push_back(std::move(id));
    } else {
      update.unreadable.push_back(std::move(id));
    }
  }
  return update;
}

}  // namespace fairlead
