#include "proxy/inspect/shadow_kernel.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "proxy/health/health_check_ports.h"
#include "proxy/reconcile/reconciler.h"
#include "scene.h"

namespace fairlead::testing {
namespace {

using ipvs::Operation;
using ipvs::VirtualServerKey;

const VirtualServerKey kCart = Tcp("10.96.0.1", 80);
const VirtualServerKey kDns = Udp("10.96.0.10", 53);
const VirtualServerKey kBalancer = Tcp("198.19.0.1", 443);
constexpr uint32_t kMark = 0x46000001;

// A node whose kernel another proxy keeps, with a Reconciler that works in its shadow.
class ShadowNode {
 public:
  ShadowNode()
      : shadow_([this] { return Read(); }),
        reconciler(shadow_.table(), shadow_.firewall(), shadow_.routes(), shadow_.conntrack(), {}) {
    reconciler.SetRuleset(RulesetText({}));
    reconciler.SetRouteSources({Address("192.168.1.1")});
  }

  void Put(const std::shared_ptr<const ServicePlan>& plan) {
    now += absl::Seconds(1);
    const Touched touched = desired.Update(plan);
    reconciler.Reconcile(desired, touched, now);
  }

  // All that the real kernel has been told to do.
  Lines Writes() {
    Lines writes;
    for (const Operation& operation : kernel.table.operations()) {
      writes.push_back(operation.Format());
    }
    if (kernel.firewall.transactions() > 0) writes.push_back("elements");
    if (kernel.firewall.rulesets_loaded() > 0) writes.push_back("ruleset");
    if (kernel.routes.writes() > 0) writes.push_back("routes");
    if (kernel.conntrack.reads() > 0) writes.push_back("flows");
    return writes;
  }

  // What the Reconciler believes to have written.
  Lines Shadow() {
    KernelState state;
    state.servers = shadow_.table().Dump().value();
    state.elements = shadow_.firewall().Dump().value();
    state.routes = shadow_.routes().Dump().value();
    state.ruleset = ShapeOf(RulesetText({})).value();
    WantedState wanted;
    wanted.plans = {};
    wanted.servers = desired.VirtualServers();
    wanted.elements = desired.Elements();
    std::sort(wanted.elements.begin(), wanted.elements.end());
    for (const IpAddress& vip : desired.Vips()) {
      wanted.routes.push_back({vip, Address("192.168.1.1")});
    }
    std::sort(wanted.routes.begin(), wanted.routes.end(),
              [](const VipRoute& a, const VipRoute& b) { return a.vip < b.vip; });
    wanted.ruleset = RulesetText({});
    wanted.owned = RecordedServers(state);
    return Format(CompareWithKernel(wanted, state));
  }

  MemoryKernel kernel;
  absl::Status read_status;
  int reads = 0;
  DesiredState desired;
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);

 private:
  absl::StatusOr<KernelState> Read() {
    ++reads;
    if (!read_status.ok()) return read_status;
    KernelState state;
    state.servers = kernel.table.Dump().value();
    if (kernel.firewall.ruleset().has_value()) {
      state.ruleset = ShapeOf(*kernel.firewall.ruleset()).value();
    }
    state.elements.assign(kernel.firewall.elements().begin(), kernel.firewall.elements().end());
    state.routes = kernel.routes.Dump().value();
    return state;
  }

  ShadowKernel shadow_;

