#include "watcher/feed/feed_server.h"

#include <grpcpp/server_context.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "fairlead/v1/feed.grpc.pb.h"

namespace fairlead {
namespace {

using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

// A stream that ends as it begins.
class Refusal final : public Reactor {
 public:
  explicit Refusal(grpc::Status status) { Finish(std::move(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

// The streams. Each one's last word is OnDone, and the grpc::Server waits for it.
class FeedServer::Core final : public JournalListener, public SubscriberOwner {
 public:
  Core(Journal& journal, FeedServerOptions options)
      : journal_(journal), options_(std::move(options)) {}

  // The reactor of a new stream.
  Reactor* Accept(const std::string& peer) {
    std::unique_lock lock(mutex_);
    if (shut_down_) {
      return new Refusal({grpc::StatusCode::UNAVAILABLE, "the feeder stops"});
    }
    if (subscribers_.size() >= options_.max_subscribers) {
      return new Refusal({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many subscribers"});
    }
    auto subscriber = std::make_shared<Subscriber>(journal_, *this, peer, options_.now());
    Subscriber* reactor = subscriber.get();
    subscribers_.emplace(reactor, std::move(subscriber));
    lock.unlock();
    reactor->Begin();
    return reactor;
  }

  void OnJournalChanged() override {
    for (const auto& subscriber : All()) subscriber->Wake();
  }

  void Shutdown() {
    {
      std::lock_guard lock(mutex_);
      shut_down_ = true;
    }
    for (const auto& subscriber : All()) {
      subscriber->Close(absl::UnavailableError("the feeder stops"));
    }
  }

  void OnChanged() override { options_.on_subscribers_changed(); }

  void OnDone(Subscriber* subscriber) override {
    // Destroyed without the lock.
    std::shared_ptr<Subscriber> forgotten;
    {
      std::lock_guard lock(mutex_);
      const auto it = subscribers_.find(subscriber);
      forgotten = std::move(it->second);
      subscribers_.erase(it);
    }
    OnChanged();
  }

  std::vector<std::shared_ptr<Subscriber>> All() const {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<Subscriber>> all;
    all.reserve(subscribers_.size());
    for (const auto& [reactor, subscriber] : subscribers_) all.push_back(subscriber);
    return all;
  }

 private:
  Journal& journal_;
  const FeedServerOptions options_;
  mutable std::mutex mutex_;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_map<Subscriber*, std::shared_ptr<Subscriber>> subscribers_
      ABSL_GUARDED_BY(mutex_);
};

// Raw, so that messages can be put together from bytes that all streams share.
class FeedServer::RpcService final
    : public v1::Feed::WithRawCallbackMethod_Subscribe<v1::Feed::Service> {
 public:
  explicit RpcService(Core& core) : core_(core) {}

  Reactor* Subscribe(grpc::CallbackServerContext* context) override {
    return core_.Accept(context->peer());
  }

 private:
  Core& core_;
};

FeedServer::FeedServer(Journal& journal, FeedServerOptions options)
    : core_(std::make_shared<Core>(journal, std::move(options))),
      service_(std::make_unique<RpcService>(*core_)) {
  journal.AddListener(core_);
}

FeedServer::~FeedServer() { Shutdown(); }

grpc::Service& FeedServer::service() { return *service_; }

std::vector<SubscriberStatus> FeedServer::Subscribers() const {
  std::vector<SubscriberStatus> statuses;
  for (const auto& subscriber : core_->All()) {
    if (std::optional<SubscriberStatus> status = subscriber->Status()) {
      statuses.push_back(*std::move(status));
    }
  }
  std::sort(statuses.begin(), statuses.end(), [](const auto& a, const auto& b) {
    return std::tie(a.node_name, a.connected) < std::tie(b.node_name, b.connected);
  });
  return statuses;
}

void FeedServer::Shutdown() { core_->Shutdown(); }

}  // namespace fairlead
