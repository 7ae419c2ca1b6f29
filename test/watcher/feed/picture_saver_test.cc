#include "watcher/feed/picture_saver.h"

#include <catch2/catch.hpp>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "test/watcher/feed/objects.h"

namespace fairlead {
namespace {

using feed_test::MakeService;
using feed_test::Names;
using feed_test::ServiceId;
using feed_test::Signal;
using Lines = std::vector<std::string>;

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

TEST_CASE("A picture is saved after a change, and after the wait that the last write demands") {
  SaveSchedule schedule;
  CHECK(schedule.Remaining(kStart) == absl::InfiniteDuration());
  schedule.OnChange();
  CHECK(schedule.Remaining(kStart) == absl::ZeroDuration());

  // A short write: the shortest wait.
  schedule.OnBegin(kStart);
  absl::Time now = kStart + absl::Milliseconds(20);
  schedule.OnEnd(now, true);
  CHECK(schedule.Remaining(now) == absl::InfiniteDuration());
  schedule.OnChange();
  CHECK(schedule.Remaining(now + absl::Seconds(4)) == absl::Seconds(6));
  CHECK(schedule.Remaining(now + absl::Seconds(10)) == absl::ZeroDuration());
  CHECK(schedule.Remaining(now + absl::Hours(1)) == absl::ZeroDuration());
  // The clock was set back.
  CHECK(schedule.Remaining(now - absl::Hours(1)) == absl::Seconds(10));

  // A long write: a hundred times as long.
  now += absl::Seconds(10);
  schedule.OnBegin(now);
  now += absl::Seconds(2);
  schedule.OnEnd(now, true);
  schedule.OnChange();
  CHECK(schedule.Remaining(now) == absl::Seconds(200));
}

TEST_CASE("What changes while a picture is written is saved by the next write") {
  SaveSchedule schedule;
  schedule.OnChange();
  schedule.OnBegin(kStart);
  schedule.OnChange();
  schedule.OnEnd(kStart, true);
  CHECK(schedule.unsaved());
}

TEST_CASE("A write that failed is tried again after the wait") {
  SaveSchedule schedule;
  schedule.OnChange();
  schedule.OnBegin(kStart);
  schedule.OnEnd(kStart, false);
  CHECK(schedule.Remaining(kStart) == kMinSaveWait);
}

// A saver whose disk is a list of what was written, and whose clock is set by hand.
class Disk {
 public:
  PictureSaverOptions Options() {
    return {.save =
                [this](const FeedPosition& position, absl::Time when,
                       const std::vector<Object>& objects) {
                  absl::Status result;
                  {
                    std::lock_guard lock(mutex_);
                    result = result_;
                    writes_.push_back({position, when, Names(objects)});
                  }
                  signal_.Raise();
                  return result;
                },
            .now =
                [this] {
                  absl::Time result;
                  {
                    std::lock_guard lock(mutex_);
                    ended_ = writes_.size();
                    result = now_;
                  }
                  signal_.Raise();
                  return result;
                }};
  }

  struct Write {
    FeedPosition position;
    absl::Time when;
    Lines objects;
  };

  void Set(absl::Time now, absl::Status result = absl::OkStatus()) {
    std::lock_guard lock(mutex_);
    now_ = now;
    result_ = std::move(result);
  }
  // Waits until so many were made and the saver has read the clock at the end of the last one,
  // which it gives: a clock that is set before that would move the time of the next.
  Write Last(size_t count) {
    REQUIRE(signal_.Await([&] {
      std::lock_guard lock(mutex_);
      return ended_ >= count;
    }));
    std::lock_guard lock(mutex_);
    REQUIRE(writes_.size() == count);
    return writes_.back();
  }

