// One attempt to follow a feed, on the agent's side.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "fairlead/v1/feed.grpc.pb.h"
#include "watcher/feed/update_assembler.h"

namespace fairlead {

// Who is told what a stream brings. Called on gRPC's threads, one call at a time, with no lock of
// the stream's held.
class ClientStreamOwner {
 public:
  virtual ~ClientStreamOwner() = default;
  virtual void OnStart(const std::string& epoch) = 0;
  virtual void OnUpdate(FeedUpdate update) = 0;
  // The feeder lives, and its newest revision is this.
  virtual void OnHeartbeat(uint64_t head_revision) = 0;
  // The last call, after which the stream may be deleted. `broken`: the feeder broke the protocol.
  virtual void OnClosed(const absl::Status& reason, bool broken) = 0;
};

// A stream of Feed.Subscribe from its Hello to its end. Lives until OnClosed. Acks wait for each
// other in one place, where a later one replaces an earlier one. Thread-safe.
//
// A hold of gRPC's keeps the stream open for Ack, which may come at any time. It is given back when
// reading has ended and no write is under way; then no other write is started.
class ClientStream final
    : public grpc::ClientBidiReactor<v1::SubscribeRequest, v1::SubscribeResponse> {
 public:
  // `owner` outlives the stream.
  ClientStream(ClientStreamOwner& owner, const std::string& node_name, const std::string& agent,
               const FeedPosition& position, std::function<absl::Time()> now);

  // Called once. `stub` outlives the stream.
  void Begin(v1::Feed::Stub& stub);
  void SendAck(v1::Ack ack);
  // Leads to OnClosed soon; `reason` is what that is told, where it is an error.
  void Cancel(absl::Status reason);
  // Of the last message, or of the stream's beginning.
  std::chrono::steady_clock::time_point last_heard() const;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  // Hands on what the response brings; false ends the stream.
  bool Receive();
  void EndReading();
  // Starts the write of an ack that waits, if it may.
  void WriteNext();

  ClientStreamOwner& owner_;
  const std::function<absl::Time()> now_;
  grpc::ClientContext context_;

  // Belongs to gRPC while a read is outstanding.
  v1::SubscribeResponse incoming_;

  mutable std::mutex mutex_;
  std::chrono::steady_clock::time_point last_heard_ ABSL_GUARDED_BY(mutex_);
  // Why it was cancelled.
  absl::Status cancelled_ ABSL_GUARDED_BY(mutex_);
  UpdateAssembler assembler_ ABSL_GUARDED_BY(mutex_);
  // How the feeder broke the protocol.
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::Ack> waiting_ack_ ABSL_GUARDED_BY(mutex_);
  bool reading_ended_ ABSL_GUARDED_BY(mutex_) = false;
  // The Hello is the first write.
  bool writing_ ABSL_GUARDED_BY(mutex_) = true;
  // Belongs to gRPC while writing_.
  v1::SubscribeRequest outgoing_;
};

}  // namespace fairlead
