#include "proxy/reconcile/retry_queue.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

using Keys = std::set<std::string>;

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

TEST_CASE("waits double with each failure up to the limit, and begin again after a success") {
  RetryQueue<std::string> queue;
  absl::Time now = kStart;
  std::vector<absl::Duration> waits;
  for (int i = 0; i < 11; ++i) {
    queue.Failed("a", "why", now);
    waits.push_back(queue.NextDue() - now);
    now = queue.NextDue();
    REQUIRE(queue.TakeDue(now) == Keys{"a"});
  }
  CHECK(waits == std::vector<absl::Duration>{absl::Milliseconds(100), absl::Milliseconds(200),
                                             absl::Milliseconds(400), absl::Milliseconds(800),
                                             absl::Milliseconds(1600), absl::Milliseconds(3200),
                                             absl::Milliseconds(6400), absl::Milliseconds(12800),
                                             absl::Milliseconds(25600), kLastRetry, kLastRetry});
  queue.Succeeded("a");
  CHECK(queue.size() == 0);
  CHECK(queue.NextDue() == absl::InfiniteFuture());
  queue.Failed("a", "why", now);
  CHECK(queue.NextDue() == now + kFirstRetry);
}

TEST_CASE("a key is due when its wait is over, and not before") {
  RetryQueue<std::string> queue;
  queue.Failed("a", "no memory", kStart);
  queue.Failed("b", "no", kStart + absl::Milliseconds(50));
  CHECK(queue.NextDue() == kStart + absl::Milliseconds(100));
  CHECK(queue.TakeDue(kStart + absl::Milliseconds(99)) == Keys{});
  CHECK(queue.TakeDue(kStart + absl::Milliseconds(100)) == Keys{"a"});
  CHECK(queue.TakeDue(kStart + absl::Milliseconds(150)) == Keys{"b"});
  CHECK(queue.Reasons() == std::map<std::string, std::string>{{"a", "no memory"}, {"b", "no"}});
}

TEST_CASE("a key that was taken and never heard of again comes back") {
  RetryQueue<std::string> queue;
  queue.Failed("a", "why", kStart);
  const absl::Time due = queue.NextDue();
  CHECK(queue.TakeDue(due) == Keys{"a"});
  CHECK(queue.TakeDue(due) == Keys{});
  CHECK(queue.NextDue() == due + absl::Milliseconds(100));
  CHECK(queue.TakeDue(queue.NextDue()) == Keys{"a"});
  CHECK(queue.Contains("a"));
}

TEST_CASE("the success of a key that never failed changes nothing") {
  RetryQueue<std::string> queue;
  queue.Succeeded("a");
  queue.Failed("a", "first", kStart);
  queue.Failed("a", "second", kStart);
  queue.Succeeded("b");
  CHECK(queue.Contains("a"));
  CHECK_FALSE(queue.Contains("b"));
  CHECK(queue.Reasons() == std::map<std::string, std::string>{{"a", "second"}});
}

}  // namespace
}  // namespace fairlead