 private:
  Signal signal_;
  std::mutex mutex_;
  absl::Time now_ = kStart;
  absl::Status result_;
  std::vector<Write> writes_;
  // How many were made when the clock was last read.
  size_t ended_ = 0;
};

FeedUpdate MakeSnapshot(uint64_t revision, std::vector<Object> upserts) {
  return {.position = {"e", revision}, .snapshot = true, .upserts = std::move(upserts)};
}

TEST_CASE("Updates add up to the picture that is saved") {
  Disk disk;
  PictureSaver saver(disk.Options());
  saver.Put(MakeSnapshot(1, {MakeService("a"), MakeService("b")}));
  Disk::Write write = disk.Last(1);
  CHECK(write.position == FeedPosition{"e", 1});
  CHECK(write.when == kStart);
  CHECK(write.objects == Lines{"Service shop/a", "Service shop/b"});

  saver.Put({.position = {"e", 2}, .upserts = {MakeService("c")}, .removals = {ServiceId("a")}});
  saver.Stop();
  write = disk.Last(2);
  CHECK(write.position == FeedPosition{"e", 2});
  CHECK(write.objects == Lines{"Service shop/b", "Service shop/c"});
}

TEST_CASE("After a new snapshot only its objects are saved, and what it could not say") {
  Disk disk;
  PictureSaver saver(disk.Options());
  saver.Begin({.position = {"d", 9},
               .saved = kStart - absl::Hours(1),
               .objects = {MakeService("gone"), MakeService("kept")}});
  CHECK(saver.status().position == FeedPosition{"d", 9});
  CHECK(saver.status().saved == kStart - absl::Hours(1));
  FeedUpdate update = MakeSnapshot(1, {MakeService("new")});
  update.unreadable = {ServiceId("kept"), ServiceId("never seen")};
  saver.Put(update);
  saver.Stop();
  CHECK(disk.Last(1).objects == Lines{"Service shop/kept", "Service shop/new"});
}

TEST_CASE("A delta after the start goes on from what the file held") {
  Disk disk;
  PictureSaver saver(disk.Options());
  saver.Begin({.position = {"e", 1}, .saved = kStart, .objects = {MakeService("a")}});
  saver.Put({.position = {"e", 2}, .upserts = {MakeService("b")}});
  saver.Stop();
  CHECK(disk.Last(1).objects == Lines{"Service shop/a", "Service shop/b"});
}

TEST_CASE("Nothing is written that is saved already") {
  Disk disk;
  {
    PictureSaver saver(disk.Options());
    saver.Put(MakeSnapshot(1, {}));
    disk.Last(1);
    saver.Stop();
    CHECK(saver.status().writes == 1);
  }
  PictureSaver idle(disk.Options());
  idle.Begin({.position = {"e", 1}, .saved = kStart, .objects = {}});
  idle.Stop();
  CHECK(idle.status().writes == 0);
  disk.Last(1);
}

TEST_CASE("A change is saved when its time has come") {
  Disk disk;
  PictureSaver saver(disk.Options());
  saver.Put(MakeSnapshot(1, {}));
  disk.Last(1);
  disk.Set(kStart + kMinSaveWait);
  saver.Put(MakeSnapshot(2, {}));
  CHECK(disk.Last(2).position == FeedPosition{"e", 2});
}

TEST_CASE("A failed write is counted, leaves what is saved, and is tried again") {
  Disk disk;
  PictureSaver saver(disk.Options());
  disk.Set(kStart, absl::ResourceExhaustedError("saved picture p: full"));
  saver.Put(MakeSnapshot(1, {MakeService("a")}));
  disk.Last(1);
  saver.Stop();
  // At Stop once more.
  disk.Last(2);
  const PictureSaverStatus status = saver.status();
  CHECK(status.writes == 2);
  CHECK(status.failures == 2);
  CHECK(status.position == FeedPosition{});
  CHECK(status.saved == absl::InfinitePast());
  CHECK(status.error == absl::ResourceExhaustedError("saved picture p: full"));
}

TEST_CASE("A write that succeeds after a failed one ends the error") {
  Disk disk;
  PictureSaver saver(disk.Options());
  disk.Set(kStart, absl::ResourceExhaustedError("full"));
  saver.Put(MakeSnapshot(1, {}));
  disk.Last(1);
  disk.Set(kStart + kMinSaveWait);
  saver.Put(MakeSnapshot(2, {}));
  disk.Last(2);
  saver.Stop();
  const PictureSaverStatus status = saver.status();
  CHECK(status.error.ok());
  CHECK(status.failures == 1);
  CHECK(status.position == FeedPosition{"e", 2});
  CHECK(status.saved == kStart + kMinSaveWait);
}

}  // namespace
}  // namespace fairlead
