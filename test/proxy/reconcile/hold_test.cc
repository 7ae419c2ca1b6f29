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

}  // namespace
}  // namespace fairlead::testing
