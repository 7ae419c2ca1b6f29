#include "test/bench/feed_swarm.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "fairlead/v1/feed.pb.h"
#include "watcher/feed/feed_client.h"

namespace fairlead::bench {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr char kMethod[] = "/fairlead.v1.Feed/Subscribe";
constexpr auto kPatience = std::chrono::minutes(10);
constexpr int kReadChunkBytes = 16 << 10;
constexpr auto kRetry = std::chrono::milliseconds(200);

grpc::ByteBuffer Serialize(const v1::SubscribeRequest& request) {
  const grpc::Slice slice(request.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

// What the agent cares for: the complete mark of a batch. The changes are passed over.
std::optional<uint64_t> ReadMark(const std::string& bytes) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  if (WireFormatLite::GetTagFieldNumber(in.ReadTag()) != v1::SubscribeResponse::kBatchFieldNumber) {
    return std::nullopt;
  }
  uint32_t length = 0;
  in.ReadVarint32(&length);
  while (const uint32_t tag = in.ReadTag()) {
    if (WireFormatLite::GetTagFieldNumber(tag) == v1::Batch::kCompleteRevisionFieldNumber) {
      uint64_t revision = 0;
      in.ReadVarint64(&revision);
      return revision;
    }
    if (!WireFormatLite::SkipField(&in, tag)) break;
  }
  return std::nullopt;
}

}  // namespace

// One agent's connection and stream.
class Swarm::Stream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream(Swarm& swarm, int index, std::shared_ptr<grpc::Channel> channel)
      : swarm_(swarm), index_(index), channel_(channel), stub_(std::move(channel)) {}

  void Begin(const std::string& epoch, uint64_t revision) {
    v1::SubscribeRequest request;
    request.mutable_hello()->set_node_name(absl::StrCat("node-", index_));
    request.mutable_hello()->set_epoch(epoch);
    request.mutable_hello()->set_revision(revision);
    outgoing_ = Serialize(request);
    stub_.PrepareBidiStreamingCall(&context_, kMethod, grpc::StubOptions(), this);
    AddHold();
    StartWrite(&outgoing_);
    StartRead(&incoming_);
    StartCall();
  }

  void Cancel() {
    cancelled_ = true;
    context_.TryCancel();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Release();
    std::vector<grpc::Slice> slices;
    incoming_.Dump(&slices);
    std::string bytes;
    for (const grpc::Slice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    if (!started_) {
      started_ = true;
      v1::SubscribeResponse response;
      response.ParseFromString(bytes);
      std::lock_guard lock(swarm_.mutex_);
      swarm_.epoch_ = response.start().epoch();
    }
    const std::optional<uint64_t> mark = ReadMark(bytes);
    swarm_.Arrived(index_, mark.value_or(0), bytes.size());
    if (mark) Acknowledge(*mark);
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    {
      std::lock_guard lock(mutex_);
      writing_ = false;
      if (!ok || reading_ended_) waiting_.reset();
    }
    WriteNext();
    Release(/*writer=*/true);
  }

  void OnDone(const grpc::Status& /*status*/) override { swarm_.Ended(index_, cancelled_); }

 private:
  void Acknowledge(uint64_t revision) {
    {
      std::lock_guard lock(mutex_);
      waiting_ = revision;
    }
    WriteNext();
  }

  void WriteNext() {
    {
      std::lock_guard lock(mutex_);
      if (writing_ || reading_ended_ || !waiting_) return;
      v1::SubscribeRequest request;
      request.mutable_ack()->set_revision(*std::exchange(waiting_, std::nullopt));
      outgoing_ = Serialize(request);
      writing_ = true;
    }
    StartWrite(&outgoing_);
  }

  // Gives the hold back when nothing more will be written.
  void Release(bool writer = false) {
    {
      std::lock_guard lock(mutex_);
      if (!writer) reading_ended_ = true;
      if (!reading_ended_ || writing_ || released_) return;
      released_ = true;
    }
    RemoveHold();
  }

  Swarm& swarm_;
  const int index_;
  const std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;
  bool started_ = false;
  std::atomic<bool> cancelled_ = false;

  std::mutex mutex_;
  grpc::ByteBuffer outgoing_;
  std::optional<uint64_t> waiting_;
  bool writing_ = true;  // The Hello.
  bool reading_ended_ = false;
  bool released_ = false;
};

Swarm::Swarm(std::string address, std::shared_ptr<grpc::ChannelCredentials> credentials)
    : address_(std::move(address)), credentials_(std::move(credentials)) {}

Swarm::~Swarm() {
  for (const auto& stream : streams_) stream->Cancel();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return open_ == 0; });
}

void Swarm::Open(int index) {
  grpc::ChannelArguments arguments = FeedChannelArguments();
  // A connection of its own, as agents on different nodes have.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Otherwise each connection grows a buffer of megabytes, and this process is what is measured.
  arguments.SetInt(GRPC_ARG_TCP_READ_CHUNK_SIZE, kReadChunkBytes);
  arguments.SetInt(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kReadChunkBytes);
  streams_[index] = std::make_unique<Stream>(
      *this, index, grpc::CreateCustomChannel(address_, credentials_, arguments));
  {
    std::lock_guard lock(mutex_);
    ++open_;
  }
  streams_[index]->Begin(epoch_, revisions_[index]);
}

void Swarm::Grow(int size) {
  const auto before = static_cast<int>(streams_.size());
  {
    std::lock_guard lock(mutex_);
    streams_.resize(size);
    revisions_.resize(size);
    times_.resize(size, absl::InfinitePast());
    missing_ += size - before;
  }
  for (int i = before; i < size; ++i) Open(i);
}

void Swarm::Reconnect() {
  for (const auto& stream : streams_) stream->Cancel();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return open_ == 0; });
  fallen_.clear();
  // With them go their connections.
  for (auto& stream : streams_) stream.reset();
  missing_ = streams_.size();
  times_.assign(streams_.size(), absl::InfinitePast());
  lock.unlock();
  for (size_t i = 0; i < streams_.size(); ++i) Open(static_cast<int>(i));
}

void Swarm::Expect(uint64_t revision) {
  std::lock_guard lock(mutex_);
  expected_ = revision;
  times_.assign(streams_.size(), absl::InfinitePast());
  missing_ = static_cast<size_t>(std::count_if(
      revisions_.begin(), revisions_.end(), [revision](uint64_t has) { return has < revision; }));
}

std::vector<absl::Time> Swarm::Await() {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kRetry, [this] { return missing_ == 0; })) {
    if (std::chrono::steady_clock::now() > end) {
      throw std::runtime_error(absl::StrCat(missing_, " agents have not got it after minutes"));
    }
    // As agents do, but for their growing waits.
    const std::vector<int> again = std::exchange(fallen_, {});
    lock.unlock();
    for (const int index : again) {
      streams_[index].reset();
      Open(index);
    }
    lock.lock();
  }
  return times_;
}

void Swarm::Arrived(int index, uint64_t revision, size_t bytes) {
  bytes_ += bytes;
  if (revision == 0) return;
  const absl::Time now = absl::Now();
  std::lock_guard lock(mutex_);
  revisions_[index] = revision;
  if (revision < expected_ || times_[index] != absl::InfinitePast()) return;
  times_[index] = now;
  if (--missing_ == 0) changed_.notify_all();
}

void Swarm::Ended(int index, bool wanted) {
  std::lock_guard lock(mutex_);
  if (!wanted) {
    ++ended_;
    fallen_.push_back(index);
  }
  --open_;
  changed_.notify_all();
}

}  // namespace fairlead::bench
