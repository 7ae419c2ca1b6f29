// How drains are counted, by why they end.

#include <catch2/catch.hpp>
#include <functional>

#include "test_node.h"

namespace Catch {
template <>
struct StringMaker<fairlead::DrainCounts> {
  static std::string convert(const fairlead::DrainCounts& counts) {
    std::string text = "started " + std::to_string(counts.started);
    for (const auto& [name, count] : {std::pair("idle", counts.idle),
                                      {"timeout", counts.timeout},
                                      {"at once", counts.at_once},
                                      {"command", counts.command},
                                      {"returned", counts.returned},
                                      {"gone", counts.gone}}) {
      text += std::string(", ") + name + " " + std::to_string(count);
    }
    return text;
  }
};
}  // namespace Catch

namespace fairlead::testing {
namespace {

using ipvs::Operation;
using ipvs::RealServerKey;
using ipvs::VirtualServerKey;

const VirtualServerKey kWeb = Tcp("10.96.0.1", 80);
const VirtualServerKey kDns = Udp("10.96.0.10", 53);
const RealServerKey kLeaves = Pod("10.244.2.2");
const Lines kBoth = {"10.244.1.2", "10.244.2.2"};
const Lines kOne = {"10.244.1.2"};

// Of two endpoints with a connection each, one leaves.
void Leave(TestNode& node, const VirtualServerKey& key = kWeb) {
  node.Put(MakePlan("web", {Vip(key, kBoth)}));
  for (const char* pod : {"10.244.1.2", "10.244.2.2"}) {
    REQUIRE(node.kernel.table.SetConnections(key, Pod(pod), 1, 0).ok());
  }
  node.Put(MakePlan("web", {Vip(key, kOne)}));
}

void SetConnections(TestNode& node, uint32_t active) {
  REQUIRE(node.kernel.table.SetConnections(kWeb, kLeaves, active, 0).ok());
}

bool All(const DrainingServer& /*drain*/) { return true; }

TEST_CASE("a drain is counted when it begins, and by why it ends") {
  struct Row {
    std::string name;
    std::function<void(TestNode&)> happens;
    DrainCounts want;
  };
  const std::vector<Row> rows = {
      {"it goes on",
       [](TestNode& node) {
         Leave(node);
         node.Advance(absl::Minutes(1));
       },
       {.started = 1}},
      {"its connections end",
       [](TestNode& node) {
         Leave(node);
         SetConnections(node, 0);
         node.Advance(kDrainPoll);
       },
       {.started = 1, .idle = 1}},
      {"it never had any",
       [](TestNode& node) {
         node.Put(MakePlan("web", {Vip(kWeb, kBoth)}));
         node.Put(MakePlan("web", {Vip(kWeb, kOne)}));
       },
       {.started = 1, .idle = 1}},
      {"its deadline comes",
       [](TestNode& node) {
         Leave(node);
         node.Advance(absl::Minutes(5));
       },
       {.started = 1, .timeout = 1}},
      {"it is of UDP, and has no time",
       [](TestNode& node) { Leave(node, kDns); },
       {.started = 1, .at_once = 1}},
      {"it is ended",
       [](TestNode& node) {
         Leave(node);
         node.Advance(absl::Minutes(1));
         REQUIRE(node.reconciler().EndDrains(All, node.now) == 1);
         node.Reconcile();
       },
       {.started = 1, .command = 1}},
      {"it is ended right away",
       [](TestNode& node) {
         Leave(node);
         REQUIRE(node.reconciler().EndDrains(All, node.now) == 1);
         node.Reconcile();
       },
       {.started = 1, .command = 1}},
      {"it is wanted again, and leaves again",
       [](TestNode& node) {
         Leave(node);
         node.Put(MakePlan("web", {Vip(kWeb, kBoth)}));
         node.Put(MakePlan("web", {Vip(kWeb, kOne)}));
       },
       {.started = 2, .returned = 1}},
      {"another one is wanted meanwhile",
       [](TestNode& node) {
         Leave(node);
         node.Put(MakePlan("web", {Vip(kWeb, {"10.244.1.2", "10.244.3.2"})}));
       },
       {.started = 1}},
      {"somebody else deletes it",
       [](TestNode& node) {
         Leave(node);
         REQUIRE(node.kernel.table.Apply({Operation::DeleteRealServer(kWeb, kLeaves)})[0].ok());
         node.Advance(kDrainPoll);
       },
       {.started = 1, .gone = 1}},
      {"its Service goes, and all of it drains",
       [](TestNode& node) {
         Leave(node);
         node.Remove("web");
       },
       {.started = 2}},
      {"its Service goes, and nothing has connections any more",
       [](TestNode& node) {
         Leave(node);
         for (const char* pod : {"10.244.1.2", "10.244.2.2"}) {
           REQUIRE(node.kernel.table.SetConnections(kWeb, Pod(pod), 0, 0).ok());
         }
         node.Remove("web");
       },
       {.started = 1, .gone = 1}},
      {"a delete fails, and is tried again",
       [](TestNode& node) {
         Leave(node);
         SetConnections(node, 0);
         node.kernel.table.FailNext({absl::UnknownError("lost"), false});
         node.Advance(kDrainPoll);
         CHECK(node.reconciler().drain_counts() == DrainCounts{.started = 1});
         node.Advance(kDrainPoll);
       },
       {.started = 1, .idle = 1}},
      {"the agent is started anew",
       [](TestNode& node) {
         Leave(node);
         const std::vector<DrainingServer> before = node.reconciler().Draining();
         REQUIRE(node.Restart().ok());
         node.reconciler().RestoreDrains(before);
         node.Reconcile();
       },
       {.started = 1}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    TestNode node;
    row.happens(node);
    const DrainCounts& counts = node.reconciler().drain_counts();
    CHECK(counts == row.want);
    CHECK(counts.started - counts.idle - counts.timeout - counts.at_once - counts.command -
              counts.returned - counts.gone ==
          node.reconciler().Draining().size());
  }
}

}  // namespace
}  // namespace fairlead::testing
