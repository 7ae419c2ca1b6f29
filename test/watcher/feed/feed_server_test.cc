// The server, spoken to by hand.
#include "watcher/feed/feed_server.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "fairlead/v1/feed.grpc.pb.h"
#include "test/watcher/feed/objects.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/feed/feed_in_process.h"

namespace fairlead {
namespace {

using feed_test::MakeNode;
using feed_test::MakeService;
using feed_test::ServiceId;
using feed_test::Signal;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

v1::SubscribeRequest Hello(const std::string& node, const std::string& epoch = "",
                           uint64_t revision = 0) {
  v1::SubscribeRequest request;
  request.mutable_hello()->set_node_name(node);
  request.mutable_hello()->set_epoch(epoch);
  request.mutable_hello()->set_revision(revision);
  return request;
}

v1::SubscribeRequest Ack(uint64_t revision) {
  v1::SubscribeRequest request;
  request.mutable_ack()->set_revision(revision);
  return request;
}

// A stream whose every step is a call; each fails after feed_test::kBound.
class Stream {
 public:
  explicit Stream(InProcessFeed& feed, const std::vector<v1::SubscribeRequest>& requests = {})
      : stub_(feed.MakeChannel()) {
    context_.set_deadline(std::chrono::system_clock::now() + feed_test::kBound);
    stream_ = stub_.Subscribe(&context_);
    for (const v1::SubscribeRequest& request : requests) stream_->Write(request);
  }
  ~Stream() {
    if (stream_) Cancel();
  }

  void Write(const v1::SubscribeRequest& request) { stream_->Write(request); }
  void WritesDone() { stream_->WritesDone(); }

  // "SNAPSHOT e", "DELTA e", "batch a b -c", "complete 3" (of the batch before it) or
  // "heartbeat 3"; "end" after the last.
  std::string Read() {
    while (lines_.empty()) {
      v1::SubscribeResponse response;
      if (!stream_->Read(&response)) return "end";
      Describe(response);
    }
    std::string line = lines_.front();
    lines_.pop_front();
    return line;
  }

  std::vector<std::string> Read(int count) {
    std::vector<std::string> lines;
    lines.reserve(count);
    for (int i = 0; i < count; ++i) lines.push_back(Read());
    return lines;
  }

  // The status, after whatever else is sent.
  grpc::Status Finish() {
    while (Read() != "end") {
    }
    const grpc::Status status = stream_->Finish();
    stream_.reset();
    return status;
  }

  void Cancel() {
    context_.TryCancel();
    Finish();
  }

 private:
  void Describe(const v1::SubscribeResponse& response) {
    if (response.has_start()) {
      lines_.push_back(absl::StrCat(v1::Start::Mode_Name(response.start().mode()), " ",
                                    response.start().epoch()));
    }
    if (response.has_heartbeat()) {
      lines_.push_back(absl::StrCat("heartbeat ", response.heartbeat().head_revision()));
    }
    const v1::Batch& batch = response.batch();
    if (batch.changes_size() > 0) {
      std::string text = "batch";
      for (const v1::Change& change : batch.changes()) {
        absl::StrAppend(&text, " ", change.has_removed() ? "-" : "",
                        DecodeChange(change).value().id.name.name.view());
      }
      lines_.push_back(std::move(text));
    }
    if (batch.has_complete_revision()) {
      lines_.push_back(
          absl::StrCat(batch.partial() ? "partial " : "complete ", batch.complete_revision()));
    }
  }

  v1::Feed::Stub stub_;
  grpc::ClientContext context_;
  std::deque<std::string> lines_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SubscribeRequest, v1::SubscribeResponse>> stream_;
};

using Lines = std::vector<std::string>;

// A feed of epoch "e" whose subscribers can be waited for.
struct Feed {
  Feed() : Feed(FeedServerOptions()) {}
  explicit Feed(FeedServerOptions options) : feed(WithSignals(std::move(options)), "e") {}

  // Waits until the subscribers fulfil the condition.
  bool Await(const std::function<bool(const std::vector<SubscriberStatus>&)>& condition) {
    return changed.Await([&] { return condition(feed.server().Subscribers()); });
  }
  bool AwaitCount(size_t count) {
    return Await([count](const auto& subscribers) { return subscribers.size() == count; });
  }

  FeedServerOptions WithSignals(FeedServerOptions options) {
    options.on_subscribers_changed = [this] { changed.Raise(); };
    options.on_fault = [this](const absl::Status& reason) {
      std::lock_guard lock(mutex);
      faults.push_back(reason.ToString());
    };
    options.on_acked = [this](absl::Duration took) {
      std::lock_guard lock(mutex);
      acked.push_back(took);
    };
    return options;
  }

