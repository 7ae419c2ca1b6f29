// The agent's half of the feed's protocol, without a connection.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fairlead/v1/feed.pb.h"
#include "watcher/feed/feed_update.h"
#include "watcher/feed/update_merger.h"

namespace fairlead {

// Invalid changes that are logged of each update; the rest is only counted.
inline constexpr size_t kMaxLoggedChanges = 10;

// Takes the responses of one stream, and gives an update at each complete mark. Thread-compatible.
class UpdateAssembler {
 public:
  // `position` is that of the stream's Hello.
  explicit UpdateAssembler(FeedPosition position) : position_(std::move(position)) {}

  // nullopt: nothing to act on yet. INVALID_ARGUMENT: the response breaks the protocol, the stream
  // is of no more use. A change that is not valid breaks nothing: it is logged, counted and left
  // out.
  absl::StatusOr<std::optional<FeedUpdate>> Receive(const v1::SubscribeResponse& response,
                                                    absl::Time now);

  // The last complete mark's, or the Hello's.
  const FeedPosition& position() const { return position_; }
  // The stream's epoch; empty before its Start.
  const std::string& epoch() const { return epoch_; }

 private:
  absl::Status ReceiveStart(const v1::Start& start);
  void ReceiveBatch(const v1::Batch& batch);
  absl::StatusOr<FeedUpdate> ReceiveMark(uint64_t revision, absl::Time now);

  FeedPosition position_;
  std::string epoch_;
  // No complete mark has come since a Start that announced a snapshot.
  bool in_snapshot_ = false;
  // Changes since the last complete mark.
  UpdateMerger pending_;
  size_t invalid_changes_ = 0;
};

}  // namespace fairlead
