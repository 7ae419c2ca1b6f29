#include "watcher/feed/apply.h"

#include <optional>
#include <set>

namespace fairlead {
namespace {

// The version of the object that is there. A slice that has gone to another Service is not found,
// which is right: it has changed.
std::optional<Object> FindSame(const Snapshot& snapshot, const Object& object) {
  if (const auto* service = std::get_if<std::shared_ptr<const Service>>(&object)) {
    if (auto found = snapshot.FindService((*service)->name)) return found;
  } else if (const auto* slice = std::get_if<std::shared_ptr<const EndpointSlice>>(&object)) {
    const Snapshot::Slices& slices = snapshot.SlicesOf((*slice)->service());
    if (const auto it = slices.find((*slice)->name); it != slices.end()) return it->second;
  } else {
    const auto& node = std::get<std::shared_ptr<const Node>>(object);
    if (auto found = snapshot.FindNode(node->name)) return found;
  }
  return std::nullopt;
}

}  // namespace

void ApplyUpdate(const FeedUpdate& update, Snapshot& snapshot) {
  if (update.snapshot) {
    std::set<ObjectId> gone = snapshot.Ids();
    for (const Object& object : update.upserts) gone.erase(IdOf(object));
    for (const ObjectId& id : update.unreadable) gone.erase(id);
    for (const ObjectId& id : gone) snapshot.Remove(id);
  }
  for (const ObjectId& id : update.removals) snapshot.Remove(id);
  for (const Object& object : update.upserts) {
    const std::optional<Object> present = FindSame(snapshot, object);
    if (!present || !SameValue(*present, object)) snapshot.Upsert(object);
  }
}

}  // namespace fairlead
