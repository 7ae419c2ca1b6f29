#include "watcher/feed/picture_saver.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace fairlead {

void SaveSchedule::OnBegin(absl::Time now) {
  unsaved_ = false;
  began_ = now;
}

void SaveSchedule::OnEnd(absl::Time now, bool saved) {
  ended_ = now;
  wait_ = std::max(kMinSaveWait, kSaveWaitFactor * (now - began_));
  if (!saved) unsaved_ = true;
}

absl::Duration SaveSchedule::Remaining(absl::Time now) const {
  if (!unsaved_) return absl::InfiniteDuration();
  if (ended_ == absl::InfinitePast()) return absl::ZeroDuration();
  return std::clamp(ended_ + wait_ - now, absl::ZeroDuration(), wait_);
}

PictureSaver::PictureSaver(PictureSaverOptions options)
    : options_(std::move(options)), thread_([this] { Run(); }) {}

PictureSaver::~PictureSaver() { Stop(); }

void PictureSaver::Begin(const SavedPicture& picture) {
  std::lock_guard lock(mutex_);
  for (const Object& object : picture.objects) objects_[IdOf(object)] = object;
  position_ = picture.position;
  status_.saved = picture.saved;
  status_.position = picture.position;
}

void PictureSaver::Put(const FeedUpdate& update) {
  // Destroyed without the lock.
  absl::flat_hash_map<ObjectId, Object> former;
  {
    std::lock_guard lock(mutex_);
    if (update.snapshot) {
      former = std::exchange(objects_, {});
      // Of these the agent keeps what it has.
      for (const ObjectId& id : update.unreadable) {
        if (const auto it = former.find(id); it != former.end()) objects_.insert(*it);
      }
    }
    for (const ObjectId& id : update.removals) objects_.erase(id);
    for (const Object& object : update.upserts) objects_[IdOf(object)] = object;
    position_ = update.position;
    schedule_.OnChange();
  }
  changed_.notify_all();
}

void PictureSaver::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

PictureSaverStatus PictureSaver::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void PictureSaver::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const absl::Duration remaining = schedule_.Remaining(options_.now());
    if (remaining == absl::ZeroDuration()) {
      Save(lock);
    } else if (remaining == absl::InfiniteDuration()) {
      changed_.wait(lock);
    } else {
      changed_.wait_for(lock, absl::ToChronoNanoseconds(remaining));
    }
  }
  if (schedule_.unsaved()) Save(lock);
}

void PictureSaver::Save(std::unique_lock<std::mutex>& lock) {
  std::vector<Object> objects;
  objects.reserve(objects_.size());
  for (const auto& [id, object] : objects_) objects.push_back(object);
  const FeedPosition position = position_;
  const absl::Time began = options_.now();
  schedule_.OnBegin(began);
  lock.unlock();
  const absl::Status saved = options_.save(position, began, objects);
  const absl::Time ended = options_.now();
  objects.clear();
  lock.lock();
  schedule_.OnEnd(ended, saved.ok());
  ++status_.writes;
  const bool failed_before = !std::exchange(status_.error, saved).ok();
  if (saved.ok()) {
    status_.saved = began;
    status_.position = position;
    if (failed_before) spdlog::info("the picture is saved again");
  } else {
    ++status_.failures;
    if (!failed_before) {
      spdlog::warn("{}; a restart without a feeder would begin with an older picture",
                   std::string(saved.message()));
    }
  }
}

}  // namespace fairlead
