#include "watcher/feed/read_cache.h"

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "fairlead/v1/feed.pb.h"
#include "test/watcher/feed/objects.h"

namespace fairlead {
namespace {

using feed_test::MakeNode;
using feed_test::MakeService;
using feed_test::ServiceId;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

TEST_CASE("Readers at one place share a message, until something changes") {
  Journal journal("e");
  journal.Upsert(MakeService("a"), kNow);
  ReadCache reads(journal);
  const auto first = reads.Read({}, "n1").value();
  CHECK(first->has_changes);
  CHECK(!first->complete);
  CHECK(reads.Read({}, "n2").value() == first);
  CHECK(reads.Read({.revision = 1}, "n2").value() != first);

  journal.MarkComplete();
  const auto complete = reads.Read({}, "n1").value();
  CHECK(complete->complete);
  CHECK(reads.Read({}, "n2").value() == complete);

  journal.Upsert(MakeService("b"), kNow);
  CHECK(reads.Read({}, "n1").value()->next.revision == 2);
  reads.Clear();
  CHECK(reads.Read({}, "n1").value()->next.revision == 2);
}

TEST_CASE("What holds Nodes is read for each reader") {
  Journal journal("e");
  journal.Upsert(MakeNode("n1"), kNow);
  journal.MarkComplete();
  ReadCache reads(journal);
  CHECK(reads.Read({}, "n1").value()->has_changes);
  CHECK(!reads.Read({}, "n2").value()->has_changes);
  CHECK(reads.Read({}, "n1").value()->has_changes);
}

TEST_CASE("A reader that is too far behind is told so, whatever was kept") {
  Journal journal("e", /*max_tombstones=*/1);
  for (const char* name : {"a", "b", "c"}) journal.Upsert(MakeService(name), kNow);
  ReadCache reads(journal);
  CHECK(reads.Read({.revision = 3}, "n1").ok());
  for (const char* name : {"a", "b"}) journal.Remove(ServiceId(name), kNow);
  CHECK(reads.Read({.revision = 3}, "n1").status().code() == absl::StatusCode::kOutOfRange);
}

TEST_CASE("Readers and a writer at once: each reader ends with the last revision") {
  Journal journal("e");
  journal.MarkComplete();
  ReadCache reads(journal);
  constexpr int kChanges = 2000;
  std::vector<uint64_t> reached(3);
  std::vector<std::thread> readers;
  for (uint64_t& last : reached) {
    readers.emplace_back([&reads, &last] {
      JournalCursor cursor;
      while (cursor.revision < kChanges) {
        const auto read = reads.Read(cursor, "n1").value();
        // The mark is always that of the place it leads to.
        v1::SubscribeResponse response;
        std::vector<grpc::Slice> slices;
        if (!read->message.Dump(&slices).ok() || slices.size() != 1) return;
        response.ParseFromArray(slices[0].begin(), static_cast<int>(slices[0].size()));
        if (response.batch().complete_revision() != read->next.revision) return;
        cursor = read->next;
      }
      last = cursor.revision;
    });
  }
  for (int i = 1; i <= kChanges; ++i) journal.Upsert(MakeService("a", i), kNow);
  for (std::thread& reader : readers) reader.join();
  CHECK(reached == std::vector<uint64_t>(3, kChanges));
}

}  // namespace
}  // namespace fairlead
