#include "proxy/cli/nodes_format.h"

#include <catch2/catch.hpp>

#include "watcher/feed/feed_codec.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

v1::FeedNode MakeNode(const std::string& name, uint64_t acked, absl::Duration behind) {
  v1::FeedNode node;
  node.set_node_name(name);
  node.set_agent("fairlead/0.1.0");
  node.set_peer("ipv4:10.0.0.7:51234");
  EncodeTime(kNow - absl::Minutes(5), node.mutable_connected());
  node.set_sent_revision(9);
  node.set_acked_revision(acked);
  if (acked > 0) {
    EncodeTime(kNow - absl::Seconds(3), node.mutable_acked());
    EncodeDuration(absl::Microseconds(1500), node.mutable_programming_time());
  }
  EncodeDuration(behind, node.mutable_behind());
  return node;
}

struct World {
  World() {
    watcher.set_version("0.1.0");
    watcher.set_epoch("e");
    watcher.set_head_revision(9);
    watcher.set_complete(true);
    watcher.set_objects(12);
    nodes = {MakeNode("n1", 9, absl::ZeroDuration()),
             MakeNode("node-with-name", 7, absl::Seconds(4)),
             MakeNode("n3", 0, absl::Milliseconds(250)), MakeNode("n4", 5, absl::Hours(3))};
    EncodeTime(kNow - absl::Minutes(2), nodes[3].mutable_left());
    nodes[1].set_failure_count(1);
    v1::Failure* failure = nodes[1].add_failures();
    *failure->mutable_object() = EncodeRef({ObjectKind::kService, {"shop", "cart"}});
    failure->set_message("TCP 10.96.0.1:80: no memory");
  }

  v1::WatchStatusResponse watcher;
  std::vector<v1::FeedNode> nodes;
};

TEST_CASE("nodes are a table, with what fails behind it") {
  const World world;
  CHECK(FormatNodesText(world.watcher, world.nodes, kNow, /*wide=*/false, /*color=*/false) ==
        R"(revision 9, 12 objects; 3 nodes connected, 1 of them current
NODE            STATE    ACKED  BEHIND    TOOK  FAILING  SINCE  PEER
n1              current      9       -  1.50ms        0     5m  ipv4:10.0.0.7:51234
node-with-name  behind       7      4s  1.50ms        1     5m  ipv4:10.0.0.7:51234
n3              new          0   250ms       -        0     5m  ipv4:10.0.0.7:51234
n4              gone         5      3h  1.50ms        0     2m  ipv4:10.0.0.7:51234
node-with-name: Service shop/cart: TCP 10.96.0.1:80: no memory
)");
}

TEST_CASE("the wide table of nodes has what was sent, and the agents' versions, too") {
  World world;
  world.nodes = {world.nodes[1]};
  world.nodes[0].clear_failures();
  CHECK(FormatNodesText(world.watcher, world.nodes, kNow, /*wide=*/true, /*color=*/false) ==
        R"(revision 9, 12 objects; 1 nodes connected, 0 of them current
NODE            STATE   ACKED  BEHIND    TOOK  FAILING  SINCE  PEER                 SENT  AGENT
node-with-name  behind      7      4s  1.50ms        1     5m  ipv4:10.0.0.7:51234     9  fairlead/0.1.0
)");
}

TEST_CASE("on a terminal colour says how a node is") {
  World world;
  world.nodes = {world.nodes[0], world.nodes[1]};
  world.nodes[1].clear_failures();
  CHECK(FormatNodesText(world.watcher, world.nodes, kNow, /*wide=*/false, /*color=*/true) ==
        "revision 9, 12 objects; 2 nodes connected, 1 of them current\n"
        "\033[1mNODE            STATE    ACKED  BEHIND    TOOK  FAILING  SINCE  PEER\033[0m\n"
        "n1              \033[32mcurrent\033[0m      9       -  1.50ms        0     5m  "
        "ipv4:10.0.0.7:51234\n"
        "node-with-name  \033[33mbehind\033[0m       7      4s  1.50ms        "
        "\033[31m1\033[0m     5m  ipv4:10.0.0.7:51234\n");
}

TEST_CASE("a source that does not answer is spoken of") {
  World world;
  world.watcher.set_complete(false);
  v1::SourceResource* services = world.watcher.add_resources();
  services->set_resource("services");
  services->set_watching(true);
  v1::SourceResource* nodes = world.watcher.add_resources();
  nodes->set_resource("nodes");
  nodes->set_last_error("403 forbidden");
  CHECK(
      FormatNodesText(world.watcher, {}, kNow, /*wide=*/false, /*color=*/false) ==
      R"(revision 9, 12 objects (the source has not given a whole picture); 0 nodes connected, 0 of them current
nodes are not watched: 403 forbidden
NODE  STATE  ACKED  BEHIND  TOOK  FAILING  SINCE  PEER
)");
}

TEST_CASE("nodes as JSON") {
  World world;
  world.nodes = {world.nodes[1], world.nodes[3]};
  v1::SourceResource* services = world.watcher.add_resources();
  services->set_resource("services");
  services->set_watching(true);
  services->set_errors(2);
  CHECK(FormatNodesDocument(world.watcher, world.nodes, Output::kJson) == R"({
  "version": "0.1.0",
  "epoch": "e",
  "headRevision": 9,
  "complete": true,
  "objects": 12,
  "resources": [
    {
      "resource": "services",
      "listed": false,
      "watching": true,
      "errors": 2,
      "invalidObjects": 0,
      "lastError": ""
    }
  ],
  "nodes": [
    {
      "node": "node-with-name",
      "state": "behind",
      "agent": "fairlead/0.1.0",
      "peer": "ipv4:10.0.0.7:51234",
      "ackedRevision": 7,
      "sentRevision": 9,
      "behindSeconds": 4.0,
      "programmingSeconds": 0.0015,
      "connected": "2023-11-14T22:08:20.000Z",
      "left": null,
      "failureCount": 1,
      "failures": [
        {
          "object": "Service shop/cart",
          "message": "TCP 10.96.0.1:80: no memory"
        }
      ]
    },
    {
      "node": "n4",
      "state": "gone",
      "agent": "fairlead/0.1.0",
      "peer": "ipv4:10.0.0.7:51234",
      "ackedRevision": 5,
      "sentRevision": 9,
      "behindSeconds": 10800.0,
      "programmingSeconds": 0.0015,
      "connected": "2023-11-14T22:08:20.000Z",
      "left": "2023-11-14T22:11:20.000Z",
      "failureCount": 0,
      "failures": []
    }
  ]
}
)");
}

}  // namespace
}  // namespace fairlead
