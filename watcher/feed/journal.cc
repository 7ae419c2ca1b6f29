#include "watcher/feed/journal.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "watcher/feed/feed_codec.h"

namespace fairlead {

Journal::Journal(std::string epoch, size_t max_tombstones)
    : epoch_(std::move(epoch)), max_tombstones_(max_tombstones) {}

std::string Journal::RandomEpoch() {
  std::random_device device;
  std::string epoch;
  for (int i = 0; i < 4; ++i) absl::StrAppend(&epoch, absl::Hex(device(), absl::kZeroPad8));
  return epoch;
}

void Journal::Upsert(const Object& object, absl::Time triggered) {
  {
    std::lock_guard writing(write_mutex_);
    ObjectId id = IdOf(object);
    const Object* present = FindLive(id);
    if (present != nullptr && SameValue(*present, object)) return;
    Commit({{std::move(id), object}}, triggered);
  }
  Notify();
}

void Journal::Remove(const ObjectId& id, absl::Time triggered) {
  {
    std::lock_guard writing(write_mutex_);
    if (FindLive(id) == nullptr) return;
    Commit({{id, std::nullopt}}, triggered);
  }
  Notify();
}

void Journal::Replace(const Picture& picture, absl::Time triggered) {
  ReplaceWhere([](const ObjectId&) { return true; }, picture, triggered);
}

void Journal::ReplaceKind(ObjectKind kind, const Picture& picture, absl::Time triggered) {
  ReplaceWhere([kind](const ObjectId& id) { return id.kind == kind; }, picture, triggered);
}

template <typename Concerned>
void Journal::ReplaceWhere(const Concerned& concerned, const Picture& picture,
                           absl::Time triggered) {
  {
    std::lock_guard writing(write_mutex_);
    std::vector<Edit> edits;
    for (const auto& [revision, entry] : entries_) {
      if (!entry.object || !concerned(entry.id) || picture.contains(entry.id)) continue;
      edits.push_back({entry.id, std::nullopt});
    }
    for (const auto& [id, object] : picture) {
      const Object* present = FindLive(id);
      if (present == nullptr || !SameValue(*present, object)) edits.push_back({id, object});
    }
    if (edits.empty()) return;
    Commit(std::move(edits), triggered);
  }
  Notify();
}

void Journal::MarkComplete(bool partial) {
  {
    std::lock_guard writing(write_mutex_);
    std::lock_guard lock(mutex_);
    if (complete_ && partial_ == partial) return;
    complete_ = true;
    partial_ = partial;
  }
  Notify();
}

const Object* Journal::FindLive(const ObjectId& id) const {
  const auto it = revision_by_id_.find(id);
  if (it == revision_by_id_.end()) return nullptr;
  const Entry& entry = entries_.at(it->second);
  return entry.object ? &*entry.object : nullptr;
}

void Journal::Commit(std::vector<Edit> edits, absl::Time triggered) {
  std::vector<Entry> entries;
  entries.reserve(edits.size());
  uint64_t revision = head_;
  for (Edit& edit : edits) {
    ++revision;
    BatchElement bytes =
        SerializeElement(edit.object ? EncodeChange(*edit.object, revision, triggered)
                                     : EncodeRemoval(edit.id, revision, triggered));
    entries.push_back({std::move(edit.id), std::move(edit.object), std::move(bytes)});
  }

  std::lock_guard lock(mutex_);
  for (Entry& entry : entries) Insert(++head_, std::move(entry));
  while (tombstones_.size() > max_tombstones_) {
    horizon_ = *tombstones_.begin();
    const auto forgotten = entries_.find(horizon_);
    revision_by_id_.erase(forgotten->second.id);
    entries_.erase(forgotten);
    tombstones_.erase(tombstones_.begin());
  }
}

void Journal::Insert(uint64_t revision, Entry entry) {
  const auto [it, inserted] = revision_by_id_.try_emplace(entry.id, revision);
  if (!inserted) {
    tombstones_.erase(it->second);
    entries_.erase(it->second);
    it->second = revision;
  }
  if (!entry.object) tombstones_.insert(revision);
  entries_.emplace_hint(entries_.end(), revision, std::move(entry));
}

JournalStart Journal::Open(absl::string_view epoch, uint64_t revision) const {
  std::shared_lock lock(mutex_);
  if (epoch == epoch_ && revision >= horizon_ && revision <= head_) {
    return {.cursor = {.revision = revision}, .snapshot = false};
  }
  return {.cursor = {.revision = 0, .snapshot_at = head_}, .snapshot = true};
}

absl::StatusOr<JournalRead> Journal::Read(const JournalCursor& cursor, size_t limit_bytes,
                                          absl::string_view node_name) const {
  std::shared_lock lock(mutex_);
  // A forgotten removal matters to a reader that may have the object.
  if (std::max(cursor.revision, cursor.snapshot_at) < horizon_) {
    return absl::OutOfRangeError(absl::StrCat("reader at revision ", cursor.revision,
                                              ", removals up to ", horizon_, " are forgotten"));
  }
  JournalRead result;
  result.next = cursor;
  size_t bytes = 0;
  auto it = entries_.upper_bound(cursor.revision);
  for (; it != entries_.end(); ++it) {
    const auto& [revision, entry] = *it;
    const bool is_node = entry.id.kind == ObjectKind::kNode;
    result.personal |= is_node;
    const bool foreign = is_node && entry.id.name.name.view() != node_name;
    if (!foreign && (entry.object || revision > cursor.snapshot_at)) {
      if (!result.changes.empty() && bytes + entry.bytes->size() > limit_bytes) break;
      bytes += entry.bytes->size();
      result.changes.push_back(entry.bytes);
    }
    result.next.revision = revision;
  }
  if (it == entries_.end()) {
    result.next.revision = head_;
    result.complete = complete_;
    result.partial = partial_;
  }
  return result;
}

void Journal::AddListener(std::weak_ptr<JournalListener> listener) {
  std::lock_guard lock(listeners_mutex_);
  listeners_.push_back(std::move(listener));
}

void Journal::Notify() {
  std::vector<std::shared_ptr<JournalListener>> present;
  {
    std::lock_guard lock(listeners_mutex_);
    std::erase_if(listeners_, [](const auto& listener) { return listener.expired(); });
    for (const auto& listener : listeners_) {
      if (auto held = listener.lock()) present.push_back(std::move(held));
    }
  }
  for (const auto& listener : present) listener->OnJournalChanged();
}

uint64_t Journal::head_revision() const {
  std::shared_lock lock(mutex_);
  return head_;
}

bool Journal::complete() const {
  std::shared_lock lock(mutex_);
  return complete_;
}

JournalState Journal::State() const {
  std::shared_lock lock(mutex_);
  return {.head_revision = head_, .complete = complete_, .partial = partial_};
}

size_t Journal::object_count() const {
  std::shared_lock lock(mutex_);
  return entries_.size() - tombstones_.size();
}

}  // namespace fairlead