  Signal changed;
  std::mutex mutex;
  std::vector<std::string> faults;
  std::vector<absl::Duration> acked;
  InProcessFeed feed;
};

TEST_CASE("A subscriber without anything is sent a snapshot, then what changes") {
  Feed f;
  f.feed.journal().Upsert(MakeService("a"), kNow);
  f.feed.journal().Upsert(MakeService("b"), kNow);
  f.feed.journal().MarkComplete();
  Stream stream(f.feed, {Hello("n1")});
  CHECK(stream.Read(3) == Lines{"SNAPSHOT e", "batch a b", "complete 2"});
  f.feed.journal().Upsert(MakeService("b", 1), kNow);
  CHECK(stream.Read(2) == Lines{"batch b", "complete 3"});
  f.feed.journal().Remove(ServiceId("a"), kNow);
  CHECK(stream.Read(2) == Lines{"batch -a", "complete 4"});
}

TEST_CASE("An empty feed is a snapshot without objects and its mark") {
  Feed f;
  f.feed.journal().MarkComplete();
  Stream stream(f.feed, {Hello("n1")});
  CHECK(stream.Read(2) == Lines{"SNAPSHOT e", "complete 0"});
}

TEST_CASE("A feeder that has nothing yet can send agents to another one") {
  Feed f({.refuse_until_complete = true});
  Stream early(f.feed, {Hello("n1")});
  const grpc::Status refused = early.Finish();
  CHECK(refused.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(refused.error_message() == "the source has not given a whole picture yet");
  CHECK(f.faults.empty());
  f.feed.journal().MarkComplete();
  Stream late(f.feed, {Hello("n1")});
  CHECK(late.Read(2) == Lines{"SNAPSHOT e", "complete 0"});
}

TEST_CASE("A picture in which something is missing says so, and when nothing is any more") {
  Feed f;
  f.feed.journal().MarkComplete(/*partial=*/true);
  Stream stream(f.feed, {Hello("n1")});
  CHECK(stream.Read(2) == Lines{"SNAPSHOT e", "partial 0"});
  f.feed.journal().Upsert(MakeService("a"), kNow);
  CHECK(stream.Read(2) == Lines{"batch a", "partial 1"});
  f.feed.journal().MarkComplete();
  CHECK(stream.Read() == "complete 1");
}

TEST_CASE("No complete mark is sent before the source's first picture is complete") {
  Feed f;
  Stream stream(f.feed, {Hello("n1")});
  CHECK(stream.Read() == "SNAPSHOT e");
  f.feed.journal().Upsert(MakeService("a"), kNow);
  CHECK(stream.Read() == "batch a");
  f.feed.journal().Upsert(MakeService("b"), kNow);
  CHECK(stream.Read() == "batch b");
  f.feed.journal().MarkComplete();
  CHECK(stream.Read() == "complete 2");
}

TEST_CASE("A subscriber resumes from its revision, or begins again where that is not possible") {
  struct Case {
    const char* name;
    v1::SubscribeRequest hello;
    Lines responses;
  };
  const Case kCases[] = {
      {"behind", Hello("n1", "e", 2), {"DELTA e", "batch a -b", "complete 5"}},
      {"up to date", Hello("n1", "e", 5), {"DELTA e", "complete 5"}},
      {"another epoch", Hello("n1", "d", 5), {"SNAPSHOT e", "batch c a", "complete 5"}},
      {"ahead of the journal", Hello("n1", "e", 6), {"SNAPSHOT e", "batch c a", "complete 5"}},
  };
  Feed f;
  f.feed.journal().Upsert(MakeService("b"), kNow);
  f.feed.journal().Upsert(MakeService("c"), kNow);
  f.feed.journal().Upsert(MakeService("a"), kNow);
  f.feed.journal().Upsert(MakeService("a", 1), kNow);
  f.feed.journal().Remove(ServiceId("b"), kNow);
  f.feed.journal().MarkComplete();
  for (const Case& test : kCases) {
    INFO(test.name);
    Stream stream(f.feed, {test.hello});
    CHECK(stream.Read(static_cast<int>(test.responses.size())) == test.responses);
  }
}

TEST_CASE("A subscriber that does not read skips what is superseded") {
  Feed f;
  f.feed.journal().MarkComplete();
  Stream stream(f.feed, {Hello("n1")});
  CHECK(stream.Read(2) == Lines{"SNAPSHOT e", "complete 0"});
  for (int i = 1; i <= 1000; ++i) f.feed.journal().Upsert(MakeService("a", i), kNow);
  int messages = 0;
  while (true) {
    const std::string line = stream.Read();
    REQUIRE(line != "end");
    ++messages;
    if (line == "complete 1000") break;
  }
  // What was under way when the changes began, and the last version.
  CHECK(messages <= 4);
}

TEST_CASE("A picture larger than a batch comes in several, and one mark") {
  Feed f;
  auto slice = std::make_shared<EndpointSlice>();
  slice->service_name = "s";
  slice->endpoints.resize(10'000, Endpoint{.node_name = std::string(40, 'n')});
  for (const char* name : {"a", "b", "c"}) {
    slice->name = {"shop", name};
    f.feed.journal().Upsert(std::make_shared<const EndpointSlice>(*slice), kNow);
  }
  f.feed.journal().MarkComplete();
  Stream stream(f.feed, {Hello("n1")});
  CHECK(stream.Read(5) == Lines{"SNAPSHOT e", "batch a", "batch b", "batch c", "complete 3"});
}

TEST_CASE("Requests that break the protocol end the stream with INVALID_ARGUMENT") {
  struct Case {
    const char* name;
    std::vector<v1::SubscribeRequest> requests;
    const char* error;
  };
  const Case kCases[] = {
      {"no node name", {Hello("")}, "Hello: node_name: is empty or too long"},
      {"long node name", {Hello(std::string(254, 'n'))}, "Hello: node_name: is empty or too long"},
      {"ack first", {Ack(1)}, "the first request is not a Hello"},
      {"nothing known first", {{}}, "the first request is not a Hello"},
      {"two Hellos", {Hello("n1"), Hello("n1")}, "Hello is the first request, and only that"},
      {"ack of what was not sent",
       {Hello("n1", "e", 0), Ack(7)},
       "Ack: revision: 7 was not sent, the last is 0"},
  };
  Feed f;
  f.feed.journal().MarkComplete();
  for (const Case& test : kCases) {
    INFO(test.name);
    Stream stream(f.feed, test.requests);
    const grpc::Status status = stream.Finish();
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK(status.error_message() == test.error);
  }
  CHECK(f.AwaitCount(0));
}

TEST_CASE("The server knows who has acknowledged what") {
  Feed f;
  f.feed.journal().Upsert(MakeService("a"), kNow);
  f.feed.journal().MarkComplete();
  Stream stream(f.feed, {Hello("n1")});
  CHECK(stream.Read(3) == Lines{"SNAPSHOT e", "batch a", "complete 1"});
  REQUIRE(f.AwaitCount(1));
  CHECK(f.feed.server().Subscribers()[0].acked_revision == 0);

  v1::SubscribeRequest ack = Ack(1);
  ack.mutable_ack()->mutable_programming_time()->set_nanos(1'500'000);
  // One more than is kept, one that names nothing, and a message that is too long.
  for (size_t i = 0; i < kMaxAckFailures + 2; ++i) {
    v1::Failure* failure = ack.mutable_ack()->add_failures();
    if (i > 0) *failure->mutable_object() = EncodeRef(ServiceId(absl::StrCat("s", i)));
    failure->set_message(std::string(kMaxFailureMessage + 1, 'x'));
  }
  ack.mutable_ack()->set_failure_count(1000);
  stream.Write(ack);

  REQUIRE(f.Await([](const auto& subscribers) { return subscribers[0].acked_revision == 1; }));
  const SubscriberStatus status = f.feed.server().Subscribers()[0];
  CHECK(status.node_name == "n1");
  CHECK(status.snapshot);
  CHECK(status.sent_revision == 1);
  CHECK(status.programming_time == absl::Microseconds(1500));
  CHECK(status.failure_count == 1000);
  REQUIRE(status.failures.size() == kMaxAckFailures);
  CHECK(status.failures[0] == ObjectFailure{ServiceId("s1"), std::string(kMaxFailureMessage, 'x')});
}

TEST_CASE("One subscriber too many is refused, and let in when another has gone") {
  Feed f({.max_subscribers = 2});
  f.feed.journal().MarkComplete();
  Stream first(f.feed, {Hello("n1")});
  Stream second(f.feed, {Hello("n2")});
  REQUIRE(f.AwaitCount(2));
  Stream third(f.feed, {Hello("n3")});
  const grpc::Status refused = third.Finish();
  CHECK(refused.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(refused.error_message() == "too many subscribers: at most 2");
  REQUIRE(f.faults.size() == 1);
  CHECK(absl::StartsWith(f.faults[0], "RESOURCE_EXHAUSTED: "));
  CHECK(absl::EndsWith(f.faults[0], ": too many subscribers: at most 2"));

  first.Cancel();
  REQUIRE(f.AwaitCount(1));
  Stream fourth(f.feed, {Hello("n4")});
  CHECK(fourth.Read() == "SNAPSHOT e");
}

TEST_CASE("New subscribers are let in at a rate, a number of them at once") {
  absl::Time now = kNow;
  Feed f({.max_subscribe_rate = 1, .max_subscribe_burst = 2, .now = [&now] { return now; }});
  f.feed.journal().MarkComplete();
  Stream first(f.feed, {Hello("n1")});
  CHECK(first.Read() == "SNAPSHOT e");
  Stream second(f.feed, {Hello("n2")});
  CHECK(second.Read() == "SNAPSHOT e");
  Stream third(f.feed, {Hello("n3")});
  CHECK(third.Finish().error_message() == "too many new subscribers: at most 1 a second");
  now += absl::Seconds(1);
  Stream fourth(f.feed, {Hello("n4")});
  CHECK(fourth.Read() == "SNAPSHOT e");
}

TEST_CASE("A request that is too large ends the stream, and nothing else") {
  Feed f;
  f.feed.journal().MarkComplete();
  Stream other(f.feed, {Hello("n1")});
  CHECK(other.Read(2) == Lines{"SNAPSHOT e", "complete 0"});
  v1::SubscribeRequest large = Ack(0);
  large.mutable_ack()->add_failures()->set_message(std::string(kMaxRequestBytes, 'x'));
  Stream stream(f.feed, {Hello("n2"), large});
  CHECK(stream.Finish().error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(f.faults.size() == 1);
  f.feed.journal().Upsert(MakeService("a"), kNow);
  CHECK(other.Read(2) == Lines{"batch a", "complete 1"});
}

TEST_CASE("A stream that never says Hello is ended, and its place is free again") {
  std::atomic<int64_t> seconds = 0;
  Feed f({.max_subscribers = 1, .heartbeat_interval = absl::Milliseconds(1), .now = [&seconds] {
            return kNow + absl::Seconds(seconds.load());
          }});
  f.feed.journal().MarkComplete();
  Stream silent(f.feed);
  // Until the server has it.
  while (Stream(f.feed, {Hello("n1")}).Read() != "end") {
  }
  seconds = 11;
  CHECK(silent.Finish().error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_CASE("An agent that may not call itself by its node's name is refused") {
  Feed f({.may_be_node = [](const grpc::AuthContext*, const std::string& name) {
    return name == "n1";
  }});
  f.feed.journal().MarkComplete();
  Stream good(f.feed, {Hello("n1")});
  CHECK(good.Read() == "SNAPSHOT e");
  Stream bad(f.feed, {Hello("n2")});
  const grpc::Status status = bad.Finish();
  CHECK(status.error_code() == grpc::StatusCode::PERMISSION_DENIED);
  CHECK(status.error_message() == "the certificate of this connection is not that of node n2");
  REQUIRE(f.faults.size() == 1);
  CHECK(absl::StartsWith(f.faults[0], "PERMISSION_DENIED: node n2, "));
  CHECK(absl::EndsWith(f.faults[0], ": the certificate of this connection is not that of node n2"));
}

TEST_CASE("A stream on which nothing happens carries heartbeats with the newest revision") {
  Feed f({.heartbeat_interval = absl::Milliseconds(1)});
  f.feed.journal().Upsert(MakeService("a"), kNow);
  f.feed.journal().MarkComplete();
  Stream stream(f.feed, {Hello("n1")});
  std::string line;
  while (line != "complete 1") line = stream.Read();
  CHECK(stream.Read() == "heartbeat 1");
  CHECK(stream.Read() == "heartbeat 1");
}

TEST_CASE("A source that has not given its first picture is alive all the same") {
  Feed f({.heartbeat_interval = absl::Milliseconds(1)});
  Stream stream(f.feed, {Hello("n1")});
  CHECK(stream.Read(2) == Lines{"SNAPSHOT e", "heartbeat 0"});
}

TEST_CASE("One whole picture at a time: the next agent hears heartbeats until it is its turn") {
  Feed f({.max_snapshots = 1, .heartbeat_interval = absl::Milliseconds(1)});
  f.feed.journal().Upsert(MakeService("a"), kNow);
  // Not complete: the first stays at it.
  Stream first(f.feed, {Hello("n1")});
  CHECK(first.Read(2) == Lines{"SNAPSHOT e", "batch a"});
  Stream second(f.feed, {Hello("n2")});
  CHECK(second.Read(3) == Lines{"SNAPSHOT e", "heartbeat 1", "heartbeat 1"});
  SECTION("when the first one has it") {
    f.feed.journal().MarkComplete();
    std::string line = first.Read();
    while (line == "heartbeat 1") line = first.Read();
    CHECK(line == "complete 1");
  }
  SECTION("when the first one has gone") {
    f.feed.journal().MarkComplete();
    first.Cancel();
    CHECK(f.AwaitCount(1));
  }
  std::string line = second.Read();
  while (line == "heartbeat 1") line = second.Read();
  CHECK(line == "batch a");
  CHECK(second.Read() == "complete 1");
  // An agent that needs a part only does not wait.
  Stream third(f.feed, {Hello("n3", "e", 1)});
  CHECK(third.Read(2) == Lines{"DELTA e", "complete 1"});
}

TEST_CASE("An agent is given its own Node, and a mark for those of others") {
  Feed f;
  for (const char* name : {"n1", "n2", "n3"}) f.feed.journal().Upsert(MakeNode(name), kNow);
  f.feed.journal().Upsert(MakeService("a"), kNow);
  f.feed.journal().MarkComplete();
  Stream second(f.feed, {Hello("n2")});
  CHECK(second.Read(3) == Lines{"SNAPSHOT e", "batch n2 a", "complete 4"});
  Stream third(f.feed, {Hello("n3")});
  CHECK(third.Read(3) == Lines{"SNAPSHOT e", "batch n3 a", "complete 4"});
  f.feed.journal().Remove({ObjectKind::kNode, {"", "n3"}}, kNow);
  CHECK(second.Read() == "complete 5");
  CHECK(third.Read(2) == Lines{"batch -n3", "complete 5"});
}

TEST_CASE("The server tells how long each node has been behind, and who has left") {
  absl::Time now = kNow;
  Feed f({.now = [&now] { return now; }});
  f.feed.journal().Upsert(MakeService("a"), kNow);
  f.feed.journal().MarkComplete();
  Stream first(f.feed, {Hello("n1"), Ack(0)});
  CHECK(first.Read(3) == Lines{"SNAPSHOT e", "batch a", "complete 1"});
  Stream second(f.feed, {Hello("n2")});
  CHECK(second.Read(3) == Lines{"SNAPSHOT e", "batch a", "complete 1"});
  now += absl::Seconds(3);
  first.Write(Ack(1));
  REQUIRE(f.Await([](const auto& all) { return all.size() == 2 && all[0].acked_revision == 1; }));
  CHECK(f.acked == std::vector<absl::Duration>{absl::Seconds(3)});
  f.feed.journal().Upsert(MakeService("b"), now);
  now += absl::Seconds(2);
  second.Cancel();
  REQUIRE(f.AwaitCount(1));

  const std::vector<FeedNode> nodes = f.feed.server().Nodes();
  REQUIRE(nodes.size() == 2);
  CHECK(nodes[0].status.node_name == "n1");
  CHECK(nodes[0].left == absl::InfiniteFuture());
  CHECK(nodes[0].behind == absl::Seconds(2));
  CHECK(nodes[1].status.node_name == "n2");
  CHECK(nodes[1].left == now);
  CHECK(nodes[1].behind == absl::Seconds(5));
  Stream again(f.feed, {Hello("n2")});
  REQUIRE(f.AwaitCount(2));
  CHECK(f.feed.server().Nodes()[1].left == absl::InfiniteFuture());
}

TEST_CASE("A stream that is closed or cancelled leaves nothing behind") {
  Feed f;
  f.feed.journal().MarkComplete();
  Stream closed(f.feed, {Hello("n1")});
  Stream cancelled(f.feed, {Hello("n2")});
  REQUIRE(f.AwaitCount(2));
  closed.WritesDone();
  CHECK(closed.Finish().ok());
  cancelled.Cancel();
  CHECK(f.AwaitCount(0));
  f.feed.journal().Upsert(MakeService("a"), kNow);
}

TEST_CASE("Shutdown ends all streams with UNAVAILABLE, the one that has not said Hello too") {
  Feed f;
  f.feed.journal().MarkComplete();
  Stream silent(f.feed);
  Stream stream(f.feed, {Hello("n1")});
  CHECK(stream.Read(2) == Lines{"SNAPSHOT e", "complete 0"});
  f.feed.server().Shutdown();
  CHECK(stream.Finish().error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(silent.Finish().error_code() == grpc::StatusCode::UNAVAILABLE);
  Stream late(f.feed, {Hello("n1")});
  CHECK(late.Finish().error_code() == grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace fairlead
