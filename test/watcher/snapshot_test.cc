#include "watcher/snapshot.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

namespace fairlead {
namespace {

std::shared_ptr<const Service> MakeService(const std::string& name,
                                           const std::string& scheduler = "") {
  Service service;
  service.name = {"shop", name};
  service.scheduler = scheduler;
  return std::make_shared<const Service>(service);
}

std::shared_ptr<const EndpointSlice> MakeSlice(const std::string& name, const std::string& service,
                                               IpFamily family = IpFamily::kIpv4) {
  EndpointSlice slice;
  slice.name = {"shop", name};
  slice.service_name = service;
  slice.family = family;
  return std::make_shared<const EndpointSlice>(slice);
}

std::shared_ptr<const Node> MakeNode(const std::string& name) {
  Node node;
  node.name = name;
  return std::make_shared<const Node>(node);
}

ObjectName InShop(const std::string& name) { return {"shop", name}; }
ObjectId ServiceId(const std::string& name) { return {ObjectKind::kService, InShop(name)}; }
ObjectId SliceId(const std::string& name) { return {ObjectKind::kEndpointSlice, InShop(name)}; }
ObjectId NodeId(const std::string& name) { return {ObjectKind::kNode, {"", name}}; }

using Names = std::vector<std::string>;

Names SliceNames(const Snapshot& snapshot, const std::string& service) {
  Names names;
  for (const auto& [name, slice] : snapshot.SlicesOf(InShop(service)))
    names.push_back(name.name.str());
  return names;
}

Names TakeDirty(Snapshot& snapshot) {
  Names names;
  for (const ObjectName& name : snapshot.TakeDirtyServices()) names.push_back(name.name.str());
  return names;
}

// Services cart with the slices c1 and c2, and pay without any; nothing is dirty.
Snapshot MakeSnapshot() {
  Snapshot snapshot;
  snapshot.Upsert(MakeService("cart"));
  snapshot.Upsert(MakeService("pay"));
  snapshot.Upsert(MakeSlice("c2", "cart"));
  snapshot.Upsert(MakeSlice("c1", "cart"));
  snapshot.Upsert(MakeNode("n1"));
  snapshot.TakeDirtyServices();
  snapshot.TakeDirtyNodes();
  return snapshot;
}

struct ChangeCase {
  std::string name;
  std::vector<Object> upserts;
  std::vector<ObjectId> removals;
  Names dirty;
  Names cart_slices;
  Names pay_slices;
};

TEST_CASE("A change files the object and makes the Services dirty that it touches") {
  const auto row = GENERATE(values<ChangeCase>({
      {"nothing", {}, {}, {}, {"c1", "c2"}, {}},
      {"a new Service", {MakeService("new")}, {}, {"new"}, {"c1", "c2"}, {}},
      {"a changed Service keeps its slices",
       {MakeService("cart", "lc")},
       {},
       {"cart"},
       {"c1", "c2"},
       {}},
      {"a removed Service keeps its slices, for when it comes again",
       {},
       {ServiceId("cart")},
       {"cart"},
       {"c1", "c2"},
       {}},
      {"a new slice", {MakeSlice("p1", "pay")}, {}, {"pay"}, {"c1", "c2"}, {"p1"}},
      {"a changed slice",
       {MakeSlice("c1", "cart", IpFamily::kIpv6)},
       {},
       {"cart"},
       {"c1", "c2"},
       {}},
      {"a slice that moves makes both Services dirty",
       {MakeSlice("c1", "pay")},
       {},
       {"cart", "pay"},
       {"c2"},
       {"c1"}},
      {"a slice that moves there and back",
       {MakeSlice("c1", "pay"), MakeSlice("c1", "cart")},
       {},
       {"cart", "pay"},
       {"c1", "c2"},
       {}},
      {"all slices move",
       {MakeSlice("c1", "pay"), MakeSlice("c2", "pay")},
       {},
       {"cart", "pay"},
       {},
       {"c1", "c2"}},
      {"a slice of a Service that is not there",
       {MakeSlice("x1", "unknown")},
       {},
       {"unknown"},
       {"c1", "c2"},
       {}},
      {"a removed slice", {}, {SliceId("c1")}, {"cart"}, {"c2"}, {}},
      {"a slice that moved is removed from where it is",
       {MakeSlice("c1", "pay")},
       {SliceId("c1")},
       {"cart", "pay"},
       {"c2"},
       {}},
      {"removals of what is not there touch nothing",
       {},
       {ServiceId("unknown"), SliceId("unknown"), NodeId("unknown")},
       {},
       {"c1", "c2"},
       {}},
      {"a Node touches no Service", {MakeNode("n2")}, {NodeId("n1")}, {}, {"c1", "c2"}, {}},
  }));
  INFO(row.name);
  Snapshot snapshot = MakeSnapshot();
  for (const Object& object : row.upserts) snapshot.Upsert(object);
  for (const ObjectId& id : row.removals) snapshot.Remove(id);
  CHECK(TakeDirty(snapshot) == row.dirty);
  CHECK(TakeDirty(snapshot).empty());
  CHECK(SliceNames(snapshot, "cart") == row.cart_slices);
  CHECK(SliceNames(snapshot, "pay") == row.pay_slices);
}

TEST_CASE("Slices of one name in two namespaces are two slices") {
  Snapshot snapshot = MakeSnapshot();
  EndpointSlice slice = *MakeSlice("c1", "cart");
  slice.name.name_space = "bank";
  snapshot.Upsert(std::make_shared<const EndpointSlice>(slice));
  CHECK(snapshot.TakeDirtyServices() == std::set<ObjectName>{{"bank", "cart"}});
  CHECK(snapshot.SlicesOf({"bank", "cart"}).size() == 1);
  CHECK(SliceNames(snapshot, "cart") == Names{"c1", "c2"});
}

TEST_CASE("Objects are found by name, the latest of each") {
  Snapshot snapshot = MakeSnapshot();
  const auto changed = MakeService("cart", "lc");
  snapshot.Upsert(changed);
  CHECK(snapshot.FindService(InShop("cart")) == changed);
  CHECK(snapshot.FindService(InShop("unknown")) == nullptr);
  CHECK(snapshot.services().size() == 2);
  CHECK(snapshot.FindNode("n1") != nullptr);
  CHECK(snapshot.FindNode("n2") == nullptr);
  CHECK(snapshot.Ids() == std::set<ObjectId>{ServiceId("cart"), ServiceId("pay"), SliceId("c1"),
                                             SliceId("c2"), NodeId("n1")});
}

TEST_CASE("Nodes that came, changed or went are told once") {
  Snapshot snapshot = MakeSnapshot();
  CHECK(snapshot.TakeDirtyNodes().empty());
  snapshot.Upsert(MakeNode("n2"));
  snapshot.Remove(NodeId("n1"));
  CHECK(snapshot.TakeDirtyNodes() == std::set<std::string>{"n1", "n2"});
  CHECK(snapshot.TakeDirtyNodes().empty());
}

TEST_CASE("What a snapshot holds does not depend on the order in which it came") {
  std::vector<Object> objects = {MakeService("cart"), MakeSlice("c1", "cart"),
                                 MakeSlice("c2", "cart"), MakeSlice("p1", "pay"), MakeNode("n1")};
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    std::shuffle(objects.begin(), objects.end(), random);
    Snapshot snapshot;
    // An earlier state of c2, filed elsewhere.
    snapshot.Upsert(MakeSlice("c2", "pay"));
    for (const Object& object : objects) snapshot.Upsert(object);
    CHECK(SliceNames(snapshot, "cart") == Names{"c1", "c2"});
    CHECK(SliceNames(snapshot, "pay") == Names{"p1"});
    CHECK(snapshot.Ids() == std::set<ObjectId>{ServiceId("cart"), SliceId("c1"), SliceId("c2"),
                                               SliceId("p1"), NodeId("n1")});
    CHECK(TakeDirty(snapshot) == Names{"cart", "pay"});
  }
}

}  // namespace
}  // namespace fairlead
