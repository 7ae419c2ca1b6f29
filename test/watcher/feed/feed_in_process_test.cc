// Server and client together.
#include "watcher/feed/feed_in_process.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "test/watcher/feed/objects.h"

namespace fairlead {
namespace {

using feed_test::Agent;
using feed_test::MakeService;
using feed_test::Names;
using feed_test::Random;
using feed_test::ServiceId;
using feed_test::Signal;
using Lines = std::vector<std::string>;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

bool SamePicture(const Picture& a, const Picture& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](auto& x, auto& y) {
           return x.first == y.first && SameValue(x.second, y.second);
         });
}

TEST_CASE("An agent gets a snapshot and then deltas") {
  InProcessFeed feed;
  feed.journal().Upsert(MakeService("a"), kNow);
  feed.journal().MarkComplete();
  Agent agent(feed.MakeChannel());

  const FeedUpdate first = agent.Next();
  CHECK(first.snapshot);
  CHECK(first.position == FeedPosition{feed.journal().epoch(), 1});
  CHECK(Names(first.upserts) == Lines{"Service shop/a"});
  CHECK(agent.client().status().connected);

  feed.journal().Upsert(MakeService("b"), kNow);
  const FeedUpdate second = agent.Next();
  CHECK(!second.snapshot);
  CHECK(Names(second.upserts) == Lines{"Service shop/b"});
  CHECK(second.oldest_trigger == kNow);

  feed.journal().Remove(ServiceId("a"), kNow);
  CHECK(Names(agent.Next().removals) == Lines{"Service shop/a"});
}

TEST_CASE("An agent of an empty feed hears that its picture is complete") {
  InProcessFeed feed;
  feed.journal().MarkComplete();
  Agent agent(feed.MakeChannel());
  const FeedUpdate update = agent.Next();
  CHECK(update.snapshot);
  CHECK(update.upserts.empty());
}

TEST_CASE("An agent that is slow takes the latest version of each object at once") {
  InProcessFeed feed;
  feed.journal().MarkComplete();
  Agent agent(feed.MakeChannel());
  agent.Next();
  for (int i = 1; i <= 500; ++i) {
    feed.journal().Upsert(MakeService(absl::StrCat("s", i % 5), i), kNow);
  }
  // Nothing is taken before another agent has everything.
  Agent probe(feed.MakeChannel(), "n2");
  probe.Until(500);
  const FeedUpdate update = agent.Until(500);
  CHECK(update.upserts.size() <= 5);
  CHECK(SamePicture(agent.picture(), probe.picture()));
}

TEST_CASE("The watcher hears what an agent has programmed, and what failed") {
  Signal changed;
  InProcessFeed feed({.on_subscribers_changed = [&] { changed.Raise(); }});
  feed.journal().Upsert(MakeService("a"), kNow);
  feed.journal().MarkComplete();
  {
    Agent agent(feed.MakeChannel());
    const FeedUpdate update = agent.Next();
    agent.client().Ack(update.position, absl::Milliseconds(2), {{ServiceId("a"), "no scheduler"}});
    const auto acked = [&] {
      const std::vector<SubscriberStatus> all = feed.server().Subscribers();
      return all.size() == 1 && all[0].acked_revision == 1;
    };
    REQUIRE(changed.Await(acked));
    const SubscriberStatus status = feed.server().Subscribers()[0];
    CHECK(status.node_name == "n1");
    CHECK(status.programming_time == absl::Milliseconds(2));
    CHECK(status.failure_count == 1);
    CHECK(status.failures == std::vector<ObjectFailure>{{ServiceId("a"), "no scheduler"}});
  }
  CHECK(changed.Await([&] { return feed.server().Subscribers().empty(); }));
}

// A server on a socket, so that it can go away and come back.
class SocketFeed {
 public:
  SocketFeed(Journal& journal, const std::string& address) : server_(journal) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&server_.service());
    grpc_server_ = builder.BuildAndStart();
    REQUIRE(grpc_server_ != nullptr);
  }
  ~SocketFeed() {
    server_.Shutdown();
    grpc_server_->Shutdown();
  }

 private:
  FeedServer server_;
  std::unique_ptr<grpc::Server> grpc_server_;
};

