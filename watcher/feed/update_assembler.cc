#include "watcher/feed/update_assembler.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/log_object.h"

namespace fairlead {

absl::StatusOr<std::optional<FeedUpdate>> UpdateAssembler::Receive(
    const v1::SubscribeResponse& response, absl::Time now) {
  if (epoch_.empty() != response.has_start()) {
    return absl::InvalidArgumentError("Start is the first response, and only that");
  }
  switch (response.kind_case()) {
    case v1::SubscribeResponse::kStart:
      if (absl::Status status = ReceiveStart(response.start()); !status.ok()) return status;
      return std::nullopt;
    case v1::SubscribeResponse::kBatch: {
      ReceiveBatch(response.batch());
      if (!response.batch().has_complete_revision()) return std::nullopt;
      absl::StatusOr<FeedUpdate> update = ReceiveMark(response.batch().complete_revision(), now);
      if (!update.ok()) return update.status();
      update->partial = response.batch().partial();
      return *std::move(update);
    }
    default:
      // A kind that a newer feeder knows: what must be understood comes with a new service.
      return std::nullopt;
  }
}

absl::Status UpdateAssembler::ReceiveStart(const v1::Start& start) {
  if (start.epoch().empty()) return absl::InvalidArgumentError("Start: epoch: is empty");
  switch (start.mode()) {
    case v1::Start::SNAPSHOT:
      in_snapshot_ = true;
      pending_.BeginSnapshot();
      break;
    case v1::Start::DELTA:
      if (start.epoch() != position_.epoch) {
        return absl::InvalidArgumentError(absl::StrCat("Start: DELTA of epoch ", start.epoch(),
                                                       ", Hello was of ", position_.epoch));
      }
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("Start: mode: ", static_cast<int>(start.mode()), " is not a mode"));
  }
  epoch_ = start.epoch();
  return absl::OkStatus();
}

void UpdateAssembler::ReceiveBatch(const v1::Batch& batch) {
  for (const v1::Change& change : batch.changes()) {
    absl::StatusOr<DecodedChange> decoded = DecodeChange(change);
    if (decoded.ok()) {
      pending_.Add(*std::move(decoded));
      continue;
    }
    const std::optional<ObjectId> object = IdentifyChange(change);
    if (++invalid_changes_ <= kMaxLoggedChanges) {
      LogAbout(spdlog::level::warn, object ? object->Format() : "",
               absl::StrCat("feed: left out an invalid change: ", decoded.status().message()));
    }
    pending_.AddInvalid(object);
  }
}

absl::StatusOr<FeedUpdate> UpdateAssembler::ReceiveMark(uint64_t revision, absl::Time now) {
  if (!in_snapshot_ && revision < position_.revision) {
    return absl::InvalidArgumentError(
        absl::StrCat("Batch: complete_revision ", revision, " after ", position_.revision));
  }
  if (invalid_changes_ > kMaxLoggedChanges) {
    spdlog::warn("feed: left out {} more invalid changes", invalid_changes_ - kMaxLoggedChanges);
  }
  invalid_changes_ = 0;
  in_snapshot_ = false;
  position_ = {epoch_, revision};
  FeedUpdate update = pending_.Take();
  update.position = position_;
  update.received = now;
  return update;
}

}  // namespace fairlead
