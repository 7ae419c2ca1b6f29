// Removals that are held: the first picture lacks what could not be read.

#include <catch2/catch.hpp>

#include "test_node.h"

namespace fairlead::testing {
namespace {

using ipvs::VirtualServerKey;

const VirtualServerKey kWeb = Tcp("10.96.0.1", 80);
const VirtualServerKey kOther = Tcp("10.96.0.2", 80);

std::shared_ptr<const ServicePlan> Web(const Lines& pods) {
  return MakePlan("web", {Vip(kWeb, pods)});
}

// Has web with two pods and other with one in the kernel, is started again, and now wants web with
// one pod and no other.
struct HoldingNode : TestNode {
  HoldingNode() {
    Put(Web({"10.244.1.2", "10.244.2.2"}));
    Put(MakePlan("other", {Vip(kOther, {"10.244.1.3"})}));
    before = Actual();
    Want(Web({"10.244.1.2"}));
    Want(MakePlan("other", {}));
    REQUIRE(Restart().ok());
    reconciler().HoldRemovals(true);
    Reconcile();
  }

  Lines before;
};

TEST_CASE("what was found stays while removals are held, and goes when they are not") {
  HoldingNode node;
  CHECK(node.Actual() == node.before);
  node.Advance(absl::Hours(1));
  CHECK(node.Actual() == node.before);

  node.reconciler().HoldRemovals(false);
  node.Reconcile();
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("what was wanted since the start is removed though removals are held") {
  HoldingNode node;
  node.Put(Web({"10.244.1.2", "10.244.2.2"}));
  node.Put(Web({"10.244.1.2"}));
  CHECK(node.Settle());
  CHECK(node.kernel.table.Get(kWeb).value().real_servers.size() == 1);
  node.Remove("web");
  CHECK(node.Settle());
  CHECK(absl::IsNotFound(node.kernel.table.Get(kWeb).status()));
  CHECK(node.kernel.table.Get(kOther).ok());
}

TEST_CASE("a mark that was wanted since the start is removed though removals are held") {
  const auto key = Tcp("192.0.2.7", 80);
  const Lines pods = {"10.244.1.2", "10.244.2.2"};
  HoldingNode node;
  node.Put(MakePlan(
      "edge", {Local(LoadBalancer(key, pods), 0x46000001), Internal(Mark(0x46000001), pods)}));
  node.Remove("edge");
  CHECK(node.Settle());
  CHECK(node.Actual() == node.before);
}

TEST_CASE("what is held and wanted again is as if it had always been wanted") {
  HoldingNode node;
  node.kernel.table.ClearOperations();
  node.Put(MakePlan("other", {Vip(kOther, {"10.244.1.3"})}));
  node.Put(Web({"10.244.1.2", "10.244.2.2"}));
  CHECK(node.kernel.table.operations().empty());
  node.reconciler().HoldRemovals(false);
  node.Reconcile();
  CHECK(node.Actual() == node.before);
  CHECK(node.kernel.table.operations().empty());
}

TEST_CASE("what is wanted is as it should be though removals are held") {
  const auto key = Tcp("192.0.2.7", 80);
  const Lines elsewhere = {"10.244.2.2"};
  const Lines here = {"10.244.1.2"};
  struct Row {
    std::string name;
    PlannedVirtualServer before;
    PlannedVirtualServer after;
  };
  const std::vector<Row> rows = {
      {"was silent", Local(LoadBalancer(key, elsewhere), 0), LoadBalancer(key, elsewhere)},
      {"had a mark", Local(LoadBalancer(key, here), 0x46000001), LoadBalancer(key, here)},
      {"had another mark", Local(LoadBalancer(key, here), 0x46000001),
       Local(LoadBalancer(key, here), 0x46000002)},
      {"had other sources", From(LoadBalancer(key, here), {"198.51.100.0/24"}),
       From(LoadBalancer(key, here), {"198.51.0.0/16"})},
      {"was limited", From(LoadBalancer(key, here), {"198.51.100.0/24"}), LoadBalancer(key, here)},
  };
  const auto plan = [&](const PlannedVirtualServer& server) {
    std::vector<PlannedVirtualServer> servers = {server};
    if (server.mark != 0) servers.push_back(Internal(Mark(server.mark), here));
    return MakePlan("web", servers);
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      TestNode node;
      node.Put(plan(row.before));
      node.Want(plan(row.after));
      REQUIRE(node.Restart().ok());
      node.reconciler().HoldRemovals(true);
      node.Reconcile(node.Everything());
      CHECK(node.Settle());
      CHECK(Violations(node.kernel, {}) == Lines{});
      std::set<Element> of_key;
      for (const Element& element : node.kernel.firewall.elements()) {
        if (element.address == key.address && element.port == key.port) of_key.insert(element);
      }
      std::set<Element> wanted;
      for (const Element& element : ElementsOf(*node.desired.FindVirtualServer(key))) {
        if (element.port != 0) wanted.insert(element);
      }
      CHECK(of_key == wanted);
      node.reconciler().HoldRemovals(false);
      node.Reconcile();
      CHECK(node.Settle());
      CHECK(node.Actual() == node.Wanted());
    }
  }
}

TEST_CASE("marks of what may be unread stay with their virtual server") {
  const auto key = Tcp("192.0.2.7", 80);
  const Lines pods = {"10.244.1.2", "10.244.2.2"};
  TestNode node;
  node.Put(MakePlan(
      "web", {Local(LoadBalancer(key, pods), 0x46000001), Internal(Mark(0x46000001), pods)}));
  const Lines before = node.Actual();
  node.Want(MakePlan("web", {}));
  REQUIRE(node.Restart().ok());
  node.reconciler().HoldRemovals(true);
  node.Reconcile();
  CHECK(node.Actual() == before);
  node.reconciler().HoldRemovals(false);
  node.Reconcile();
  // The mark's virtual server has drained, and goes with the next pass.
  CHECK(node.Wait() < absl::ZeroDuration());
  node.Reconcile();
  CHECK(node.Actual() == Lines{});
}

}  // namespace
}  // namespace fairlead::testing
