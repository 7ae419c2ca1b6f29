#include "watcher/feed/feed_server.h"

#include <grpc/impl/codegen/grpc_types.h>
#include <grpcpp/server_context.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "fairlead/v1/feed.grpc.pb.h"
#include "watcher/feed/commit_times.h"
#include "watcher/feed/rate_limit.h"
#include "watcher/feed/read_cache.h"
#include "watcher/feed/snapshot_gate.h"

namespace fairlead {
namespace {

using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

// What is sent and not acknowledged by TCP for this long ends the connection (gRPC sets
// TCP_USER_TIMEOUT to it): as there are heartbeats, a dead agent is noticed soon after. Pings of
// HTTP/2 are only for agents whose TCP lives and whose program does not.
constexpr int kKeepaliveTimeoutMilliseconds = 10'000;
constexpr int kKeepaliveMilliseconds = 30'000;
// A stream that has not said Hello by then holds a place for nothing.
constexpr absl::Duration kHelloPatience = absl::Seconds(10);
constexpr int kTlsFrameBytes = 4096;

// A stream that ends as it begins.
class Refusal final : public Reactor {
 public:
  explicit Refusal(const absl::Status& reason) {
    Finish({static_cast<grpc::StatusCode>(reason.code()), std::string(reason.message())});
  }
  void OnDone() override { delete this; }
};

}  // namespace

// The streams. Each one's last word is OnDone, and the grpc::Server waits for it.
class FeedServer::Core final : public JournalListener, public SubscriberOwner {
 public:
  Core(Journal& journal, FeedServerOptions options)
      : journal_(journal),
        options_(std::move(options)),
        reads_(journal),
        gate_(options_.max_snapshots, options_.snapshot_patience),
        rate_(options_.max_subscribe_rate, options_.max_subscribe_burst) {
    commits_.Note(journal_.head_revision(), options_.now());
    distributor_ = std::thread([this] { Distribute(); });
  }

  // Stopped by then.
  ~Core() override = default;

  // The reactor of a new stream.
  Reactor* Accept(const grpc::CallbackServerContext& context) {
    std::unique_lock lock(mutex_);
    if (absl::Status refused = MayAccept(); !refused.ok()) {
      lock.unlock();
      if (!absl::IsUnavailable(refused)) {
        options_.on_fault({refused.code(), absl::StrCat(context.peer(), ": ", refused.message())});
      }
      return new Refusal(refused);
    }
    auto subscriber = std::make_shared<Subscriber>(journal_, reads_, *this, context.peer(),
                                                   context.auth_context(), options_.now);
    Subscriber* reactor = subscriber.get();
    subscribers_.emplace(reactor, std::move(subscriber));
    lock.unlock();
    reactor->Begin();
    return reactor;
  }

  void OnJournalChanged() override {
    const uint64_t head = journal_.head_revision();
    std::lock_guard lock(mutex_);
    commits_.Note(head, options_.now());
    changed_ = true;
    wake_distributor_.notify_one();
  }

  // Once for all callers that come at the same time, and for those after them.
  void Shutdown() {
    {
      std::lock_guard lock(mutex_);
      shut_down_ = true;
      wake_distributor_.notify_one();
    }
    std::call_once(joined_, [this] { distributor_.join(); });
    for (const auto& subscriber : All()) {
      subscriber->Close(absl::UnavailableError("the feeder stops"));
    }
  }

  void OnHello(const std::string& node_name) override {
    std::lock_guard lock(mutex_);
    departed_.erase(node_name);
  }

  void OnChanged() override { options_.on_subscribers_changed(); }

  void OnAcked(uint64_t revision) override {
    const absl::Time now = options_.now();
    absl::Time reached;
    {
      std::lock_guard lock(mutex_);
      reached = commits_.ReachedAt(revision);
    }
    if (reached <= now && reached != absl::InfinitePast()) options_.on_acked(now - reached);
  }

