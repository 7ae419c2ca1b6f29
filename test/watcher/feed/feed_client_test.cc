// The client, against a feeder that follows a script.
#include "watcher/feed/feed_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <catch2/catch.hpp>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "fairlead/v1/feed.grpc.pb.h"
#include "test/watcher/feed/objects.h"
#include "watcher/feed/feed_codec.h"

namespace fairlead {
namespace {

using feed_test::Agent;
using feed_test::MakeService;
using feed_test::Names;
using feed_test::ServiceId;
using feed_test::Signal;
using Lines = std::vector<std::string>;

using ServerStream = grpc::ServerReaderWriter<v1::SubscribeResponse, v1::SubscribeRequest>;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

void SendStart(ServerStream& stream, const std::string& epoch, v1::Start::Mode mode) {
  v1::SubscribeResponse response;
  response.mutable_start()->set_epoch(epoch);
  response.mutable_start()->set_mode(mode);
  stream.Write(response);
}

void SendService(ServerStream& stream, const std::string& name, int version = 0) {
  v1::SubscribeResponse response;
  *response.mutable_batch()->add_changes() = EncodeChange(MakeService(name, version), 1, kNow);
  stream.Write(response);
}

void SendComplete(ServerStream& stream, uint64_t revision) {
  v1::SubscribeResponse response;
  response.mutable_complete()->set_revision(revision);
  stream.Write(response);
}

// Runs one step of a script for each stream; streams after the last step stay open and silent.
class ScriptedFeed : public v1::Feed::Service {
 public:
  using Step = std::function<void(const v1::Hello&, ServerStream&)>;

  explicit ScriptedFeed(std::deque<Step> script) : script_(std::move(script)) {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~ScriptedFeed() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status Subscribe(grpc::ServerContext*, ServerStream* stream) override {
    v1::SubscribeRequest request;
    if (!stream->Read(&request)) return grpc::Status::OK;
    Step step = [](const v1::Hello&, ServerStream& silent) {
      v1::SubscribeRequest ignored;
      while (silent.Read(&ignored)) {
      }
    };
    {
      std::lock_guard lock(mutex_);
      if (!script_.empty()) {
        step = std::move(script_.front());
        script_.pop_front();
      }
    }
    step(request.hello(), *stream);
    return {grpc::StatusCode::UNAVAILABLE, "cut"};
  }

  std::shared_ptr<grpc::Channel> MakeChannel() { return server_->InProcessChannel({}); }

 private:
  std::mutex mutex_;
  std::deque<Step> script_;
  std::unique_ptr<grpc::Server> server_;
};

// Keeps the stream open until the client ends it.
void Hold(ServerStream& stream) {
  v1::SubscribeRequest ignored;
  while (stream.Read(&ignored)) {
  }
}

TEST_CASE("What came before a cut and was not complete is forgotten, and asked for again") {
  std::string second_epoch;
  uint64_t second_revision = 0;
  ScriptedFeed feed({
      [](const v1::Hello&, ServerStream& stream) {
        SendStart(stream, "e", v1::Start::SNAPSHOT);
        SendService(stream, "a");
        SendComplete(stream, 1);
        SendService(stream, "lost");
      },
      [&](const v1::Hello& hello, ServerStream& stream) {
        second_epoch = hello.epoch();
        second_revision = hello.revision();
        SendStart(stream, "e", v1::Start::DELTA);
        SendService(stream, "b");
        SendComplete(stream, 3);
        Hold(stream);
      },
  });
  Agent agent(feed.MakeChannel());
  const FeedUpdate update = agent.Until(3);
  agent.client().Stop();
  CHECK(update.position == FeedPosition{"e", 3});
  CHECK(second_epoch == "e");
  CHECK(second_revision == 1);
  std::vector<ObjectId> ids;
  for (const auto& [id, object] : agent.picture()) ids.push_back(id);
  CHECK(Names(ids) == Lines{"Service shop/a", "Service shop/b"});
}

TEST_CASE("A feeder that breaks the protocol is asked for everything again") {
  uint64_t second_revision = 99;
  ScriptedFeed feed({
      [](const v1::Hello&, ServerStream& stream) {
        SendStart(stream, "e", v1::Start::SNAPSHOT);
        SendService(stream, "a");
        SendComplete(stream, 5);
        SendComplete(stream, 4);
        Hold(stream);
      },
      [&](const v1::Hello& hello, ServerStream& stream) {
        second_revision = hello.revision();
        SendStart(stream, "e", v1::Start::SNAPSHOT);
        SendComplete(stream, 6);
        Hold(stream);
      },
  });
  Agent agent(feed.MakeChannel());
  const FeedUpdate update = agent.Until(6);
  CHECK(update.snapshot);
  CHECK(second_revision == 0);
  CHECK(agent.picture().empty());
  const FeedClientStatus status = agent.client().status();
  CHECK(status.attempts == 2);
  CHECK(status.last_error == "INVALID_ARGUMENT: Complete: revision 4 after 5");
}

TEST_CASE("The last ack is sent again after a reconnect, and only within its epoch") {
  Signal signal;
  std::mutex mutex;
  std::vector<uint64_t> acks;  // Revision by stream; 0 where none came.
  const auto await_ack = [&](ServerStream& stream) {
    v1::SubscribeRequest request;
    const bool came = stream.Read(&request);
    std::lock_guard lock(mutex);
    acks.push_back(came ? request.ack().revision() : 0);
    signal.Raise();
  };
  ScriptedFeed feed({
      [&](const v1::Hello&, ServerStream& stream) {
        SendStart(stream, "e", v1::Start::SNAPSHOT);
        SendComplete(stream, 1);
        await_ack(stream);
      },
      [&](const v1::Hello&, ServerStream& stream) {
        SendStart(stream, "e", v1::Start::DELTA);
        await_ack(stream);
      },
      [&](const v1::Hello&, ServerStream& stream) {
        SendStart(stream, "f", v1::Start::SNAPSHOT);
        SendComplete(stream, 2);
        await_ack(stream);
      },
  });
  Agent agent(feed.MakeChannel());
  agent.client().Ack(agent.Next().position, absl::Milliseconds(3), {{ServiceId("a"), "no"}});
  agent.client().Ack(agent.Until(2).position, absl::Milliseconds(3), {});
  REQUIRE(signal.Await([&] {
    std::lock_guard lock(mutex);
    return acks.size() == 3;
  }));
  CHECK(acks == std::vector<uint64_t>{1, 1, 2});
}

TEST_CASE("A client that finds nobody keeps trying, and stops at once") {
  Agent agent(grpc::CreateChannel("unix:/nonexistent/feed", grpc::InsecureChannelCredentials()));
  agent.client().Stop();
  CHECK(!agent.client().status().connected);
  CHECK(agent.client().status().attempts >= 1);
}

TEST_CASE("A client that was never started stops") {
  FeedMailbox mailbox([] {});
  FeedClient client(
      grpc::CreateChannel("unix:/nonexistent/feed", grpc::InsecureChannelCredentials()),
      {.node_name = "n1"}, mailbox);
  client.Stop();
  CHECK(client.status().attempts == 0);
}

}  // namespace
}  // namespace fairlead
