#include "watcher/kubernetes/list_watch.h"

#include <algorithm>
#include <utility>

namespace fairlead::kubernetes {

ListWatch::ListWatch(absl::Duration min_wait, absl::Duration max_wait, uint64_t seed)
    : backoff_(min_wait, max_wait, seed),
      page_backoff_(min_wait, max_wait, seed + 1),
      gone_backoff_(min_wait, max_wait, seed + 2) {}

ListWatch::Step ListWatch::Next() {
  if (wait_ > absl::ZeroDuration()) return Wait{std::exchange(wait_, absl::ZeroDuration())};
  if (listing_) return List{continue_token_};
  return Watch{resource_version_};
}

bool ListWatch::PageDone(const PageEnd& end) {
  unauthorized_ = 0;
  senseless_ = 0;
  page_backoff_.Reset();
  // All pages are of the first one's version.
  if (continue_token_.empty()) resource_version_ = end.resource_version;
  continue_token_ = end.continue_token;
  listing_ = !continue_token_.empty();
  return !listing_;
}

void ListWatch::Advanced(const std::string& resource_version) {
  resource_version_ = resource_version;
  WatchSucceeded();
}

void ListWatch::WatchSucceeded() {
  gone_ = 0;
  unauthorized_ = 0;
  senseless_ = 0;
  backoff_.Reset();
  gone_backoff_.Reset();
}

void ListWatch::StartOver() {
  listing_ = true;
  continue_token_.clear();
  senseless_ = 0;
}

absl::Duration ListWatch::Failed(const RequestFailure& failure) {
  wait_ = std::max(WaitAfter(failure), failure.retry_after.value_or(absl::ZeroDuration()));
  switch (failure.kind) {
    case RequestFailure::Kind::kGone:
    case RequestFailure::Kind::kRefused:
      StartOver();
      break;
    case RequestFailure::Kind::kServer:
      if (++senseless_ >= kMaxSenselessAnswers) StartOver();
      break;
    case RequestFailure::Kind::kUnauthorized:
    case RequestFailure::Kind::kUnavailable:
      break;
  }
  return wait_;
}

absl::Duration ListWatch::WaitAfter(const RequestFailure& failure) {
  switch (failure.kind) {
    case RequestFailure::Kind::kGone:
      return gone_++ == 0 ? absl::ZeroDuration() : gone_backoff_.Next();
    case RequestFailure::Kind::kUnauthorized:
      // The credential may have been replaced since it was read.
      if (unauthorized_++ == 0) return absl::ZeroDuration();
      break;
    case RequestFailure::Kind::kRefused:
    case RequestFailure::Kind::kServer:
    case RequestFailure::Kind::kUnavailable:
      break;
  }
  return continue_token_.empty() ? backoff_.Next() : page_backoff_.Next();
}

}  // namespace fairlead::kubernetes
