// Small parts of the server that only count and remember.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "watcher/feed/commit_times.h"
#include "watcher/feed/rate_limit.h"
#include "watcher/feed/snapshot_gate.h"

namespace fairlead {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

TEST_CASE("A rate limit lets a burst through, and then so many a second") {
  struct Step {
    double at;
    bool taken;
  };
  RateLimit limit(2, 3);
  const Step kSteps[] = {{0, true},    {0, true},    {0, true},    {0, false},  {0.4, false},
                         {0.5, true},  {0.5, false}, {100, true},  {100, true}, {100, true},
                         {100, false}, {99, false},  {100.5, true}};
  for (const Step& step : kSteps) {
    INFO(step.at);
    CHECK(limit.Take(kNow + absl::Seconds(step.at)) == step.taken);
  }
}

TEST_CASE("Commit times tell since when a revision is old, as far back as they reach") {
  const auto at = [](int seconds) { return kNow + absl::Seconds(seconds); };
  CommitTimes times(3);
  CHECK(times.SupersededAt(0) == absl::InfiniteFuture());
  times.Note(0, at(0));
  times.Note(5, at(1));
  times.Note(5, at(2));
  times.Note(9, at(3));
  CHECK(times.SupersededAt(0) == at(1));
  CHECK(times.SupersededAt(4) == at(1));
  CHECK(times.SupersededAt(5) == at(3));
  CHECK(times.SupersededAt(9) == absl::InfiniteFuture());
  CHECK(times.ReachedAt(0) == absl::InfinitePast());
  CHECK(times.ReachedAt(5) == at(1));
  CHECK(times.ReachedAt(6) == at(3));
  times.Note(12, at(4));
  times.Note(13, at(5));
  // The first moments are forgotten: the oldest one that is known stands for them.
  CHECK(times.SupersededAt(0) == at(3));
}

TEST_CASE("So many have a place at once, the others wait in their order") {
  using Names = std::vector<std::string>;
  const auto names = [](const std::vector<std::shared_ptr<std::string>>& readers) {
    Names result;
    for (const auto& reader : readers) result.push_back(*reader);
    return result;
  };
  std::vector<std::shared_ptr<std::string>> readers;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    readers.push_back(std::make_shared<std::string>(name));
  }
  const auto& [a, b, c, d, e, f] =
      std::tie(readers[0], readers[1], readers[2], readers[3], readers[4], readers[5]);
  SnapshotGate<std::string> gate(2, absl::Seconds(10));
  CHECK(gate.Enter(a, kNow));
  CHECK(gate.Enter(b, kNow + absl::Seconds(5)));
  CHECK(!gate.Enter(c, kNow));
  CHECK(!gate.Enter(d, kNow));
  CHECK(!gate.Enter(e, kNow));
  CHECK(!gate.Enter(f, kNow));
  // One that waits goes away, and one that is not known.
  CHECK(names(gate.Leave(d.get(), kNow)) == Names{});
  const std::string stranger;
  CHECK(names(gate.Leave(&stranger, kNow)) == Names{});
  CHECK(names(gate.Leave(a.get(), kNow + absl::Seconds(6))) == Names{"c"});
  CHECK(names(gate.Expire(kNow + absl::Seconds(15))) == Names{});
  // The one that came at 5 does not count any more, though it has not left.
  CHECK(names(gate.Expire(kNow + absl::Seconds(16))) == Names{"e"});
  CHECK(names(gate.Leave(b.get(), kNow + absl::Seconds(16))) == Names{});
  CHECK(names(gate.Leave(c.get(), kNow + absl::Seconds(16))) == Names{"f"});
}

}  // namespace
}  // namespace fairlead
