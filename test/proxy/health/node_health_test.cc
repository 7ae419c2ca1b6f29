#include "proxy/health/node_health.h"

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fairlead {

std::ostream& operator<<(std::ostream& out, const NodeHealth::Verdict& verdict) {
  return out << "healthy " << verdict.healthy << ", eligible " << verdict.eligible << ", updated "
             << verdict.last_updated << ", pending "
             << verdict.oldest_pending.value_or(absl::InfiniteFuture());
}

namespace {

using Verdict = NodeHealth::Verdict;

const absl::Duration kSyncPeriod = absl::Seconds(30);
const absl::Duration kLimit = 2 * kSyncPeriod;
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);
const FeedFreshness kFeed = {.connected = true,
                             .feeder = "10.0.0.5:10270",
                             .revision = 7,
                             .head_revision = 9,
                             .current_as_of = kStart - absl::Seconds(2),
                             .saved = true};
constexpr char kFeedJson[] =
    R"(,"feed":{"connected":true,"feeder":"10.0.0.5:10270","revision":7,"headRevision":9,)"
    R"("currentAsOf":"2023-11-14T22:13:18Z","ageSeconds":3,"savedPicture":true}})";

TEST_CASE("an agent that has had nothing to do is healthy") {
  const NodeHealth health(kSyncPeriod);
  CHECK(health.Check(kStart) == Verdict{true, true, kStart, std::nullopt});
}

TEST_CASE("a change may wait for twice the sync period and no longer") {
  NodeHealth health(kSyncPeriod);
  health.ChangesDone(kStart);
  const absl::Time since = kStart + absl::Seconds(5);
  health.ChangePending(since);
  CHECK(health.Check(since) == Verdict{true, true, kStart, since});
  CHECK(health.Check(since + kLimit) == Verdict{true, true, kStart, since});
  const absl::Time late = since + kLimit + absl::Nanoseconds(1);
  CHECK(health.Check(late) == Verdict{false, true, kStart, since});
  health.ChangesDone(late);
  CHECK(health.Check(late) == Verdict{true, true, late, std::nullopt});
  CHECK(health.Check(late + kLimit * 10) == Verdict{true, true, late + kLimit * 10, std::nullopt});
}

TEST_CASE("the oldest change counts, in whatever order they are told") {
  const auto [first, second] = GENERATE(values<std::pair<int, int>>({{0, 10}, {10, 0}}));
  CAPTURE(first, second);
  NodeHealth health(kSyncPeriod);
  health.ChangePending(kStart + absl::Seconds(first));
  health.ChangePending(kStart + absl::Seconds(second));
  CHECK(health.Check(kStart + kLimit + absl::Seconds(1)) ==
        Verdict{false, true, absl::InfinitePast(), kStart});
}

TEST_CASE("a change after others were done waits from its own time") {
  NodeHealth health(kSyncPeriod);
  health.ChangePending(kStart);
  health.ChangesDone(kStart + absl::Seconds(1));
  const absl::Time since = kStart + kLimit;
  health.ChangePending(since);
  CHECK(health.Check(since + kLimit) == Verdict{true, true, kStart + absl::Seconds(1), since});
}

TEST_CASE("eligibility says nothing of health") {
  NodeHealth health(kSyncPeriod);
  health.SetEligible(false);
  CHECK(health.Check(kStart) == Verdict{true, false, kStart, std::nullopt});
  health.SetEligible(true);
  CHECK(health.Check(kStart) == Verdict{true, true, kStart, std::nullopt});
}

TEST_CASE("paths are answered by what concerns them") {
  struct Case {
    std::string name;
    std::string path;
    bool healthy;
    bool eligible;
    int status;
    std::string body;
  };
  const std::string times =
      R"({"lastUpdated":"2023-11-14T22:13:20Z","currentTime":"2023-11-14T22:13:21.5Z")";
  const Case c = GENERATE_COPY(values<Case>({
      {"healthz, well", "/healthz", true, true, 200, times + R"(,"nodeEligible":true)" + kFeedJson},
      {"healthz, late", "/healthz", false, true, 503,
       times + R"(,"nodeEligible":true)" + kFeedJson},
      {"healthz, node goes", "/healthz", true, false, 503,
       times + R"(,"nodeEligible":false)" + kFeedJson},
      {"healthz, both", "/healthz", false, false, 503,
       times + R"(,"nodeEligible":false)" + kFeedJson},
      {"livez, well", "/livez", true, true, 200, times + "}"},
      {"livez, late", "/livez", false, true, 503, times + "}"},
      {"livez, node goes", "/livez", true, false, 200, times + "}"},
  }));
  CAPTURE(c.name);
  CHECK(AnswerNodeHealth(c.path, {c.healthy, c.eligible, kStart, std::nullopt}, kFeed,
                         kStart + absl::Milliseconds(1500)) ==
        HttpResponse{c.status,
                     {{"Content-Type", "application/json"}, {"X-Content-Type-Options", "nosniff"}},
                     c.body});
}

TEST_CASE("other paths are not found") {
  const std::string path =
      GENERATE(values<std::string>({"/", "", "/healthz/", "/healthzz", "/Livez", "/readyz"}));
  CAPTURE(path);
  CHECK(AnswerNodeHealth(path, {}, kFeed, kStart) ==
        HttpResponse{404, {{"Content-Type", "text/plain"}}, "not found\n"});
}

TEST_CASE("an agent that is ready stays so; one that has tried was refused") {
  NodeHealth health(kSyncPeriod);
  CHECK(health.readiness() == NodeReadiness::kWaiting);
  health.ChangePending(kStart);
  CHECK(health.readiness() == NodeReadiness::kWaiting);
  health.ChangesDone(kStart);
  CHECK(health.readiness() == NodeReadiness::kRefused);
  health.SetReady();
  CHECK(health.readiness() == NodeReadiness::kReady);
  health.ChangePending(kStart);
  CHECK(health.readiness() == NodeReadiness::kReady);
}

TEST_CASE("readiness says what is waited for") {
  struct Case {
    std::string name;
    FeedFreshness feed;
    std::string waits_for;
    NodeReadiness readiness = NodeReadiness::kWaiting;
  };
  const std::vector<Case> cases = {
      {"nobody is known", {}, "a feeder"},
      {"a feeder is away",
       {.feeder = "10.0.0.5:10270"},
       "a connection: 10.0.0.5:10270 does not answer"},
      {"a feeder has no picture",
       {.connected = true, .feeder = "in process"},
       "the first complete picture of in process"},
      {"the kernel is being written",
       {.connected = true, .feeder = "f", .revision = 1, .current_as_of = kStart},
       "the kernel, which gets the first picture"},
      {"a feeder is level with the agent, as neither has anything",
       {.connected = true, .feeder = "f", .current_as_of = kStart},
       "the first complete picture of f"},
      {"the kernel is being written from disk",
       {.feeder = "f", .current_as_of = kStart, .saved = true},
       "the kernel, which gets the saved picture"},
      {"the kernel refuses", kFeed,
       "the kernel, which has refused most of what is wanted: the log says why",
       NodeReadiness::kRefused},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    CHECK(DescribeWait(c.readiness, c.feed) == c.waits_for);
    const HttpResponse waiting = AnswerReadiness(c.readiness, c.feed, kStart);
    CHECK(waiting.status == 503);
    CHECK(absl::StartsWith(waiting.body, absl::StrCat(R"({"ready":false,"waitsFor":")", c.waits_for,
                                                      R"(","currentTime":)")));
    CHECK(AnswerReadiness(NodeReadiness::kReady, c.feed, kStart).status == 200);
  }
  CHECK(AnswerReadiness(NodeReadiness::kReady, kFeed, kStart + absl::Seconds(1)) ==
        HttpResponse{
            200,
            {{"Content-Type", "application/json"}, {"X-Content-Type-Options", "nosniff"}},
            R"({"ready":true,"currentTime":"2023-11-14T22:13:21Z")" + std::string(kFeedJson)});
}

TEST_CASE("an agent that never was done says so by the year 1") {
  NodeHealth health(kSyncPeriod);
  health.ChangePending(kStart);
  CHECK(AnswerNodeHealth("/livez", health.Check(kStart), kFeed, kStart).body ==
        R"({"lastUpdated":"0001-01-01T00:00:00Z","currentTime":"2023-11-14T22:13:20Z"})");
}

}  // namespace
}  // namespace fairlead
