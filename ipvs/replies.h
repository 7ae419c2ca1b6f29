// What the kernel's replies to a batch of operations, or to a dump, say. No socket here.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "ipvs/table.h"

namespace fairlead::ipvs {

// Collects the replies to one batch of messages. The kernel answers each operation that fails, in
// order, and the last one in any case: an operation without an answer has succeeded if the last
// answer is there and none was lost.
class BatchReplies {
 public:
  // operations[i] was sent with sequence number `first_sequence` + i (modulo 2^32), and the one at
  // `last` with a request for acknowledgement. Where statuses[i] is an error already, the operation
  // was not sent. Both spans have the same length, and outlive this object.
  BatchReplies(uint32_t first_sequence, size_t last, absl::Span<const Operation> operations,
               absl::Span<absl::Status> statuses);

  // Takes a datagram; replies to anything else in it are ignored. One that is malformed counts as
  // lost.
  void Take(absl::string_view datagram);

  // Replies were lost, or may have been.
  void TakeLoss() { lost_ = true; }

  // Nothing more will come.
  bool complete() const { return complete_; }
  bool lost() const { return lost_; }

  // Makes UNKNOWN the status of each operation whose fate the replies do not tell.
  void Finish();

 private:
  const uint32_t first_sequence_;
  const size_t last_;
  const absl::Span<const Operation> operations_;
  const absl::Span<absl::Status> statuses_;
  bool complete_ = false;
  bool lost_ = false;
};

// Collects the replies to one dump: entries, in any number of datagrams, and an end.
class DumpReplies {
 public:
  // `action` is for messages and outlives this object.
  DumpReplies(uint32_t sequence, uint16_t family_id, absl::string_view action)
      : sequence_(sequence), family_id_(family_id), action_(action) {}

  // Takes a datagram, and calls `take` with the payload of each entry in it.
  void Take(absl::string_view datagram, absl::FunctionRef<absl::Status(absl::string_view)> take);

  // Nothing more will come. Until then a dump has to be read on, even after an error: the next one
  // would find it under way.
  bool complete() const { return complete_; }

  // The first thing that went wrong: an error of the kernel's or of `take`, INTERNAL for a
  // malformed message, ABORTED where the kernel says that the table changed meanwhile.
  const absl::Status& status() const { return status_; }

 private:
  const uint32_t sequence_;
  const uint16_t family_id_;
  const absl::string_view action_;
  bool complete_ = false;
  absl::Status status_;
};

}  // namespace fairlead::ipvs
