#include "watcher/feed/feed_client.h"

#include <grpcpp/alarm.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "fairlead/v1/feed.grpc.pb.h"
#include "watcher/feed/backoff.h"
#include "watcher/feed/client_stream.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/feed/proto_time.h"
#include "watcher/fnv.h"

namespace fairlead {
namespace {

constexpr int kChannelBackoffMilliseconds = 100;
constexpr int kConnectTimeoutMilliseconds = 5'000;

v1::Ack EncodeAck(uint64_t revision, absl::Duration programming_time,
                  const std::vector<ObjectFailure>& failures) {
  v1::Ack ack;
  ack.set_revision(revision);
  EncodeDuration(programming_time, ack.mutable_programming_time());
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
  Core(std::vector<FeedTarget> targets, FeedClientOptions options, FeedMailbox& mailbox)
      : options_(std::move(options)),
        mailbox_(mailbox),
        targets_(MakeTargets(std::move(targets))),
        target_(Fnv1a(options_.node_name) % targets_.size()),
        backoff_(options_.min_reconnect_wait, options_.max_reconnect_wait, options_.seed) {}

  void Know(const FeedPosition& position, absl::Time saved) {
    std::lock_guard lock(mutex_);
    status_.position = position;
    status_.last_complete = saved;
    status_.unconfirmed = true;
  }

  void Connect() {
    std::shared_ptr<ClientStream> stream;
    Target* target;
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      target = &targets_[target_];
      stream = std::make_shared<ClientStream>(*this, options_.node_name, options_.agent,
                                              status_.position, options_.now);
      stream_ = stream;
      status_.feeder = target->name;
      ++status_.attempts;
      ++pending_;
      WatchFor(options_.silence_timeout);
    }
    stream->Begin(target->stub);
  }

  void Stop() {
    std::unique_lock lock(mutex_);
    stopped_ = true;
    if (timer_) timer_->Cancel();
    if (watchdog_) watchdog_->Cancel();
    if (const std::shared_ptr<ClientStream> stream = stream_) {
      lock.unlock();
      stream->Cancel(absl::CancelledError("stopped"));
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
      spdlog::info("feed: following {}", status_.feeder);
      status_.head_revision = 0;
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
      status_.head_revision = std::max(status_.head_revision, update.position.revision);
      const FeedPosition before = std::exchange(status_.position, update.position);
      const bool partial_before = std::exchange(status_.partial, update.partial);
      const bool confirms = std::exchange(status_.unconfirmed, false);
      const bool news = update.snapshot || update.position != before ||
                        update.partial != partial_before || confirms;
      // Resumed, and nothing had happened.
      if (!news) return;
    }
    mailbox_.Put(std::move(update));
  }

  void OnHeartbeat(uint64_t head_revision) override {
    std::lock_guard lock(mutex_);
    status_.head_revision = std::max(status_.head_revision, head_revision);
    if (status_.position.revision == head_revision) status_.last_complete = options_.now();
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
      if (watchdog_) watchdog_->Cancel();
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

  // A feeder and what calls it.
  struct Target {
    explicit Target(FeedTarget target)
        : name(std::move(target.name)), stub(std::move(target.channel)) {}

    const std::string name;
    v1::Feed::Stub stub;
  };

  static std::deque<Target> MakeTargets(std::vector<FeedTarget> targets) {
    std::deque<Target> made;
    for (FeedTarget& target : targets) made.emplace_back(std::move(target));
    return made;
  }

  // Looks after the stream when it may have been silent for too long.
  void WatchFor(absl::Duration wait) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    watchdog_ = std::make_unique<grpc::Alarm>();
    ++pending_;
    watchdog_->Set(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(wait),
                   [this](bool expired) {
                     if (expired) LookAfterStream();
                     NoLongerPending();
                   });
  }

  void LookAfterStream() {
    std::shared_ptr<ClientStream> silent;
    {
      std::lock_guard lock(mutex_);
      if (stopped_ || stream_ == nullptr) return;
      const absl::Duration silence =
          absl::FromChrono(std::chrono::steady_clock::now() - stream_->last_heard());
      if (silence < options_.silence_timeout) {
        WatchFor(options_.silence_timeout - silence);
        return;
      }
      silent = stream_;
    }
    silent->Cancel(absl::UnavailableError(
        absl::StrCat("nothing was heard for ", absl::FormatDuration(options_.silence_timeout))));
  }

  void ConnectLater(const absl::Status& reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::Duration wait = backoff_.Next();
    status_.last_error = absl::StrCat(
        status_.feeder, ": ", reason.ok() ? "the feeder ended the stream" : reason.ToString());
    target_ = (target_ + 1) % targets_.size();
    spdlog::warn("feed: {}; trying {} in {}", status_.last_error,
                 targets_.size() == 1 ? "again" : targets_[target_].name,
                 absl::FormatDuration(absl::Trunc(wait, absl::Milliseconds(1))));
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
  // Never changed, and a deque because stubs cannot be moved.
  std::deque<Target> targets_;
  // Index of the one that is followed, or tried next.
  size_t target_ ABSL_GUARDED_BY(mutex_);
  Backoff backoff_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Alarm> timer_ ABSL_GUARDED_BY(mutex_);
  // Of the stream that is open.
  std::unique_ptr<grpc::Alarm> watchdog_ ABSL_GUARDED_BY(mutex_);
};

grpc::ChannelArguments FeedChannelArguments(absl::Duration keepalive) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  // Its own waits would come on top of the client's, and grow to minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kChannelBackoffMilliseconds);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMilliseconds);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kChannelBackoffMilliseconds);
  // Otherwise the next stream would take the connection on which the last one fell silent.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(keepalive)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(keepalive / 2)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Feeders are in the cluster; a proxy that the environment names is not for them.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // It is the client that tries again. Where gRPC (1.51) does, a call that is cancelled just as its
  // attempt fails is never ended: OnDone does not come, and the agent would neither stop nor
  // connect.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return arguments;
}

FeedClient::FeedClient(std::vector<FeedTarget> targets, FeedClientOptions options,
                       FeedMailbox& mailbox)
    : core_(std::make_unique<Core>(std::move(targets), std::move(options), mailbox)) {}

FeedClient::~FeedClient() { Stop(); }

void FeedClient::Start() { core_->Connect(); }

void FeedClient::StartFrom(const FeedPosition& known, absl::Time saved) {
  core_->Know(known, saved);
  core_->Connect();
}

void FeedClient::Stop() { core_->Stop(); }

void FeedClient::Ack(const FeedPosition& position, absl::Duration programming_time,
                     const std::vector<ObjectFailure>& failures) {
  core_->Ack(position, EncodeAck(position.revision, programming_time, failures));
}

FeedClientStatus FeedClient::status() const { return core_->status(); }

}  // namespace fairlead