TEST_CASE("After a reconnect an agent resumes; with a new journal it gets everything") {
  const std::string path =
      std::filesystem::temp_directory_path() / absl::StrCat("fairlead-feed-", getpid());
  const std::string address = absl::StrCat("unix:", path);
  grpc::ChannelArguments arguments = FeedChannelArguments();
  for (const char* wait : {GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                           GRPC_ARG_MAX_RECONNECT_BACKOFF_MS}) {
    arguments.SetInt(wait, 20);
  }
  Agent agent(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
  Journal journal("e");
  journal.Upsert(MakeService("a"), kNow);
  journal.MarkComplete();
  {
    SocketFeed feed(journal, address);
    CHECK(Names(agent.Next().upserts) == Lines{"Service shop/a"});
  }
  journal.Upsert(MakeService("b"), kNow);
  journal.Remove(ServiceId("a"), kNow);
  {
    SocketFeed feed(journal, address);
    const FeedUpdate resumed = agent.Next();
    CHECK(!resumed.snapshot);
    CHECK(resumed.position == FeedPosition{"e", 3});
    CHECK(Names(resumed.upserts) == Lines{"Service shop/b"});
    CHECK(Names(resumed.removals) == Lines{"Service shop/a"});
  }
  Journal another("f");
  another.Upsert(MakeService("b"), kNow);
  another.MarkComplete();
  agent.snapshot().TakeDirtyServices();
  {
    SocketFeed feed(another, address);
    const FeedUpdate again = agent.Next();
    CHECK(again.snapshot);
    CHECK(again.position == FeedPosition{"f", 1});
    CHECK(agent.snapshot().TakeDirtyServices().empty());
  }
  agent.client().Stop();
}

// What a source might do, from a seed: single changes, removals, and whole new pictures.
void Churn(Random& random, Journal& journal, int steps) {
  for (int i = 0; i < steps; ++i) {
    const Object object = feed_test::RandomObject(random, absl::StrCat("o", random() % 40));
    switch (random() % 8) {
      case 0: {
        Picture picture;
        for (int j = 0; j < 30; ++j) {
          const Object other = feed_test::RandomObject(random, absl::StrCat("o", random() % 40));
          picture[IdOf(other)] = other;
        }
        journal.Replace(picture, kNow);
        break;
      }
      case 1:
      case 2:
        journal.Remove(IdOf(object), kNow);
        break;
      default:
        journal.Upsert(object, kNow);
    }
  }
}

TEST_CASE("After any churn all agents have the journal's picture") {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    InProcessFeed feed;
    Churn(random, feed.journal(), 50);
    feed.journal().MarkComplete();
    // All of one node, one of those that come and go, as each is given its own Node alone.
    Agent early(feed.MakeChannel(), "o1");
    Agent other(feed.MakeChannel(), "o1");
    early.Next();
    std::thread source([&] { Churn(random, feed.journal(), 500); });
    for (int i = 0; i < 3; ++i) {
      // Connects while things change, and goes.
      Agent passing(feed.MakeChannel(), "passing");
      passing.Next();
    }
    source.join();
    // So that there is a revision to wait for.
    feed.journal().Upsert(MakeService("last"), kNow);
    const uint64_t head = feed.journal().head_revision();
    Agent late(feed.MakeChannel(), "o1");

    REQUIRE(late.Until(head).snapshot);
    other.Until(head);
    early.Until(head);

    const JournalCursor beginning = feed.journal().Open("", 0).cursor;
    const JournalRead all = feed.journal().Read(beginning, SIZE_MAX, "o1").value();
    CHECK(late.picture().size() == all.changes.size());
    CHECK(SamePicture(early.picture(), late.picture()));
    CHECK(SamePicture(other.picture(), late.picture()));
  }
}

TEST_CASE("Server, source and agents may end in any order while things change") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    auto feed = std::make_unique<InProcessFeed>();
    feed->journal().MarkComplete();
    std::vector<std::unique_ptr<Agent>> agents;
    agents.reserve(4);
    for (int i = 0; i < 4; ++i) {
      agents.push_back(std::make_unique<Agent>(feed->MakeChannel(), absl::StrCat("n", i)));
    }
    std::thread source([&] { Churn(random, feed->journal(), 100); });
    std::thread acks([&] {
      for (uint64_t i = 0; i < 50; ++i) {
        agents[0]->client().Ack({feed->journal().epoch(), 0}, absl::ZeroDuration(), {});
        agents[3]->client().Ack({feed->journal().epoch(), 0}, absl::ZeroDuration(), {});
      }
    });
    agents[1].reset();
    if (seed % 2 == 0) feed->server().Shutdown();
    agents[2]->client().Stop();
    source.join();
    acks.join();
    agents.clear();
    feed.reset();
    SUCCEED("nothing hung or crashed");
  }
}

}  // namespace
}  // namespace fairlead
