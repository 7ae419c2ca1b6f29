#include "ipvs/replies.h"

#include <linux/netlink.h>

#include "absl/strings/str_cat.h"
#include "ipvs/codec.h"
#include "ipvs/errors.h"

namespace fairlead::ipvs {

BatchReplies::BatchReplies(uint32_t first_sequence, size_t last,
                           absl::Span<const Operation> operations,
                           absl::Span<absl::Status> statuses)
    : first_sequence_(first_sequence), last_(last), operations_(operations), statuses_(statuses) {}

void BatchReplies::Take(absl::string_view datagram) {
  while (!datagram.empty()) {
    const absl::StatusOr<Message> message = DecodeMessage(&datagram);
    if (!message.ok()) return TakeLoss();
    const uint32_t index = message->sequence - first_sequence_;
    if (message->type != NLMSG_ERROR || index >= operations_.size()) continue;
    const absl::StatusOr<int> error = DecodeErrno(message->payload);
    if (!error.ok()) {
      TakeLoss();
      continue;
    }
    statuses_[index] = StatusFromErrno(*error, operations_[index]);
    if (index == last_) complete_ = true;
  }
}

void BatchReplies::Finish() {
  if (complete_ && !lost_) return;
  for (size_t i = 0; i < operations_.size(); ++i) {
    if (!statuses_[i].ok() || (complete_ && i == last_)) continue;
    statuses_[i] =
        absl::UnknownError(absl::StrCat(operations_[i].Format(), ": the kernel's reply was lost"));
  }
}

void DumpReplies::Take(absl::string_view datagram,
                       absl::FunctionRef<absl::Status(absl::string_view)> take) {
  while (!datagram.empty() && !complete_) {
    const absl::StatusOr<Message> message = DecodeMessage(&datagram);
    if (!message.ok()) return status_.Update(message.status());
    if (message->sequence != sequence_) continue;
    if ((message->flags & NLM_F_DUMP_INTR) != 0) {
      status_.Update(absl::AbortedError("the table changed while it was read"));
    }
    if (message->type == NLMSG_DONE || message->type == NLMSG_ERROR) {
      const absl::StatusOr<int> error = DecodeErrno(message->payload);
      status_.Update(error.ok() ? StatusFromErrno(*error, action_) : error.status());
      complete_ = true;
    } else if (message->type == family_id_) {
      status_.Update(take(message->payload));
    }
  }
}

}  // namespace fairlead::ipvs
