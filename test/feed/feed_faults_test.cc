// The feed over connections that break: nothing is lost, nothing comes twice, no table empties.
#include <catch2/catch.hpp>
#include <chrono>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "test/feed/churn.h"
#include "test/feed/fault_proxy.h"
#include "test/feed/follower.h"
#include "test/feed/watcher.h"
#include "test/watcher/feed/objects.h"

namespace fairlead::feed_test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

const absl::Duration kSilence = absl::Milliseconds(300);
// Longer than any test.
const absl::Duration kNoSilence = absl::Hours(1);

bool SamePicture(const Picture& a, const Picture& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && SameValue(x.second, y.second);
  });
}

// Waits until the follower has the journal's newest revision.
bool AwaitHead(Signal& signal, Follower& follower, const Journal& journal) {
  return signal.Await([&] {
    follower.Take();
    return follower.position() == FeedPosition{journal.epoch(), journal.head_revision()};
  });
}

// Objects that a follower was told to forget and that were never removed.
std::vector<std::string> Wronged(const Follower& follower, const Churn& churn) {
  std::vector<ObjectId> wronged;
  for (const ObjectId& id : follower.taken_away()) {
    if (!churn.removed().contains(id)) wronged.push_back(id);
  }
  return Names(wronged);
}

// A connection's fate by chance: about half of them end within some kilobytes.
Fate RandomFate(Random& random) {
  Fate fate;
  fate.delay = milliseconds(random() % 4 == 0 ? random() % 10 : 0);
  fate.rate = random() % 4 == 0 ? 20'000 + random() % 100'000 : 0;
  // Less than that and no handshake of TLS would get through.
  fate.bytes_until_fault = 3'000 + random() % 30'000;
  const uint64_t kind = random() % 8;
  fate.fault = kind == 0 ? Fault::kFreeze : kind < 4 ? Fault::kClose : Fault::kReset;
  return fate;
}

// An agent and the way by which it reaches its watcher.
struct Node {
  std::unique_ptr<FaultProxy> proxy;
  std::unique_ptr<Follower> follower;
};

TEST_CASE("Agents keep up with a journal that churns, though their connections break") {
  const Transport transport = GENERATE(Transport::kPlain, Transport::kTls);
  const uint64_t seed = GENERATE(1, 2);
  INFO((transport == Transport::kTls ? "TLS" : "plain") << ", seed " << seed);
  constexpr int kNodes = 4;
  constexpr int kRounds = 100;
  constexpr int kChangesPerRound = 40;
  Watcher watcher(transport);
  Churn churn(watcher.journal(), seed);
  Signal signal;
  Random random(seed);
  std::vector<Node> nodes;
  for (int i = 0; i < kNodes; ++i) {
    Node& node = nodes.emplace_back();
    node.proxy = std::make_unique<FaultProxy>(watcher.port());
    node.follower = std::make_unique<Follower>(std::vector{watcher.TargetBy(*node.proxy)},
                                               absl::StrCat("n", i), kSilence, signal);
    REQUIRE(AwaitHead(signal, *node.follower, watcher.journal()));
  }

  for (Node& node : nodes) {
    const auto own = std::make_shared<Random>(random());
    node.proxy->SetFates([own] { return RandomFate(*own); });
    node.proxy->Change(RandomFate(random));
  }
  for (int round = 0; round < kRounds; ++round) {
    churn.Change(kChangesPerRound);
    // The others come along, or fall back as it happens.
    REQUIRE(AwaitHead(signal, *nodes[round % kNodes].follower, watcher.journal()));
  }

  size_t connections = 0;
  for (Node& node : nodes) {
    node.proxy->SetFates([] { return Fate(); });
    node.proxy->Inflict(Fault::kReset);
    Follower& follower = *node.follower;
    REQUIRE(AwaitHead(signal, follower, watcher.journal()));
    follower.Stop();
    CHECK(SamePicture(follower.picture(), churn.picture()));
    CHECK(follower.snapshots() == 1);
    CHECK(follower.duplicates() == 0);
    CHECK(Wronged(follower, churn).empty());
    connections += node.proxy->accepted();
  }
  // The faults were there.
  CHECK(connections > 10 * kNodes);
  WARN(kRounds * kChangesPerRound << " changes, " << kNodes << " agents, " << connections
                                  << " connections");
}

