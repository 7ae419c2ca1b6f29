#include "proxy/health/node_health.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

// RFC 3339. What never was is the year 1, as kube-proxy has it.
std::string FormatJsonTime(absl::Time time) {
  if (time == absl::InfinitePast()) return "0001-01-01T00:00:00Z";
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E*SZ", time, absl::UTCTimeZone());
}

HttpResponse JsonResponse(bool good, const nlohmann::ordered_json& body) {
  return {good ? 200 : 503,
          {{"Content-Type", "application/json"}, {"X-Content-Type-Options", "nosniff"}},
          body.dump()};
}

nlohmann::ordered_json DescribeFeed(const FeedFreshness& feed, absl::Time now) {
  nlohmann::ordered_json body = {{"connected", feed.connected},
                                 {"feeder", feed.feeder},
                                 {"revision", feed.revision},
                                 {"headRevision", feed.head_revision},
                                 {"currentAsOf", FormatJsonTime(feed.current_as_of)}};
  if (feed.current_as_of != absl::InfinitePast()) {
    body["ageSeconds"] =
        absl::ToInt64Seconds(std::max(now - feed.current_as_of, absl::ZeroDuration()));
  }
  body["savedPicture"] = feed.saved;
  return body;
}

}  // namespace

void NodeHealth::ChangePending(absl::Time since) {
  std::lock_guard lock(mutex_);
  oldest_pending_ = std::min(oldest_pending_.value_or(since), since);
}

void NodeHealth::ChangesDone(absl::Time now) {
  std::lock_guard lock(mutex_);
  oldest_pending_.reset();
  last_done_ = now;
}

void NodeHealth::SetEligible(bool eligible) {
  std::lock_guard lock(mutex_);
  eligible_ = eligible;
}

NodeHealth::Verdict NodeHealth::Check(absl::Time now) const {
  std::lock_guard lock(mutex_);
  return {.healthy = !oldest_pending_.has_value() || now - *oldest_pending_ <= patience_,
          .eligible = eligible_,
          .last_updated = oldest_pending_.has_value() ? last_done_ : now,
          .oldest_pending = oldest_pending_};
}

void NodeHealth::SetReady() {
  std::lock_guard lock(mutex_);
  ready_ = true;
}

NodeReadiness NodeHealth::readiness() const {
  std::lock_guard lock(mutex_);
  if (ready_) return NodeReadiness::kReady;
  return last_done_ == absl::InfinitePast() ? NodeReadiness::kWaiting : NodeReadiness::kRefused;
}

HttpResponse AnswerNodeHealth(absl::string_view path, const NodeHealth::Verdict& verdict,
                              const FeedFreshness& feed, absl::Time now) {
  nlohmann::ordered_json body = {{"lastUpdated", FormatJsonTime(verdict.last_updated)},
                                 {"currentTime", FormatJsonTime(now)}};
  if (path == "/livez") return JsonResponse(verdict.healthy, body);
  if (path == "/healthz") {
    body["nodeEligible"] = verdict.eligible;
    body["feed"] = DescribeFeed(feed, now);
    return JsonResponse(verdict.healthy && verdict.eligible, body);
  }
  return {404, {{"Content-Type", "text/plain"}}, "not found\n"};
}

HttpResponse AnswerReadiness(NodeReadiness readiness, const FeedFreshness& feed, absl::Time now) {
  const bool ready = readiness == NodeReadiness::kReady;
  nlohmann::ordered_json body = {{"ready", ready}};
  if (!ready) body["waitsFor"] = DescribeWait(readiness, feed);
  body["currentTime"] = FormatJsonTime(now);
  body["feed"] = DescribeFeed(feed, now);
  return JsonResponse(ready, body);
}

std::string DescribeWait(NodeReadiness readiness, const FeedFreshness& feed) {
  if (readiness == NodeReadiness::kRefused) {
    return "the kernel, which has refused most of what is wanted: the log says why";
  }
  if (feed.saved) return "the kernel, which gets the saved picture";
  // A feeder that has nothing is level with its agents.
  if (feed.current_as_of != absl::InfinitePast() && feed.revision > 0) {
    return "the kernel, which gets the first picture";
  }
  if (feed.connected) return absl::StrCat("the first complete picture of ", feed.feeder);
  if (feed.feeder.empty()) return "a feeder";
  return absl::StrCat("a connection: ", feed.feeder, " does not answer");
}

}  // namespace fairlead
