#include "test/feed/follower.h"

#include <optional>

#include "watcher/feed/apply.h"

namespace fairlead::feed_test {
namespace {

// The Service that an object is of.
ObjectName ServiceOf(const Object& object) {
  if (const auto* slice = std::get_if<std::shared_ptr<const EndpointSlice>>(&object)) {
    return (*slice)->service();
  }
  return IdOf(object).name;
}

}  // namespace

Follower::Follower(std::vector<FeedTarget> targets, const std::string& node,
                   absl::Duration silence_timeout, Signal& signal)
    : mailbox_([&signal] { signal.Raise(); }),
      client_(std::move(targets),
              {.node_name = node,
               .min_reconnect_wait = absl::Milliseconds(1),
               .max_reconnect_wait = absl::Milliseconds(20),
               .silence_timeout = silence_timeout,
               .seed = 1},
              mailbox_) {
  client_.Start();
}

void Follower::Take() {
  const std::optional<FeedUpdate> update = mailbox_.Take();
  if (!update) return;
  Apply(*update);
  client_.Ack(update->position, absl::ZeroDuration(), {});
}

void Follower::Apply(const FeedUpdate& update) {
  Picture next = update.snapshot ? Picture() : picture_;
  std::set<ObjectName> changed;
  for (const ObjectId& id : update.removals) next.erase(id);
  for (const Object& object : update.upserts) {
    const auto present = picture_.find(IdOf(object));
    const bool same = present != picture_.end() && SameValue(present->second, object);
    if (same && !update.snapshot) ++duplicates_;
    if (!same) changed.insert(ServiceOf(object));
    next[IdOf(object)] = object;
  }
  for (const auto& [id, object] : picture_) {
    if (next.contains(id)) continue;
    taken_away_.insert(id);
    changed.insert(ServiceOf(object));
  }
  if (update.snapshot) ++snapshots_;
  picture_ = std::move(next);
  position_ = update.position;

  ApplyUpdate(update, snapshot_);
  const std::set<ObjectName> dirty = snapshot_.TakeDirtyServices();
  dirty_services_ += static_cast<int>(dirty.size());
  for (const ObjectName& name : dirty) {
    if (!changed.contains(name)) ++duplicates_;
  }
}

}  // namespace fairlead::feed_test
