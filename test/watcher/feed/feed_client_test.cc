// The client, against a feeder that follows a script.
#include "watcher/feed/feed_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <catch2/catch.hpp>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fairlead/v1/feed.grpc.pb.h"
#include "test/watcher/feed/objects.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/feed/feed_in_process.h"

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
  response.mutable_batch()->set_complete_revision(revision);
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
  CHECK(status.last_error == "feeder: INVALID_ARGUMENT: Batch: complete_revision 4 after 5");
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

// The channel of a port on which nobody listens.
std::shared_ptr<grpc::Channel> NobodysChannel() {
  return grpc::CreateCustomChannel("unix:/nonexistent/feed", grpc::InsecureChannelCredentials(),
                                   FeedChannelArguments());
}

TEST_CASE("A client that finds nobody keeps trying, and stops at once") {
  Agent agent(NobodysChannel());
  agent.client().Stop();
  CHECK(!agent.client().status().connected);
  CHECK(agent.client().status().attempts >= 1);
}

TEST_CASE("A client that is stopped while an attempt fails stops") {
  const std::shared_ptr<grpc::Channel> channel = NobodysChannel();
  FeedMailbox mailbox([] {});
  constexpr uint64_t kClients = 1'000;
  uint64_t attempts = 0;
  for (uint64_t i = 0; i < kClients; ++i) {
    FeedClient client({{"nobody", channel}},
                      {.node_name = "n1",
                       .min_reconnect_wait = absl::Microseconds(10),
                       .max_reconnect_wait = absl::Microseconds(10)},
                      mailbox);
    client.Start();
    // Some stop in the middle of the first attempt, others of a later one.
    while (client.status().attempts < 1 + i % 3) std::this_thread::yield();
    client.Stop();
    attempts += client.status().attempts;
  }
  CHECK(attempts >= kClients);
}

TEST_CASE("Of several feeders the next is followed when one does not answer or ends") {
  InProcessFeed first({}, "first");
  auto second = std::make_unique<InProcessFeed>(FeedServerOptions(), "second");
  for (InProcessFeed* feed : {&first, second.get()}) {
    feed->journal().Upsert(MakeService("a"), kNow);
    feed->journal().MarkComplete();
  }
  second->journal().Upsert(MakeService("b"), kNow);
  // Whichever the node's name selects, it comes to the one that answers.
  Agent agent({{"nobody", NobodysChannel()}, {"second", second->MakeChannel()}}, "n1");
  const FeedUpdate update = agent.Next();
  CHECK(update.position == FeedPosition{"second", 2});
  CHECK(agent.client().status().feeder == "second");
  agent.client().Stop();

  Agent moving({{"first", first.MakeChannel()}, {"second", second->MakeChannel()}}, "n1");
  FeedUpdate from = moving.Next();
  const bool first_was_first = from.position.epoch == "first";
  // The one that is followed ends; the other has another epoch, so everything comes again.
  (first_was_first ? first : *second).server().Shutdown();
  const FeedUpdate to = moving.Next();
  CHECK(to.position.epoch == (first_was_first ? "second" : "first"));
  CHECK(to.snapshot);
  moving.client().Stop();
}

TEST_CASE("Agents begin with different feeders, each with the same one every time") {
  InProcessFeed first({}, "first");
  InProcessFeed second({}, "second");
  first.journal().MarkComplete();
  second.journal().MarkComplete();
  std::map<std::string, int> chosen;
  for (int i = 0; i < 40; ++i) {
    const std::string node = "node-" + std::to_string(i);
    std::string epoch;
    for (int again = 0; again < 2; ++again) {
      Agent agent({{"first", first.MakeChannel()}, {"second", second.MakeChannel()}}, node);
      const std::string got = agent.Next().position.epoch;
      if (again == 1) CHECK(got == epoch);
      epoch = got;
      agent.client().Stop();
    }
    ++chosen[epoch];
  }
  CHECK(chosen["first"] >= 10);
  CHECK(chosen["second"] >= 10);
}

TEST_CASE("A feeder that falls silent is given up, one with heartbeats is not") {
  // The first stream is silent after its picture, the second one answers.
  ScriptedFeed feed({
      [](const v1::Hello&, ServerStream& stream) {
        SendStart(stream, "e", v1::Start::SNAPSHOT);
        SendComplete(stream, 1);
        v1::SubscribeRequest ignored;
        while (stream.Read(&ignored)) {
        }
      },
      [](const v1::Hello& hello, ServerStream& stream) {
        SendStart(stream, hello.epoch(), v1::Start::DELTA);
        SendComplete(stream, 2);
        v1::SubscribeResponse heartbeat;
        heartbeat.mutable_heartbeat()->set_head_revision(7);
        while (stream.Write(heartbeat)) {
        }
      },
  });
  Signal signal;
  FeedMailbox mailbox([&signal] { signal.Raise(); });
  FeedClient client({{"feeder", feed.MakeChannel()}},
                    {.node_name = "n1",
                     .min_reconnect_wait = absl::Milliseconds(1),
                     .max_reconnect_wait = absl::Milliseconds(20),
                     .silence_timeout = absl::Milliseconds(50)},
                    mailbox);
  client.Start();
  REQUIRE(signal.Await([&client] { return client.status().position.revision == 2; }));
  CHECK(client.status().last_error == "feeder: UNAVAILABLE: nothing was heard for 50ms");
  const uint64_t attempts = client.status().attempts;
  // Heartbeats for several times the timeout.
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
  while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
  CHECK(client.status().head_revision == 7);
  CHECK(client.status().attempts == attempts);
  client.Stop();
}

TEST_CASE("A client that was never started stops") {
  FeedMailbox mailbox([] {});
  FeedClient client({{"nobody", NobodysChannel()}}, {.node_name = "n1"}, mailbox);
  client.Stop();
  CHECK(client.status().attempts == 0);
}

}  // namespace
}  // namespace fairlead