TEST_CASE("A connection that carries nothing any more is left for a new one") {
  const Transport transport = GENERATE(Transport::kPlain, Transport::kTls);
  Watcher watcher(transport);
  Churn churn(watcher.journal(), 1);
  Signal signal;
  FaultProxy proxy(watcher.port());
  Follower follower({watcher.TargetBy(proxy)}, "n1", kSilence, signal);
  REQUIRE(AwaitHead(signal, follower, watcher.journal()));
  proxy.Inflict(Fault::kFreeze);
  const Clock::time_point frozen = Clock::now();
  churn.Change(10);
  REQUIRE(AwaitHead(signal, follower, watcher.journal()));
  const auto noticed = Clock::now() - frozen;
  follower.Stop();
  WARN("noticed after " << std::chrono::duration_cast<milliseconds>(noticed).count() << " ms");
  CHECK(proxy.accepted() == 2);
  // gRPC sends pings at least a second apart.
  CHECK(noticed < milliseconds(3'000));
  CHECK(follower.snapshots() == 1);
  CHECK(follower.duplicates() == 0);
  CHECK(SamePicture(follower.picture(), churn.picture()));
}

TEST_CASE("An idle connection is kept while heartbeats come") {
  Watcher watcher(Transport::kPlain);
  Churn churn(watcher.journal(), 1);
  Signal signal;
  FaultProxy proxy(watcher.port());
  Follower follower({watcher.TargetBy(proxy)}, "n1", kSilence, signal);
  REQUIRE(AwaitHead(signal, follower, watcher.journal()));
  // Another agent, which hears nothing, gives up three times meanwhile.
  FaultProxy dead(watcher.port());
  dead.SetFates([] { return Fate{.bytes_until_fault = 1, .fault = Fault::kFreeze}; });
  Follower silent({watcher.TargetBy(dead)}, "n2", kSilence, signal);
  CHECK(signal.Await([&] {
    signal.Raise();
    return silent.client().status().attempts >= 4;
  }));
  CHECK(follower.client().status().attempts == 1);
  CHECK(proxy.accepted() == 1);
}

TEST_CASE("An agent goes to another watcher, and writes only what differs there") {
  const Transport transport = GENERATE(Transport::kPlain, Transport::kTls);
  Signal signal;
  std::list<Watcher> watchers;
  std::list<Churn> churns;
  std::list<FaultProxy> proxies;
  std::vector<FeedTarget> targets;
  for (int i = 0; i < 2; ++i) {
    Watcher& watcher = watchers.emplace_back(transport);
    churns.emplace_back(watcher.journal(), 1);
    targets.push_back(watcher.TargetBy(proxies.emplace_back(watcher.port())));
  }
  Follower follower(targets, "n1", kNoSilence, signal);
  // Whichever it begins with.
  REQUIRE(signal.Await([&] {
    follower.Take();
    return !follower.position().epoch.empty();
  }));
  const bool first = follower.position().epoch == watchers.front().journal().epoch();
  Watcher& old_watcher = first ? watchers.front() : watchers.back();
  Watcher& new_watcher = first ? watchers.back() : watchers.front();
  FaultProxy& old_proxy = first ? proxies.front() : proxies.back();
  FaultProxy& new_proxy = first ? proxies.back() : proxies.front();
  Churn& old_churn = first ? churns.front() : churns.back();
  Churn& new_churn = first ? churns.back() : churns.front();
  REQUIRE(AwaitHead(signal, follower, old_watcher.journal()));

  // The new one has the same picture, since its churn has the same seed.
  const int dirty = follower.dirty_services();
  old_proxy.Refuse(true);
  old_proxy.Inflict(Fault::kReset);
  REQUIRE(AwaitHead(signal, follower, new_watcher.journal()));
  CHECK(follower.snapshots() == 2);
  CHECK(follower.dirty_services() == dirty);
  CHECK(follower.taken_away().empty());

  // While it follows the new one, the old one goes on without it, and is followed again.
  new_churn.Change(100);
  old_churn.Change(150);
  REQUIRE(AwaitHead(signal, follower, new_watcher.journal()));
  old_proxy.Refuse(false);
  new_proxy.Refuse(true);
  new_proxy.Inflict(Fault::kClose);
  REQUIRE(AwaitHead(signal, follower, old_watcher.journal()));
  follower.Stop();
  CHECK(SamePicture(follower.picture(), old_churn.picture()));
  CHECK(follower.duplicates() == 0);
  std::vector<std::string> lasting_taken;
  for (const ObjectId& id : old_churn.lasting()) {
    if (follower.taken_away().contains(id)) lasting_taken.push_back(id.Format());
  }
  CHECK(lasting_taken.empty());
}

TEST_CASE("A slow agent delays no other, and gets the latest versions") {
  Watcher watcher(Transport::kPlain);
  Churn churn(watcher.journal(), 3);
  Signal signal;
  FaultProxy slow_proxy(watcher.port());
  FaultProxy fast_proxy(watcher.port());
  Follower slow({watcher.TargetBy(slow_proxy, /*impatient=*/false)}, "slow", kNoSilence, signal);
  Follower fast({watcher.TargetBy(fast_proxy)}, "fast", kNoSilence, signal);
  REQUIRE(AwaitHead(signal, slow, watcher.journal()));
  slow_proxy.Change({.rate = 1'000});
  for (int round = 0; round < 100; ++round) {
    churn.Change(50);
    REQUIRE(AwaitHead(signal, fast, watcher.journal()));
  }
  slow.Take();
  CHECK(slow.position().revision < watcher.journal().head_revision());
  slow_proxy.Change({});
  REQUIRE(AwaitHead(signal, slow, watcher.journal()));
  for (Follower* follower : {&slow, &fast}) {
    follower->Stop();
    CHECK(SamePicture(follower->picture(), churn.picture()));
    CHECK(follower->snapshots() == 1);
    CHECK(follower->duplicates() == 0);
  }
  CHECK(slow_proxy.accepted() == 1);
}

}  // namespace
}  // namespace fairlead::feed_test
