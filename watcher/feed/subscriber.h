// One agent's stream, on the watcher's side.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "fairlead/v1/feed.pb.h"
#include "watcher/feed/feed_update.h"
#include "watcher/feed/journal.h"

namespace fairlead {

// Encoded changes of a batch (feed.proto).
inline constexpr size_t kMaxBatchBytes = 1 << 20;

// What the watcher knows of an agent that is connected.
struct SubscriberStatus {
  std::string node_name;
  // As gRPC names the other end.
  std::string peer;
  absl::Time connected;
  // It was given a snapshot when it connected, not a delta.
  bool snapshot = false;
  // Revision of the last complete mark sent, and of the last acknowledgement; 0 before the first.
  uint64_t sent_revision = 0;
  uint64_t acked_revision = 0;
  // Of the last acknowledgement.
  absl::Duration programming_time;
  uint32_t failure_count = 0;
  // At most kMaxAckFailures of them.
  std::vector<ObjectFailure> failures;
};

// Who is told of a stream's life. Called on gRPC's threads with no lock of the stream's held; must
// not block.
class SubscriberOwner {
 public:
  virtual ~SubscriberOwner() = default;
  // It said Hello or acknowledged a revision.
  virtual void OnChanged() = 0;
  // The last call; the subscriber may be deleted in it.
  virtual void OnDone(class Subscriber* subscriber) = 0;
};

// A cursor in the journal with a stream that follows it, one message at a time: what the stream
// does not take is not read. Owned by the server from its creation until its OnDone. Thread-safe.
//
// All state is under one mutex, the choice of the next message included, so that a change that
// comes while a message is under way is found when it is done. Start… and Finish of gRPC are called
// without the mutex, and by one thread at a time: by the one that set writing_ or finished_.
class Subscriber final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  // `journal` and `owner` outlive the stream.
  Subscriber(const Journal& journal, SubscriberOwner& owner, std::string peer, absl::Time now);

  // Called once, before anything else.
  void Begin() { StartRead(&incoming_); }
  // The journal has changed.
  void Wake();
  // Ends the stream, after the message that is under way. The first reason counts.
  void Close(absl::Status reason);

  // nullopt before the Hello.
  std::optional<SubscriberStatus> Status() const;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  absl::Status Receive(const v1::SubscribeRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReceiveHello(const v1::Hello& hello) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReceiveAck(const v1::Ack& ack) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Does what is next, if anything is and nothing is under way.
  void Advance();
  // Fills outgoing_; false if there is nothing to send.
  bool PrepareMessage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Journal& journal_;
  SubscriberOwner& owner_;

  // Belongs to gRPC while a read is outstanding, otherwise to the reaction to it.
  grpc::ByteBuffer incoming_;

  mutable std::mutex mutex_;
  SubscriberStatus status_ ABSL_GUARDED_BY(mutex_);
  // nullopt before the Hello.
  std::optional<JournalCursor> cursor_ ABSL_GUARDED_BY(mutex_);
  bool start_sent_ ABSL_GUARDED_BY(mutex_) = false;
  // A complete mark of cursor_'s revision is due.
  bool complete_due_ ABSL_GUARDED_BY(mutex_) = false;
  // A complete mark was sent on this stream.
  bool complete_sent_ ABSL_GUARDED_BY(mutex_) = false;
  // The highest revision that the agent can have.
  uint64_t reached_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> closing_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  // Belongs to gRPC while writing_.
  grpc::ByteBuffer outgoing_;
};

}  // namespace fairlead
