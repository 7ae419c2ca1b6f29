// Whether the agent keeps up with its changes, and what /healthz and /livez say of it.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proxy/health/http.h"

namespace fairlead {

enum class NodeReadiness {
  kWaiting,  // For a picture.
  kRefused,  // The kernel has refused most of what is wanted.
  kReady,    // For good.
};

// Time is an argument. Thread-safe.
class NodeHealth {
 public:
  struct Verdict {
    bool healthy = true;   // No change has waited for too long.
    bool eligible = true;  // The node may be given new connections.
    // When the kernel was last known to be as wanted: the time of asking if nothing waits, else
    // that of the last ChangesDone; InfinitePast if there was none.
    absl::Time last_updated = absl::InfinitePast();
    // Since when the oldest change waits, if one does.
    std::optional<absl::Time> oldest_pending;

    friend bool operator==(const Verdict&, const Verdict&) = default;
  };

  // A change may wait for twice the sync period and no longer.
  explicit NodeHealth(absl::Duration sync_period) : patience_(2 * sync_period) {}

  // A change has come and is not carried out yet. The oldest counts.
  void ChangePending(absl::Time since);
  // All changes are carried out.
  void ChangesDone(absl::Time now);
  // Whether the node stays; true until somebody says otherwise.
  void SetEligible(bool eligible);

  Verdict Check(absl::Time now) const;

  // Most of what is wanted is in the kernel: from then on the node works, with what it has.
  void SetReady();
  NodeReadiness readiness() const;

 private:
  const absl::Duration patience_;
  mutable std::mutex mutex_;
  std::optional<absl::Time> oldest_pending_ ABSL_GUARDED_BY(mutex_);
  absl::Time last_done_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
  bool eligible_ ABSL_GUARDED_BY(mutex_) = true;
};

// How fresh what the agent acts upon is.
struct FeedFreshness {
  bool connected = false;  // To a watcher, or a source in this process.
  std::string feeder;      // Which; the last one that was tried if not connected.
  uint64_t revision = 0;   // Of the picture.
  uint64_t head_revision = 0;
  // When the picture was last known to be the newest; infinite past before the first.
  absl::Time current_as_of = absl::InfinitePast();
  // It was saved on disk, and nobody has confirmed it yet.
  bool saved = false;
};

// The answer for the path: /healthz is 200 if the verdict is healthy and eligible, /livez if it is
// healthy, both are 503 otherwise; anything else is 404. Bodies are JSON, with times in UTC.
// A picture that is old makes nobody unhealthy: traffic goes on.
HttpResponse AnswerNodeHealth(absl::string_view path, const NodeHealth::Verdict& verdict,
                              const FeedFreshness& feed, absl::Time now);

// The answer for /readyz: 200 for one that is ready; 503 with what is waited for otherwise.
HttpResponse AnswerReadiness(NodeReadiness readiness, const FeedFreshness& feed, absl::Time now);

// What an agent waits for that is not ready: "the first complete picture of 10.0.0.5:10270".
std::string DescribeWait(NodeReadiness readiness, const FeedFreshness& feed);

}  // namespace fairlead
