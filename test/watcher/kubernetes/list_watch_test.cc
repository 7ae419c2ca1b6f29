#include "watcher/kubernetes/list_watch.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "watcher/kubernetes/resource.h"
#include "watcher/kubernetes/trouble.h"

namespace fairlead::kubernetes {
namespace {

using Kind = RequestFailure::Kind;

RequestFailure Failure(Kind kind, std::optional<absl::Duration> retry_after = std::nullopt) {
  return {.kind = kind, .cause = "x", .message = "x", .retry_after = retry_after};
}

// "list", "list c1", "watch 7" or "wait"; waits are between half of the Backoff's and all of it.
std::string Describe(const ListWatch::Step& step) {
  if (const auto* list = std::get_if<ListWatch::List>(&step)) {
    return list->continue_token.empty() ? "list" : absl::StrCat("list ", list->continue_token);
  }
  if (const auto* watch = std::get_if<ListWatch::Watch>(&step)) {
    return absl::StrCat("watch ", watch->resource_version);
  }
  return "wait";
}

std::string NextOf(ListWatch& plan) { return Describe(plan.Next()); }

ListWatch MakePlan() { return ListWatch(absl::Seconds(1), absl::Seconds(8), /*seed=*/1); }

// One that has listed and watches from version 7.
ListWatch MakeWatching() {
  ListWatch plan = MakePlan();
  REQUIRE(plan.PageDone({"7", ""}));
  REQUIRE(NextOf(plan) == "watch 7");
  return plan;
}

absl::Duration WaitOf(ListWatch& plan) {
  const ListWatch::Step step = plan.Next();
  REQUIRE(std::holds_alternative<ListWatch::Wait>(step));
  return std::get<ListWatch::Wait>(step).time;
}

TEST_CASE("a list goes on from page to page and ends in a watch from the first page's version") {
  ListWatch plan = MakePlan();
  CHECK(NextOf(plan) == "list");
  CHECK_FALSE(plan.PageDone({"7", "c1"}));
  CHECK(NextOf(plan) == "list c1");
  CHECK_FALSE(plan.PageDone({"8", "c2"}));
  CHECK(NextOf(plan) == "list c2");
  CHECK(plan.PageDone({"9", ""}));
  CHECK(NextOf(plan) == "watch 7");
  plan.Advanced("12");
  CHECK(NextOf(plan) == "watch 12");
}

TEST_CASE("what follows a failure in the middle of a list") {
  struct Case {
    const char* name;
    RequestFailure failure;
    std::vector<std::string> steps;
  };
  const Case cases[] = {
      {"the continue token is too old", Failure(Kind::kGone), {"list"}},
      {"the token has just been replaced", Failure(Kind::kUnauthorized), {"list c1"}},
      {"the continue token makes no sense to it", Failure(Kind::kRefused), {"wait", "list"}},
      {"an error", Failure(Kind::kServer), {"wait", "list c1"}},
      {"no connection", Failure(Kind::kUnavailable), {"wait", "list c1"}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    ListWatch plan = MakePlan();
    REQUIRE_FALSE(plan.PageDone({"7", "c1"}));
    plan.Failed(c.failure);
    for (const std::string& step : c.steps) CHECK(NextOf(plan) == step);
  }
}

TEST_CASE("what follows a failure of a watch") {
  struct Case {
    const char* name;
    RequestFailure failure;
    std::vector<std::string> steps;
  };
  const Case cases[] = {
      {"too old", Failure(Kind::kGone), {"list"}},
      {"the token has just been replaced", Failure(Kind::kUnauthorized), {"watch 7"}},
      {"it is refused", Failure(Kind::kRefused), {"wait", "list"}},
      {"an error", Failure(Kind::kServer), {"wait", "watch 7"}},
      {"a cut connection", Failure(Kind::kUnavailable), {"wait", "watch 7"}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    ListWatch plan = MakeWatching();
    plan.Failed(c.failure);
    for (const std::string& step : c.steps) CHECK(NextOf(plan) == step);
  }
}

TEST_CASE("a watch that ended as it should goes on at once") {
  ListWatch plan = MakeWatching();
  plan.WatchSucceeded();
  CHECK(NextOf(plan) == "watch 7");
}

TEST_CASE("waits double up to the limit and begin again after a success") {
  ListWatch plan = MakeWatching();
  for (const int seconds : {1, 2, 4, 8, 8}) {
    plan.Failed(Failure(Kind::kUnavailable));
    const absl::Duration wait = WaitOf(plan);
    CHECK(wait >= absl::Seconds(seconds) / 2);
    CHECK(wait <= absl::Seconds(seconds));
  }
  plan.WatchSucceeded();
  CHECK(plan.Failed(Failure(Kind::kUnavailable)) <= absl::Seconds(1));
}

TEST_CASE("a list that works does not make up for a watch that does not") {
  ListWatch plan = MakeWatching();
  absl::Duration wait;
  for (int i = 0; i < 5; ++i) {
    wait = plan.Failed(Failure(Kind::kRefused));
    REQUIRE(plan.PageDone({"7", ""}));
  }
  CHECK(wait >= absl::Seconds(4));
}

TEST_CASE("the API server's wish to be left alone counts where it is longer") {
  ListWatch plan = MakeWatching();
  plan.Failed(Failure(Kind::kUnavailable, absl::Seconds(17)));
  CHECK(WaitOf(plan) == absl::Seconds(17));
  plan.Failed(Failure(Kind::kUnavailable, absl::Milliseconds(1)));
  CHECK(WaitOf(plan) >= absl::Seconds(1));
}

TEST_CASE("one 410 lists at once, one after the other waits") {
  ListWatch plan = MakeWatching();
  CHECK(plan.Failed(Failure(Kind::kGone)) == absl::ZeroDuration());
  REQUIRE(plan.PageDone({"9", ""}));
  CHECK(plan.Failed(Failure(Kind::kGone)) > absl::ZeroDuration());
  CHECK(NextOf(plan) == "wait");
  CHECK(NextOf(plan) == "list");
  REQUIRE(plan.PageDone({"11", ""}));
  plan.Advanced("12");
  CHECK(plan.Failed(Failure(Kind::kGone)) == absl::ZeroDuration());
}

TEST_CASE("one 401 is tried again at once, one after the other waits") {
  ListWatch plan = MakeWatching();
  CHECK(plan.Failed(Failure(Kind::kUnauthorized)) == absl::ZeroDuration());
  CHECK(plan.Failed(Failure(Kind::kUnauthorized)) > absl::ZeroDuration());
  CHECK(NextOf(plan) == "wait");
  CHECK(NextOf(plan) == "watch 7");
}

TEST_CASE("a watch that makes no sense several times in a row is given up for a list") {
  ListWatch plan = MakeWatching();
  for (int i = 1; i < kMaxSenselessAnswers; ++i) {
    plan.Failed(Failure(Kind::kServer));
    CHECK(NextOf(plan) == "wait");
    CHECK(NextOf(plan) == "watch 7");
    plan.Failed(Failure(Kind::kUnavailable));  // Which says nothing about the answers.
    CHECK(NextOf(plan) == "wait");
  }
  plan.Failed(Failure(Kind::kServer));
  CHECK(NextOf(plan) == "wait");
  CHECK(NextOf(plan) == "list");
}

TEST_CASE("what is asked of the API server") {
  KubernetesSourceOptions options;
  options.page_size = 100;
  CHECK(FormatListTarget(kServices, options, "") ==
        "/api/v1/services?limit=100&labelSelector=%21service.kubernetes.io%2Fheadless");
  CHECK(FormatListTarget(kEndpointSlices, options, "a=/+") ==
        "/apis/discovery.k8s.io/v1/endpointslices?limit=100&labelSelector="
        "%21service.kubernetes.io%2Fheadless&continue=a%3D%2F%2B");
  CHECK(FormatListTarget(kNodes, options, "") == "/api/v1/nodes?limit=100");
  options.selector = "";
  options.node_name = "n1";
  CHECK(FormatWatchTarget(kServices, options, "7", absl::Milliseconds(1500)) ==
        "/api/v1/services?watch=true&allowWatchBookmarks=true&timeoutSeconds=2&resourceVersion=7");
  CHECK(FormatWatchTarget(kNodes, options, "7", absl::Seconds(300)) ==
        "/api/v1/nodes?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&fieldSelector="
        "metadata.name%3Dn1&resourceVersion=7");
}

TEST_CASE("HTTP statuses and what they ask for") {
  const std::pair<int, Kind> cases[] = {
      {400, Kind::kRefused},     {401, Kind::kUnauthorized}, {403, Kind::kUnavailable},
      {404, Kind::kUnavailable}, {410, Kind::kGone},         {429, Kind::kUnavailable},
      {500, Kind::kServer},      {503, Kind::kUnavailable},  {504, Kind::kServer},
      {302, Kind::kServer},      {0, Kind::kServer}};
  for (const auto& [status, kind] : cases) {
    INFO(status);
    CHECK(KindOfStatus(status) == kind);
  }
}

TEST_CASE("an answer in words") {
  CHECK(DescribeAnswer(403, R"({"kind":"Status","message":"services is forbidden","code":403})") ==
        "HTTP 403 (services is forbidden)");
  CHECK(DescribeAnswer(502, "<html>\n<b>Bad Gateway</b>") ==
        "HTTP 502 (<html> <b>Bad Gateway</b>)");
  CHECK(DescribeAnswer(500, "") == "HTTP 500");
  CHECK(DescribeAnswer(500, std::string(1000, 'x')) ==
        absl::StrCat("HTTP 500 (", std::string(300, 'x'), "...)"));
}

TEST_CASE("trouble is said once for each cause, and once that it is over") {
  Trouble trouble;
  const absl::Time start = absl::FromUnixSeconds(1'000);
  CHECK(trouble.End(start) == std::nullopt);
  CHECK(trouble.Begin("curl 7", start));
  CHECK_FALSE(trouble.Begin("curl 7", start + absl::Seconds(1)));
  CHECK(trouble.Begin("HTTP 403", start + absl::Seconds(2)));
  CHECK(trouble.End(start + absl::Seconds(5)) == absl::Seconds(5));
  CHECK(trouble.End(start + absl::Seconds(6)) == std::nullopt);
  CHECK(trouble.Begin("curl 7", start + absl::Seconds(7)));
}

}  // namespace
}  // namespace fairlead::kubernetes
