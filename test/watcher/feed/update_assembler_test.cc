#include "watcher/feed/update_assembler.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "test/watcher/feed/objects.h"
#include "watcher/feed/feed_codec.h"

namespace fairlead {
namespace {

using feed_test::MakeService;
using feed_test::Names;
using feed_test::ServiceId;
using Lines = std::vector<std::string>;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

v1::SubscribeResponse Start(const std::string& epoch, v1::Start::Mode mode) {
  v1::SubscribeResponse response;
  response.mutable_start()->set_epoch(epoch);
  response.mutable_start()->set_mode(mode);
  return response;
}

v1::SubscribeResponse Batch(const std::vector<v1::Change>& changes) {
  v1::SubscribeResponse response;
  response.mutable_batch();
  for (const v1::Change& change : changes) *response.mutable_batch()->add_changes() = change;
  return response;
}

v1::SubscribeResponse Complete(uint64_t revision) {
  v1::SubscribeResponse response;
  response.mutable_batch()->set_complete_revision(revision);
  return response;
}

v1::Change Upsert(const std::string& name, int version = 0, absl::Time triggered = kNow) {
  return EncodeChange(MakeService(name, version), 1, triggered);
}

v1::Change Remove(const std::string& name) { return EncodeRemoval(ServiceId(name), 1, kNow); }

// Without a type.
v1::Change Broken(const std::string& name) {
  v1::Change change = Upsert(name);
  change.mutable_service()->clear_type();
  return change;
}

// The update that the last of the responses gives; none of the others gives one.
FeedUpdate Assemble(UpdateAssembler& assembler,
                    const std::vector<v1::SubscribeResponse>& responses) {
  std::optional<FeedUpdate> update;
  for (const v1::SubscribeResponse& response : responses) {
    REQUIRE(!update);
    auto received = assembler.Receive(response, kNow);
    INFO(received.status());
    REQUIRE(received.ok());
    update = *std::move(received);
  }
  REQUIRE(update);
  return *std::move(update);
}

TEST_CASE("A snapshot and then deltas, each at its complete mark") {
  UpdateAssembler assembler({});
  const FeedUpdate first =
      Assemble(assembler, {Start("e", v1::Start::SNAPSHOT), Batch({Upsert("a"), Upsert("b")}),
                           Batch({Upsert("c")}), Complete(3)});
  CHECK(first.snapshot);
  CHECK(first.position == FeedPosition{"e", 3});
  CHECK(Names(first.upserts) == Lines{"Service shop/a", "Service shop/b", "Service shop/c"});
  CHECK(first.received == kNow);
  CHECK(first.oldest_trigger == std::nullopt);

  const absl::Time earlier = kNow - absl::Seconds(5);
  const FeedUpdate second = Assemble(assembler, {Batch({Upsert("a", 1), Remove("b")}),
                                                 Batch({Upsert("c", 1, earlier)}), Complete(6)});
  CHECK(!second.snapshot);
  CHECK(Names(second.upserts) == Lines{"Service shop/a", "Service shop/c"});
  CHECK(Names(second.removals) == Lines{"Service shop/b"});
  CHECK(second.oldest_trigger == earlier);
  CHECK(assembler.position() == FeedPosition{"e", 6});
}

TEST_CASE("An empty snapshot is a snapshot") {
  UpdateAssembler assembler({});
  const FeedUpdate update = Assemble(assembler, {Start("e", v1::Start::SNAPSHOT), Complete(0)});
  CHECK(update.snapshot);
  CHECK(update.upserts.empty());
  CHECK(update.position == FeedPosition{"e", 0});
}

TEST_CASE("Of an object that changes while a snapshot is sent the last version counts") {
  UpdateAssembler assembler({});
  const FeedUpdate update =
      Assemble(assembler, {Start("e", v1::Start::SNAPSHOT), Batch({Upsert("a", 1), Upsert("b")}),
                           Batch({Upsert("a", 2), Remove("b")}), Complete(9)});
  REQUIRE(Names(update.upserts) == Lines{"Service shop/a"});
  CHECK(SameValue(update.upserts[0], MakeService("a", 2)));
  CHECK(update.removals.empty());
}

TEST_CASE("An invalid change is left out, named, and harms no other") {
  UpdateAssembler assembler({});
  v1::Change nameless = Broken("x");
  nameless.mutable_service()->clear_name();
  const FeedUpdate update =
      Assemble(assembler, {Start("e", v1::Start::SNAPSHOT),
                           Batch({Upsert("a"), Broken("b"), nameless, v1::Change(), Upsert("c")}),
                           Complete(5)});
  CHECK(Names(update.upserts) == Lines{"Service shop/a", "Service shop/c"});
  CHECK(Names(update.unreadable) == Lines{"Service shop/b"});
  CHECK(update.invalid_changes == 3);
}

TEST_CASE("A valid version replaces an invalid one, and an invalid one nothing") {
  UpdateAssembler assembler({"e", 4});
  const FeedUpdate update =
      Assemble(assembler, {Start("e", v1::Start::DELTA), Batch({Broken("a"), Upsert("b", 1)}),
                           Batch({Upsert("a", 2), Broken("b")}), Complete(8)});
  CHECK(Names(update.upserts) == Lines{"Service shop/a", "Service shop/b"});
  CHECK(update.unreadable.empty());
}

TEST_CASE("Responses of an unknown kind are passed over") {
  UpdateAssembler assembler({});
  const FeedUpdate update =
      Assemble(assembler, {Start("e", v1::Start::SNAPSHOT), v1::SubscribeResponse(), Complete(1)});
  CHECK(update.snapshot);
}

TEST_CASE("Responses that break the protocol are refused") {
  struct Case {
    const char* name;
    std::vector<v1::SubscribeResponse> responses;  // The last one is at fault.
    const char* error;
  };
  const Case kCases[] = {
      {"batch before Start", {Batch({})}, "Start is the first response, and only that"},
      {"complete before Start", {Complete(1)}, "Start is the first response, and only that"},
      {"nothing known before Start", {{}}, "Start is the first response, and only that"},
      {"two Starts",
       {Start("e", v1::Start::DELTA), Start("e", v1::Start::SNAPSHOT)},
       "Start is the first response, and only that"},
      {"no epoch", {Start("", v1::Start::SNAPSHOT)}, "Start: epoch: is empty"},
      {"no mode", {Start("e", v1::Start::MODE_UNSPECIFIED)}, "Start: mode: 0 is not a mode"},
      {"delta of another epoch",
       {Start("f", v1::Start::DELTA)},
       "Start: DELTA of epoch f, Hello was of e"},
      {"revision before that of the Hello",
       {Start("e", v1::Start::DELTA), Complete(4)},
       "Batch: complete_revision 4 after 5"},
      {"decreasing revision",
       {Start("f", v1::Start::SNAPSHOT), Complete(3), Complete(2)},
       "Batch: complete_revision 2 after 3"},
  };
  for (const Case& test : kCases) {
    INFO(test.name);
    UpdateAssembler assembler({"e", 5});
    for (size_t i = 0; i + 1 < test.responses.size(); ++i) {
      REQUIRE(assembler.Receive(test.responses[i], kNow).ok());
    }
    const absl::Status status = assembler.Receive(test.responses.back(), kNow).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(std::string(status.message()) == test.error);
  }
}

}  // namespace
}  // namespace fairlead
