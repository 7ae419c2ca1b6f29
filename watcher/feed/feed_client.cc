#include "watcher/feed/feed_client.h"

#include <grpcpp/alarm.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "fairlead/v1/feed.grpc.pb.h"
#include "watcher/feed/backoff.h"
#include "watcher/feed/client_stream.h"
#include "watcher/feed/feed_codec.h"

namespace fairlead {
namespace {

v1::Ack EncodeAck(uint64_t revision, absl::Duration programming_time,
                  const std::vector<ObjectFailure>& failures) {
  v1::Ack ack;
  ack.set_revision(revision);
  absl::Duration rest;
  ack.mutable_programming_time()->set_seconds(
      absl::IDivDuration(programming_time, absl::Seconds(1), &rest));
  ack.mutable_programming_time()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  for (const ObjectFailure& failure : failures) {
    if (ack.failures_size() == static_cast<int>(kMaxAckFailures)) break;
    v1::Failure* message = ack.add_failures();
    *message->mutable_object() = EncodeRef(failure.object);
    message->set_message(EncodeText(failure.message, kMaxFailureMessage));
  }
  ack.set_failure_count(static_cast<uint32_t>(failures.size()));
  return ack;
}

}  // namespace

// The streams, one after the other, with waits between them.
//
// A stream holds a share of the channel, and the last share must not go on a thread of gRPC's: the
// channel would take the completion queue away from under that thread. Stop therefore waits until
// no stream is left and nothing of this runs on such a thread; that is what pending_ counts.
class FeedClient::Core final : public ClientStreamOwner {
 public:
  Core(std::shared_ptr<grpc::Channel> channel, FeedClientOptions options, FeedMailbox& mailbox)
      : options_(std::move(options)),
        mailbox_(mailbox),
        stub_(std::move(channel)),
        backoff_(options_.min_reconnect_wait, options_.max_reconnect_wait, options_.seed) {}

  void Connect() {
    std::shared_ptr<ClientStream> stream;
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      stream =
          std::make_shared<ClientStream>(*this, options_.node_name, status_.position, options_.now);
      stream_ = stream;
      ++status_.attempts;
      ++pending_;
    }
    stream->Begin(stub_);
  }

  void Stop() {
    std::unique_lock lock(mutex_);
    stopped_ = true;
    if (timer_) timer_->Cancel();
    if (const std::shared_ptr<ClientStream> stream = stream_) {
      lock.unlock();
      stream->Cancel();
      lock.lock();
    }
    idle_.wait(lock, [this] { return pending_ == 0; });
  }

  void Ack(const FeedPosition& position, v1::Ack ack) {
    std::shared_ptr<ClientStream> stream;
    {
      std::lock_guard lock(mutex_);
      last_ack_ = {position.epoch, ack};
      if (stream_epoch_ == position.epoch) stream = stream_;
    }
    if (stream) stream->SendAck(std::move(ack));
  }

  FeedClientStatus status() const {
    std::lock_guard lock(mutex_);
    return status_;
  }

  void OnStart(const std::string& epoch) override {
    std::shared_ptr<ClientStream> stream;
    std::optional<v1::Ack> ack;
    {
      std::lock_guard lock(mutex_);
      stream = stream_;
      stream_epoch_ = epoch;
      status_.connected = true;
      // The feeder knows what this agent has received, but not what it has carried out.
      if (last_ack_ && last_ack_->epoch == epoch) ack = last_ack_->ack;
    }
    if (ack) stream->SendAck(*std::move(ack));
  }

  void OnUpdate(FeedUpdate update) override {
    {
      std::lock_guard lock(mutex_);
      backoff_.Reset();
      status_.last_complete = update.received;
      status_.invalid_changes += update.invalid_changes;
      const FeedPosition before = std::exchange(status_.position, update.position);
      // Resumed, and nothing had happened.
      if (!update.snapshot && update.position == before) return;
    }
    mailbox_.Put(std::move(update));
  }

  void OnClosed(const absl::Status& reason, bool broken) override {
    std::shared_ptr<ClientStream> ended;
    {
      std::lock_guard lock(mutex_);
      ended = std::exchange(stream_, nullptr);
      stream_epoch_.clear();
      status_.connected = false;
      if (broken) {
        // What this feeder says cannot be continued: begin again from nothing.
        status_.position = {};
        last_ack_.reset();
      }
      if (!stopped_) ConnectLater(reason);
    }
    ended.reset();
    NoLongerPending();
  }

 private:
  struct LastAck {
    std::string epoch;
    v1::Ack ack;
  };

  void ConnectLater(const absl::Status& reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::Duration wait = backoff_.Next();
    status_.last_error = reason.ok() ? "the feeder ended the stream" : reason.ToString();
    spdlog::warn("feed: {}; trying again in {}", status_.last_error, absl::FormatDuration(wait));
    // A new timer each time: the callback of the last one may be what runs here.
    timer_ = std::make_unique<grpc::Alarm>();
    ++pending_;
    timer_->Set(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(wait),
                [this](bool /*expired*/) {
                  Connect();
                  NoLongerPending();
                });
  }

  void NoLongerPending() {
    // Notified under the lock: as soon as it is free, Stop may return and this be deleted.
    std::lock_guard lock(mutex_);
    --pending_;
    idle_.notify_all();
  }

  const FeedClientOptions options_;
  FeedMailbox& mailbox_;
  v1::Feed::Stub stub_;

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  // Streams and timers that are still to call this.
  int pending_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  // From Connect to OnClosed.
  std::shared_ptr<ClientStream> stream_ ABSL_GUARDED_BY(mutex_);
  // Of its Start; empty before that.
  std::string stream_epoch_ ABSL_GUARDED_BY(mutex_);
  std::optional<LastAck> last_ack_ ABSL_GUARDED_BY(mutex_);
  FeedClientStatus status_ ABSL_GUARDED_BY(mutex_);
  Backoff backoff_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Alarm> timer_ ABSL_GUARDED_BY(mutex_);
};

FeedClient::FeedClient(std::shared_ptr<grpc::Channel> channel, FeedClientOptions options,
                       FeedMailbox& mailbox)
    : core_(std::make_unique<Core>(std::move(channel), std::move(options), mailbox)) {}

FeedClient::~FeedClient() { Stop(); }

void FeedClient::Start() { core_->Connect(); }

void FeedClient::Stop() { core_->Stop(); }

void FeedClient::Ack(const FeedPosition& position, absl::Duration programming_time,
                     const std::vector<ObjectFailure>& failures) {
  core_->Ack(position, EncodeAck(position.revision, programming_time, failures));
}

FeedClientStatus FeedClient::status() const { return core_->status(); }

}  // namespace fairlead