 public:
  Reconciler reconciler;
};

// kube-proxy's, with an endpoint too many.
void AddOthers(MemoryKernel& kernel) {
  kernel.table.Apply({Operation::AddVirtualServer(kCart, {}),
                      Operation::AddRealServer(kCart, Pod("10.244.1.2"), {}),
                      Operation::AddRealServer(kCart, Pod("10.244.1.9"), {}),
                      Operation::AddVirtualServer(Mark(7), {})});
  kernel.table.SetConnections(kCart, Pod("10.244.1.9"), 3, 0).IgnoreError();
  kernel.table.ClearOperations();
}

TEST_CASE("a reconciler in shadow mode writes nothing, and comes to rest") {
  ShadowNode node;
  AddOthers(node.kernel);
  REQUIRE(node.reconciler.Adopt().ok());
  node.Put(MakePlan("cart", {Vip(kCart, {"10.244.1.2"})}));
  node.Put(MakePlan("dns", {Vip(kDns, {"10.244.1.3", "10.244.2.3"})}));
  node.Put(MakePlan("web", {Local(LoadBalancer(kBalancer, {"10.244.1.5"}), kMark),
                            Internal(Mark(kMark), {"10.244.1.5", "10.244.2.5"})}));
  CHECK(node.Shadow() == Lines{});
  // Endpoints come and go, Services change and go.
  node.Put(MakePlan("cart", {Vip(kCart, {})}));
  node.Put(MakePlan("dns", {Vip(kDns, {"10.244.2.3"})}));
  node.Put(MakePlan("web", {LoadBalancer(kBalancer, {"10.244.1.5"})}));
  node.Put(MakePlan("dns", {}));
  for (int i = 0; i < 10 && node.reconciler.NextWake() != absl::InfiniteFuture(); ++i) {
    node.now += absl::Minutes(1);
    node.reconciler.Reconcile(node.desired, Touched(), node.now);
  }
  CHECK(node.reconciler.Failures().empty());
  CHECK(node.reconciler.Draining().empty());
  CHECK(node.reconciler.NextWake() == absl::InfiniteFuture());
  CHECK(node.Shadow() == Lines{});
  CHECK(node.Writes() == Lines{});
  CHECK(node.reads == 1);
}

TEST_CASE("marks are planned as beside the kernel's own") {
  ShadowNode node;
  AddOthers(node.kernel);
  node.kernel.firewall.EnsureRuleset(RulesetText({})).IgnoreError();
  Element given{.set = SetName::kMark,
                .address = kBalancer.address,
                .protocol = kBalancer.protocol,
                .port = kBalancer.port,
                .mark = kMark};
  const std::vector<ElementChange> changes = {
      {ElementChange::Verb::kAdd, given},
      {ElementChange::Verb::kAdd, OwnedElement(Mark(kMark))},
      {ElementChange::Verb::kAdd, OwnedElement(kCart)}};
  REQUIRE(node.kernel.firewall.Apply(changes).ok());
  node.kernel.table.Apply({Operation::AddVirtualServer(Mark(kMark), {})});
  REQUIRE(node.reconciler.Adopt().ok());
  const FoundMarks marks = node.reconciler.Marks();
  CHECK(marks.ports == decltype(marks.ports){{kBalancer, kMark}});
  CHECK(marks.foreign == decltype(marks.foreign){7});
}

TEST_CASE("a virtual server of another proxy is not taken over in the shadow") {
  ShadowNode node;
  AddOthers(node.kernel);
  REQUIRE(node.reconciler.Adopt().ok());
  node.Put(MakePlan("cart", {Vip(kCart, {"10.244.1.2"})}));
  CHECK(node.reconciler.taken_over().empty());
  CHECK(node.reconciler.Draining().empty());
}

TEST_CASE("a kernel that cannot be read is asked again") {
  ShadowNode node;
  node.read_status = absl::UnavailableError("busy");
  CHECK(node.reconciler.Adopt() == node.read_status);
  node.read_status = absl::OkStatus();
  CHECK(node.reconciler.Adopt().ok());
  CHECK(node.reads == 2);
}

TEST_CASE("in the shadow no port is opened, and that is no problem") {
  NoListeners listeners;
  HealthCheckPorts checks(listeners, [] { return true; });
  checks.SetAddresses({Address("192.168.1.1")});
  checks.SetService({"shop", "cart"}, 31000, {{IpFamily::kIpv4, 1}});
  CHECK(checks.Problems().empty());
  CHECK(checks.NextRetry() == absl::InfiniteFuture());
}

}  // namespace
}  // namespace fairlead::testing
