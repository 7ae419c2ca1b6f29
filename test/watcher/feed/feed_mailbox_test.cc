#include "watcher/feed/feed_mailbox.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "test/watcher/feed/objects.h"
#include "watcher/feed/apply.h"

namespace fairlead {
namespace {

using feed_test::MakeNode;
using feed_test::MakeService;
using feed_test::MakeSlice;
using feed_test::Names;
using feed_test::ServiceId;
using Lines = std::vector<std::string>;

absl::Time At(int seconds) { return absl::FromUnixSeconds(seconds); }

FeedUpdate Snapshot1(std::vector<Object> objects) {
  return {.position = {"e", 1}, .snapshot = true, .upserts = std::move(objects), .received = At(1)};
}

FeedUpdate Delta(uint64_t revision, std::vector<Object> upserts, std::vector<ObjectId> removals) {
  return {.position = {"e", revision},
          .upserts = std::move(upserts),
          .removals = std::move(removals),
          .received = At(static_cast<int>(revision)),
          .oldest_trigger = At(100 + static_cast<int>(revision))};
}

TEST_CASE("A mailbox is empty until something is put, and after it was taken") {
  int wakes = 0;
  FeedMailbox mailbox([&] { ++wakes; });
  CHECK(!mailbox.Take());
  mailbox.Put(Snapshot1({}));
  CHECK(wakes == 1);
  const std::optional<FeedUpdate> update = mailbox.Take();
  REQUIRE(update);
  CHECK(update->snapshot);
  CHECK(!mailbox.Take());
}

TEST_CASE("Updates that were not taken are merged by object, in the order they came") {
  struct Case {
    const char* name;
    std::vector<FeedUpdate> taken;  // Taken before.
    std::vector<FeedUpdate> put;
    bool snapshot;
    Lines upserts;
    Lines removals;
  };
  const Lines a = {"Service shop/a"};
  const Lines ab = {"Service shop/a", "Service shop/b"};
  const Case kCases[] = {
      {"two upserts",
       {Snapshot1({})},
       {Delta(2, {MakeService("a", 1)}, {}), Delta(3, {MakeService("a", 2)}, {})},
       false,
       a,
       {}},
      {"upsert and removal of what the taker has",
       {Snapshot1({MakeService("a")})},
       {Delta(2, {MakeService("a", 1)}, {}), Delta(3, {}, {ServiceId("a")})},
       false,
       {},
       a},
      {"what came and went unseen",
       {Snapshot1({})},
       {Delta(2, {MakeService("a")}, {}), Delta(3, {}, {ServiceId("a")})},
       false,
       {},
       {}},
      {"removal and return",
       {Snapshot1({MakeService("a")})},
       {Delta(2, {}, {ServiceId("a")}), Delta(3, {MakeService("a", 1)}, {})},
       false,
       a,
       {}},
      {"snapshot and upsert",
       {},
       {Snapshot1({MakeService("a")}), Delta(2, {MakeService("b")}, {})},
       true,
       ab,
       {}},
      {"snapshot and removal",
       {},
       {Snapshot1({MakeService("a"), MakeService("b")}), Delta(2, {}, {ServiceId("b")})},
       true,
       a,
       {}},
      {"delta and snapshot",
       {},
       {Delta(2, {MakeService("b")}, {ServiceId("c")}), Snapshot1({MakeService("a")})},
       true,
       a,
       {}},
  };
  for (const Case& test : kCases) {
    INFO(test.name);
    FeedMailbox mailbox([] {});
    for (const FeedUpdate& update : test.taken) {
      mailbox.Put(update);
      mailbox.Take();
    }
    for (const FeedUpdate& update : test.put) mailbox.Put(update);

    const std::optional<FeedUpdate> merged = mailbox.Take();

    REQUIRE(merged);
    CHECK(merged->snapshot == test.snapshot);
    CHECK(Names(merged->upserts) == test.upserts);
    CHECK(Names(merged->removals) == test.removals);
    CHECK(merged->position == test.put.back().position);
  }
}

TEST_CASE("A merged update has the latest version and the oldest times") {
  FeedMailbox mailbox([] {});
  mailbox.Put(Delta(4, {MakeService("a", 1)}, {}));
  mailbox.Put(Delta(5, {MakeService("a", 2)}, {}));
  const std::optional<FeedUpdate> merged = mailbox.Take();
  REQUIRE(merged);
  CHECK(SameValue(merged->upserts.at(0), MakeService("a", 2)));
  CHECK(merged->received == At(4));
  CHECK(merged->oldest_trigger == At(104));
}

TEST_CASE("An unreadable object of a snapshot keeps the version that was not taken yet") {
  FeedMailbox mailbox([] {});
  mailbox.Put(Delta(2, {MakeService("a"), MakeService("b")}, {}));
  FeedUpdate snapshot = Snapshot1({});
  snapshot.unreadable = {ServiceId("a"), ServiceId("x")};
  mailbox.Put(snapshot);
  const std::optional<FeedUpdate> merged = mailbox.Take();
  REQUIRE(merged);
  CHECK(Names(merged->upserts) == Lines{"Service shop/a"});
  CHECK(Names(merged->unreadable) == Lines{"Service shop/x"});
}

TEST_CASE("Objects that come and go while nobody takes leave nothing behind") {
  FeedMailbox mailbox([] {});
  mailbox.Put(Snapshot1({MakeService("a")}));
  mailbox.Take();
  for (int i = 0; i < 100; ++i) {
    const std::string name = absl::StrCat("s", i);
    mailbox.Put(Delta(2, {MakeService(name)}, {}));
    mailbox.Put(Delta(3, {}, {ServiceId(name)}));
  }
  mailbox.Put(Delta(4, {}, {ServiceId("a")}));
  const std::optional<FeedUpdate> merged = mailbox.Take();
  REQUIRE(merged);
  CHECK(merged->upserts.empty());
  CHECK(Names(merged->removals) == Lines{"Service shop/a"});
}

TEST_CASE("A snapshot that is applied again makes nothing dirty") {
  const FeedUpdate update =
      Snapshot1({MakeService("a"), MakeSlice("a-x", "a"), MakeNode("n1", "z")});
  Snapshot snapshot;
  ApplyUpdate(update, snapshot);
  CHECK(snapshot.TakeDirtyServices().size() == 1);
  CHECK(snapshot.TakeDirtyNodes().size() == 1);

  ApplyUpdate(Snapshot1({MakeService("a"), MakeSlice("a-x", "a"), MakeNode("n1", "z")}), snapshot);

  CHECK(snapshot.TakeDirtyServices().empty());
  CHECK(snapshot.TakeDirtyNodes().empty());
}

TEST_CASE("A snapshot removes what is not in it, but for what could not be read") {
  Snapshot snapshot;
  ApplyUpdate(Snapshot1({MakeService("a"), MakeService("b"), MakeService("c"),
                         MakeSlice("b-x", "b"), MakeNode("n1")}),
              snapshot);
  snapshot.TakeDirtyServices();

  FeedUpdate update = Snapshot1({MakeService("a")});
  update.unreadable = {ServiceId("c")};
  ApplyUpdate(update, snapshot);

  CHECK(snapshot.TakeDirtyServices() == std::set<ObjectName>{{"shop", "b"}});
  CHECK(snapshot.Ids() == std::set<ObjectId>{ServiceId("a"), ServiceId("c")});
}

TEST_CASE("A slice that moves to another Service makes both dirty") {
  Snapshot snapshot;
  ApplyUpdate(Snapshot1({MakeSlice("x", "a")}), snapshot);
  snapshot.TakeDirtyServices();
  ApplyUpdate(Delta(2, {MakeSlice("x", "b")}, {}), snapshot);
  CHECK(snapshot.TakeDirtyServices() == std::set<ObjectName>{{"shop", "a"}, {"shop", "b"}});
}

}  // namespace
}  // namespace fairlead
