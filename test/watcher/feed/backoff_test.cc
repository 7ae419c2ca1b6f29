#include "watcher/feed/backoff.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

TEST_CASE("Waits double up to the limit, each shortened by at most a half") {
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(1), /*seed=*/7);
  for (const int full : {100, 200, 400, 800, 1000, 1000, 1000}) {
    const absl::Duration wait = backoff.Next();
    CHECK(wait <= absl::Milliseconds(full));
    CHECK(wait >= absl::Milliseconds(full) / 2);
  }
}

TEST_CASE("After a reset the first wait comes again") {
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(1), /*seed=*/7);
  for (int i = 0; i < 5; ++i) backoff.Next();
  backoff.Reset();
  CHECK(backoff.Next() <= absl::Milliseconds(100));
}

TEST_CASE("Two who failed together do not wait equally long") {
  Backoff one(absl::Seconds(1), absl::Seconds(1), /*seed=*/1);
  Backoff other(absl::Seconds(1), absl::Seconds(1), /*seed=*/2);
  CHECK(one.Next() != other.Next());
}

}  // namespace
}  // namespace fairlead