  bool MayBeginSnapshot(Subscriber& subscriber) override {
    std::lock_guard lock(mutex_);
    const auto it = subscribers_.find(&subscriber);
    return it == subscribers_.end() || gate_.Enter(it->second, options_.now());
  }

  void OnSnapshotSent(const Subscriber& subscriber) override {
    std::vector<std::shared_ptr<Subscriber>> admitted;
    {
      std::lock_guard lock(mutex_);
      admitted = gate_.Leave(&subscriber, options_.now());
    }
    for (const auto& next : admitted) next->Admit();
  }

  bool MayBeNode(const grpc::AuthContext* peer, const std::string& node_name) override {
    return options_.may_be_node(peer, node_name);
  }

  void OnFault(const absl::Status& reason) override { options_.on_fault(reason); }

  void OnDone(Subscriber* subscriber) override {
    const std::optional<SubscriberStatus> status = subscriber->Status();
    // Destroyed without the lock.
    std::shared_ptr<Subscriber> forgotten;
    std::vector<std::shared_ptr<Subscriber>> admitted;
    {
      std::lock_guard lock(mutex_);
      admitted = gate_.Leave(subscriber, options_.now());
      const auto it = subscribers_.find(subscriber);
      forgotten = std::move(it->second);
      subscribers_.erase(it);
      // Bounded, as agents choose their names themselves where nobody checks them.
      if (status &&
          (departed_.size() < options_.max_subscribers || departed_.contains(status->node_name))) {
        departed_[status->node_name] = {*status, options_.now()};
      }
    }
    for (const auto& next : admitted) next->Admit();
    options_.on_subscribers_changed();
  }

  std::vector<std::shared_ptr<Subscriber>> All() const {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<Subscriber>> all;
    all.reserve(subscribers_.size());
    for (const auto& [reactor, subscriber] : subscribers_) all.push_back(subscriber);
    return all;
  }

  std::vector<SubscriberStatus> Statuses() const {
    std::vector<SubscriberStatus> statuses;
    for (const auto& subscriber : All()) {
      if (std::optional<SubscriberStatus> status = subscriber->Status()) {
        statuses.push_back(*std::move(status));
      }
    }
    std::sort(statuses.begin(), statuses.end(), [](const auto& a, const auto& b) {
      return std::tie(a.node_name, a.connected) < std::tie(b.node_name, b.connected);
    });
    return statuses;
  }

  std::vector<FeedNode> Nodes() const {
    std::vector<FeedNode> nodes;
    for (SubscriberStatus& status : Statuses()) nodes.push_back({.status = std::move(status)});
    const absl::Time now = options_.now();
    std::lock_guard lock(mutex_);
    const auto by_name = [](const FeedNode& node, const std::string& name) {
      return node.status.node_name < name;
    };
    const size_t connected = nodes.size();
    for (const auto& [name, departed] : departed_) {
      const auto end = nodes.begin() + static_cast<ptrdiff_t>(connected);
      const auto it = std::lower_bound(nodes.begin(), end, name, by_name);
      if (it != end && it->status.node_name == name) continue;
      nodes.push_back({.status = departed.status, .left = departed.left});
    }
    std::sort(nodes.begin(), nodes.end(), [](const FeedNode& a, const FeedNode& b) {
      return std::tie(a.status.node_name, a.status.connected) <
             std::tie(b.status.node_name, b.status.connected);
    });
    for (FeedNode& node : nodes) {
      const absl::Time since = commits_.SupersededAt(node.status.acked_revision);
      // One that has acknowledged nothing yet is behind since it is there.
      const absl::Time start =
          node.status.acked_revision == 0 ? std::max(since, node.status.connected) : since;
      node.behind = start < now ? now - start : absl::ZeroDuration();
    }
    return nodes;
  }

 private:
  struct Departed {
    SubscriberStatus status;
    absl::Time left;
  };

