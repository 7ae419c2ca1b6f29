// One agent's stream, on the watcher's side.
#pragma once

#include <grpcpp/security/auth_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
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
#include "watcher/feed/read_cache.h"

namespace fairlead {

// Largest message of an agent: an acknowledgement with all the failures that it may name has room.
inline constexpr size_t kMaxRequestBytes = 256 << 10;

// What the watcher knows of an agent that is connected.
struct SubscriberStatus {
  std::string node_name;
  // Program and version, as it calls itself.
  std::string agent;
  // As gRPC names the other end.
  std::string peer;
  absl::Time connected;
  // It was given a snapshot when it connected, not a delta.
  bool snapshot = false;
  // Revision of the last complete mark sent, and of the last acknowledgement; 0 before the first.
  uint64_t sent_revision = 0;
  uint64_t acked_revision = 0;
  // When that one came; infinite past before the first.
  absl::Time acked_at = absl::InfinitePast();
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
  // The first of them. Called with the stream's lock held.
  virtual void OnHello(const std::string& node_name) = 0;
  // It acknowledged a revision that it had not acknowledged on this stream before.
  virtual void OnAcked(uint64_t revision) = 0;
  // Whether it may be sent a whole picture now; otherwise Admit is called when it may. Called with
  // the stream's lock held.
  virtual bool MayBeginSnapshot(class Subscriber& subscriber) = 0;
  // It has a whole picture.
  virtual void OnSnapshotSent(const class Subscriber& subscriber) = 0;
  // Whether the other end of a connection may call itself by this node's name.
  virtual bool MayBeNode(const grpc::AuthContext* peer, const std::string& node_name) = 0;
  // The agent is refused, or its stream ended for a fault of its own; the message begins with who
  // it is.
  virtual void OnFault(const absl::Status& reason) = 0;
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
  // `journal`, `reads` (of that journal) and `owner` outlive the stream. `identity` is the other
  // end's, nullptr where there is none.
  Subscriber(const Journal& journal, ReadCache& reads, SubscriberOwner& owner, std::string peer,
             std::shared_ptr<const grpc::AuthContext> identity,
             const std::function<absl::Time()>& now);

  // Called once, before anything else.
  void Begin() { StartRead(&incoming_); }
  // The journal has changed.
  void Wake() { Advance(); }
  // Ends the stream if it has been there for this long without a Hello.
  void CheckHello(absl::Duration patience);
  // What MayBeginSnapshot refused is allowed now.
  void Admit();
  // Sends a heartbeat unless something else is under way.
  void Heartbeat();
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
  bool PrepareBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether the journal may be read for this agent.
  bool MayRead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Journal& journal_;
  ReadCache& reads_;
  SubscriberOwner& owner_;
  const std::shared_ptr<const grpc::AuthContext> identity_;
  const std::function<absl::Time()>& now_;

  // Belongs to gRPC while a read is outstanding, otherwise to the reaction to it.
  grpc::ByteBuffer incoming_;

  mutable std::mutex mutex_;
  SubscriberStatus status_ ABSL_GUARDED_BY(mutex_);
  // nullopt before the Hello.
  std::optional<JournalCursor> cursor_ ABSL_GUARDED_BY(mutex_);
  bool start_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool heartbeat_due_ ABSL_GUARDED_BY(mutex_) = false;
  // Of one that needs a whole picture.
  enum class Place { kNone, kAsked, kGiven };
  Place place_ ABSL_GUARDED_BY(mutex_) = Place::kNone;
  // A complete mark was sent on this stream, and the last one was partial.
  bool complete_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool partial_sent_ ABSL_GUARDED_BY(mutex_) = false;
  // The owner was told that the whole picture was sent.
  bool snapshot_sent_ ABSL_GUARDED_BY(mutex_) = false;
  // The highest revision that the agent can have.
  uint64_t reached_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> closing_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  // Belongs to gRPC while writing_.
  grpc::ByteBuffer outgoing_;
};

}  // namespace fairlead
