#include "watcher/feed/journal.h"

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "test/watcher/feed/objects.h"
#include "watcher/feed/feed_codec.h"

namespace fairlead {
namespace {

using feed_test::MakeService;
using feed_test::ServiceId;

constexpr size_t kAll = 1 << 20;
const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

std::vector<DecodedChange> Decode(const std::vector<BatchElement>& elements) {
  std::vector<DecodedChange> changes;
  for (const BatchElement& element : elements) {
    v1::Batch batch;
    REQUIRE(batch.ParseFromString(*element));
    REQUIRE(batch.changes_size() == 1);
    changes.push_back(DecodeChange(batch.changes(0)).value());
  }
  return changes;
}

// "3 +Service shop/cart" for a version, "4 -Service shop/cart" for a removal.
std::vector<std::string> Describe(const JournalRead& read) {
  std::vector<std::string> lines;
  for (const DecodedChange& change : Decode(read.changes)) {
    lines.push_back(absl::StrCat(change.revision, change.object ? " +" : " -", change.id.Format()));
  }
  return lines;
}

using Lines = std::vector<std::string>;

class CountingListener : public JournalListener {
 public:
  void OnJournalChanged() override { ++calls; }
  int calls = 0;
};

TEST_CASE("Each object is read once, at its latest revision") {
  Journal journal("e");
  journal.Upsert(MakeService("a", 1), kNow);
  journal.Upsert(MakeService("b"), kNow);
  journal.Upsert(MakeService("a", 2), kNow);

  const JournalRead read = journal.Read({}, kAll, "").value();

  CHECK(Describe(read) == Lines{"2 +Service shop/b", "3 +Service shop/a"});
  CHECK(SameValue(*Decode(read.changes)[1].object, MakeService("a", 2)));
  CHECK(Decode(read.changes)[0].triggered == kNow);
  CHECK(read.next.revision == 3);
  CHECK(journal.object_count() == 2);
}

TEST_CASE("All readers are given the same bytes") {
  Journal journal("e");
  journal.Upsert(MakeService("a"), kNow);
  CHECK(journal.Read({}, kAll, "")->changes[0] == journal.Read({}, kAll, "")->changes[0]);
}

TEST_CASE("What makes no difference gets no revision") {
  Journal journal("e");
  auto listener = std::make_shared<CountingListener>();
  const Picture picture = {{ServiceId("a"), MakeService("a")}};
  journal.Replace(picture, kNow);
  journal.AddListener(listener);

  journal.Upsert(MakeService("a"), kNow + absl::Seconds(1));
  journal.Replace({{ServiceId("a"), MakeService("a")}}, kNow);
  journal.Remove(ServiceId("b"), kNow);

  CHECK(journal.head_revision() == 1);
  CHECK(listener->calls == 0);
}

TEST_CASE("Replace commits the difference: what is new, what changed, what is gone") {
  Journal journal("e");
  for (const char* name : {"same", "changed", "gone"}) journal.Upsert(MakeService(name), kNow);

  journal.Replace({{ServiceId("same"), MakeService("same")},
                   {ServiceId("changed"), MakeService("changed", 1)},
                   {ServiceId("new"), MakeService("new")}},
                  kNow);

  CHECK(Describe(*journal.Read({.revision = 3}, kAll, "")) ==
        Lines{"4 -Service shop/gone", "5 +Service shop/changed", "6 +Service shop/new"});
}

TEST_CASE("A reader is told that it has everything only after MarkComplete") {
  Journal journal("e");
  CHECK(!journal.Read({}, kAll, "")->complete);
  journal.Upsert(MakeService("a"), kNow);
  CHECK(!journal.Read({}, kAll, "")->complete);
  journal.MarkComplete();
  CHECK(journal.Read({}, kAll, "")->complete);
  CHECK(journal.complete());
}

TEST_CASE("An empty journal can be complete") {
  Journal journal("e");
  journal.MarkComplete();
  const JournalRead read = journal.Read({}, kAll, "").value();
  CHECK(read.complete);
  CHECK(read.changes.empty());
  CHECK(read.next.revision == 0);
}

TEST_CASE("A read stays within its limit, gives at least one change, and is complete at the end") {
  Journal journal("e");
  for (const char* name : {"a", "b", "c"}) journal.Upsert(MakeService(name), kNow);
  journal.MarkComplete();
  const size_t size = journal.Read({}, kAll, "")->changes[0]->size();
  struct Case {
    const char* name;
    size_t limit;
    std::vector<size_t> reads;
  };
  const Case kCases[] = {
      {"no room for one", 0, {1, 1, 1}},
      {"room for one", size, {1, 1, 1}},
      {"one byte short of two", 2 * size - 1, {1, 1, 1}},
      {"room for two", 2 * size, {2, 1}},
      {"room for all", 3 * size, {3}},
  };
  for (const Case& test : kCases) {
    INFO(test.name);
    JournalCursor cursor;
    for (size_t i = 0; i < test.reads.size(); ++i) {
      const JournalRead read = journal.Read(cursor, test.limit, "").value();
      CHECK(read.changes.size() == test.reads[i]);
      CHECK(read.complete == (i + 1 == test.reads.size()));
      cursor = read.next;
    }
    CHECK(journal.Read(cursor, test.limit, "")->changes.empty());
  }
}

TEST_CASE("A removed object is read as a removal, and as an object when it is back") {
  Journal journal("e");
  journal.Upsert(MakeService("a"), kNow);
  journal.Remove(ServiceId("a"), kNow);
  CHECK(Describe(*journal.Read({.revision = 1}, kAll, "")) == Lines{"2 -Service shop/a"});
  journal.Upsert(MakeService("a"), kNow);
  CHECK(Describe(*journal.Read({.revision = 1}, kAll, "")) == Lines{"3 +Service shop/a"});
}

TEST_CASE(
    "A snapshot leaves out the removals before it, and has those that come while it is read") {
  Journal journal("e");
  for (const char* name : {"a", "b", "c"}) journal.Upsert(MakeService(name), kNow);
  journal.Remove(ServiceId("a"), kNow);
  journal.MarkComplete();
  const JournalStart start = journal.Open("", 0);
  CHECK(start.snapshot);

  const JournalRead first = journal.Read(start.cursor, 1, "").value();
  journal.Remove(ServiceId("b"), kNow);
  const JournalRead rest = journal.Read(first.next, kAll, "").value();

  CHECK(Describe(first) == Lines{"2 +Service shop/b"});
  CHECK(!first.complete);
  CHECK(Describe(rest) == Lines{"3 +Service shop/c", "5 -Service shop/b"});
  CHECK(rest.complete);
}

TEST_CASE("A reader resumes where the journal still covers it") {
  // Of four removals the first two are forgotten: the horizon is revision 6.
  Journal journal("e", /*max_tombstones=*/2);
  for (const char* name : {"a", "b", "c", "d"}) journal.Upsert(MakeService(name), kNow);
  for (const char* name : {"a", "b", "c", "d"}) journal.Remove(ServiceId(name), kNow);
  struct Case {
    const char* name;
    const char* epoch;
    uint64_t revision;
    bool snapshot;
  };
  const Case kCases[] = {
      {"has nothing", "", 0, true},         {"another epoch", "f", 8, true},
      {"before the horizon", "e", 5, true}, {"at the horizon", "e", 6, false},
      {"at the head", "e", 8, false},       {"after the head", "e", 9, true},
  };
  for (const Case& test : kCases) {
    INFO(test.name);
    CHECK(journal.Open(test.epoch, test.revision).snapshot == test.snapshot);
  }
  CHECK(Describe(*journal.Read(journal.Open("e", 6).cursor, kAll, "")) ==
        Lines{"7 -Service shop/c", "8 -Service shop/d"});
}

TEST_CASE("A reader that falls behind the horizon while it reads is told to begin again") {
  Journal journal("e", /*max_tombstones=*/1);
  for (const char* name : {"a", "b"}) journal.Upsert(MakeService(name), kNow);
  const JournalCursor snapshot = journal.Open("", 0).cursor;
  const JournalRead first = journal.Read(snapshot, 1, "").value();

  for (const char* name : {"a", "b"}) journal.Remove(ServiceId(name), kNow);

  CHECK(journal.Read(first.next, kAll, "").status().code() == absl::StatusCode::kOutOfRange);
  CHECK(journal.Read(journal.Open("", 0).cursor, kAll, "").ok());
}

TEST_CASE("Listeners hear of changes and of completion, until they are gone") {
  Journal journal("e");
  auto listener = std::make_shared<CountingListener>();
  journal.AddListener(listener);
  journal.Upsert(MakeService("a"), kNow);
  CHECK(listener->calls == 1);
  journal.Remove(ServiceId("a"), kNow);
  CHECK(listener->calls == 2);
  journal.MarkComplete();
  CHECK(listener->calls == 3);
  journal.MarkComplete();
  CHECK(listener->calls == 3);
  listener.reset();
  journal.Upsert(MakeService("a"), kNow);
}

TEST_CASE("Two journals have different epochs") {
  CHECK(Journal().epoch() != Journal().epoch());
  CHECK(!Journal().epoch().empty());
}

// A picture is all of one generation; Replace goes from one to the next while readers read.
TEST_CASE("No reader has a complete mark inside a Replace") {
  constexpr uint64_t kObjects = 20;
  constexpr uint64_t kGenerations = 200;
  Journal journal("e");
  const auto picture_of = [](uint64_t generation) {
    Picture picture;
    for (uint64_t i = 0; i < kObjects; ++i) {
      const std::string name = absl::StrCat("s", i);
      picture[ServiceId(name)] = MakeService(name, static_cast<int>(generation));
    }
    return picture;
  };
  journal.Replace(picture_of(0), kNow);
  journal.MarkComplete();

  std::thread writer([&] {
    for (uint64_t i = 1; i <= kGenerations; ++i) journal.Replace(picture_of(i), kNow);
  });
  Picture seen;
  JournalCursor cursor = journal.Open("", 0).cursor;
  int marks = 0;
  int mixed = 0;
  while (cursor.revision < kObjects * (kGenerations + 1)) {
    const JournalRead read = journal.Read(cursor, 400, "").value();
    for (const DecodedChange& change : Decode(read.changes)) seen[change.id] = *change.object;
    cursor = read.next;
    if (!read.complete) continue;
    ++marks;
    const auto& first = std::get<std::shared_ptr<const Service>>(seen.begin()->second);
    for (const auto& [id, object] : seen) {
      const auto& service = std::get<std::shared_ptr<const Service>>(object);
      mixed += service->cluster_ips != first->cluster_ips;
    }
  }
  writer.join();

  CHECK(marks > 0);
  CHECK(mixed == 0);
  CHECK(seen.size() == kObjects);
}

}  // namespace
}  // namespace fairlead