  absl::Status MayAccept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (shut_down_) return absl::UnavailableError("the feeder stops");
    if (options_.refuse_until_complete && !journal_.complete()) {
      return absl::UnavailableError("the source has not given a whole picture yet");
    }
    if (subscribers_.size() >= options_.max_subscribers) {
      return absl::ResourceExhaustedError(
          absl::StrCat("too many subscribers: at most ", options_.max_subscribers));
    }
    if (!rate_.Take(options_.now())) {
      return absl::ResourceExhaustedError(absl::StrCat("too many new subscribers: at most ",
                                                       options_.max_subscribe_rate, " a second"));
    }
    return absl::OkStatus();
  }

  // Body of the distributor: wakes all streams after a change, and makes them send heartbeats.
  void Distribute() {
    const auto interval = absl::ToChronoNanoseconds(options_.heartbeat_interval);
    auto next_heartbeat = std::chrono::steady_clock::now() + interval;
    std::unique_lock lock(mutex_);
    while (!shut_down_) {
      wake_distributor_.wait_until(lock, next_heartbeat, [this] { return changed_ || shut_down_; });
      if (shut_down_) return;
      const bool changed = std::exchange(changed_, false);
      const bool heartbeat = std::chrono::steady_clock::now() >= next_heartbeat;
      lock.unlock();
      if (changed) {
        for (const auto& subscriber : All()) subscriber->Wake();
      }
      if (heartbeat) {
        for (const auto& subscriber : All()) {
          subscriber->Heartbeat();
          subscriber->CheckHello(kHelloPatience);
        }
        if (!changed) reads_.Clear();
        CleanUp();
        next_heartbeat = std::chrono::steady_clock::now() + interval;
      }
      lock.lock();
    }
  }

  void CleanUp() {
    const absl::Time now = options_.now();
    std::vector<std::shared_ptr<Subscriber>> admitted;
    {
      std::lock_guard lock(mutex_);
      std::erase_if(departed_, [now](const auto& entry) {
        return now - entry.second.left > kRememberDeparted;
      });
      admitted = gate_.Expire(now);
    }
    for (const auto& next : admitted) next->Admit();
  }

  Journal& journal_;
  const FeedServerOptions options_;
  ReadCache reads_;
  std::thread distributor_;
  std::once_flag joined_;

  mutable std::mutex mutex_;
  std::condition_variable wake_distributor_;
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_map<Subscriber*, std::shared_ptr<Subscriber>> subscribers_
      ABSL_GUARDED_BY(mutex_);
  // By node name; may hold one that is connected again by another stream.
  std::map<std::string, Departed> departed_ ABSL_GUARDED_BY(mutex_);
  CommitTimes commits_ ABSL_GUARDED_BY(mutex_);
  SnapshotGate<Subscriber> gate_ ABSL_GUARDED_BY(mutex_);
  RateLimit rate_ ABSL_GUARDED_BY(mutex_);
};

// Raw, so that messages can be put together from bytes that all streams share.
class FeedServer::RpcService final
    : public v1::Feed::WithRawCallbackMethod_Subscribe<v1::Feed::Service> {
 public:
  explicit RpcService(Core& core) : core_(core) {}

  Reactor* Subscribe(grpc::CallbackServerContext* context) override {
    return core_.Accept(*context);
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

void FeedServer::Configure(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMilliseconds);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMilliseconds);
  // However often that is needed, and however often agents ask.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  // Of TLS: what each connection holds of it is most of what an agent costs.
  builder.AddChannelArgument("grpc.tsi.max_frame_size", kTlsFrameBytes);
}

grpc::Service& FeedServer::service() { return *service_; }

std::vector<SubscriberStatus> FeedServer::Subscribers() const { return core_->Statuses(); }

std::vector<FeedNode> FeedServer::Nodes() const { return core_->Nodes(); }

void FeedServer::Shutdown() { core_->Shutdown(); }

}  // namespace fairlead
