// In which order the kernel is written, and that a crash between any two writes does no harm.

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "test_node.h"

namespace fairlead::testing {
namespace {

using Plans = std::vector<std::shared_ptr<const ServicePlan>>;

Plans Before() {
  return {MakePlan("web", {Vip(Tcp("10.96.0.1", 80), {"10.244.1.2", "10.244.2.2"}),
                           Vip(Tcp("10.96.0.1", 443), {"10.244.1.2"}),
                           NodePort(Tcp("192.168.1.1", 30080), {"10.244.1.2"})}),
          MakePlan("dns", {Vip(Udp("10.96.0.10", 53), {"10.244.1.3"})}),
          MakePlan("moves", {Vip(Tcp("10.96.0.20", 80), {"10.244.2.4"})})};
}

// A port goes, one comes, endpoints come and go, a scheduler changes, one address is another.
Plans After() {
  PlannedVirtualServer web = Vip(Tcp("10.96.0.1", 80), {"10.244.2.2", "10.244.1.9"});
  web.config.scheduler = "lc";
  PlannedVirtualServer dns = Vip(Udp("10.96.0.10", 53), {});
  dns.verdict = Verdict::kDrop;
  return {MakePlan("web", {web, Vip(Tcp("10.96.0.1", 8443), {"10.244.1.2"})}),
          MakePlan("dns", {dns}),
          MakePlan("moves", {Vip(Tcp("10.96.0.21", 80), {"10.244.2.4"}),
                             Vip(Tcp("fd00:96::1", 80), {"fd00:244::2"})})};
}

constexpr uint32_t kMark = 0x46000001;
constexpr uint32_t kOtherMark = 0x46000002;

// A load balancer's address and a node port, with both sources and policy to be chosen.
std::shared_ptr<const ServicePlan> Edge(TrafficPolicy policy, const Lines& pods,
                                        const Lines& sources) {
  PlannedVirtualServer balancer = From(LoadBalancer(Tcp("192.0.2.7", 80), pods), sources);
  PlannedVirtualServer node_port = NodePort(Tcp("192.168.1.1", 30081), pods);
  if (policy == TrafficPolicy::kCluster) return MakePlan("edge", {balancer, node_port});
  return MakePlan("edge",
                  {Local(balancer, kMark), Local(node_port, kMark), Internal(Mark(kMark), pods)});
}

// An older Service that has the node port of edge, with another mark, and datagrams.
std::shared_ptr<const ServicePlan> Rival() {
  const Lines pods = {"10.244.1.7", "10.244.2.7"};
  auto plan = std::make_shared<ServicePlan>(
      *MakePlan("rival", {Local(NodePort(Tcp("192.168.1.1", 30081), pods), kOtherMark),
                          Local(LoadBalancer(Udp("192.0.2.9", 53), pods), kOtherMark),
                          Internal(Mark(kOtherMark), pods, ipvs::Protocol::kUdp)}));
  plan->created = absl::InfinitePast();
  return plan;
}

// Younger than any other.
std::shared_ptr<const ServicePlan> Young(const std::shared_ptr<const ServicePlan>& plan) {
  auto young = std::make_shared<ServicePlan>(*plan);
  young->created = absl::FromUnixSeconds(1);
  return young;
}

// From one to the other: what is in neither list is removed.
Touched Want(TestNode& node, const Plans& plans) {
  Touched touched;
  for (const char* service : {"web", "dns", "moves", "edge", "rival"}) {
    auto wanted = MakePlan(service, {});
    for (const auto& plan : plans) {
      if (plan->service.name == service) wanted = plan;
    }
    touched.Merge(node.Want(wanted));
  }
  return touched;
}

struct Transition {
  std::string name;
  Plans from;
  Plans to;
};

const std::vector<Transition>& Transitions() {
  const Lines pods = {"10.244.1.2", "10.244.2.2"};
  const Lines elsewhere = {"10.244.2.2", "10.244.2.3"};
  const auto cluster = Edge(TrafficPolicy::kCluster, pods, {"10.0.0.0/9"});
  const auto local = Edge(TrafficPolicy::kLocal, pods, {"10.0.0.0/9"});
  const auto silent = Edge(TrafficPolicy::kLocal, elsewhere, {"10.0.0.0/9"});
  const auto wider = Edge(TrafficPolicy::kLocal, pods, {"10.0.0.0/8", "192.0.2.7/32"});
  const auto open = Edge(TrafficPolicy::kLocal, pods, {});
  static const auto& transitions = *new std::vector<Transition>{
      {"additions", {}, Before()},
      {"changes", Before(), After()},
      {"changes back", After(), Before()},
      {"removals", Before(), {}},
      {"removal of what drops", After(), {}},
      {"two sets of endpoints come", {}, {local}},
      {"two sets of endpoints go", {local}, {}},
      {"policy Cluster to Local", {cluster}, {local}},
      {"policy Local to Cluster", {local}, {cluster}},
      {"policy Local without local endpoints", {cluster}, {silent}},
      {"the end of silence", {silent}, {cluster}},
      {"sources that overlap", {local}, {wider}},
      {"sources that are no longer limited", {wider}, {open}},
      {"a mark that changes", {Young(local)}, {Young(local), Rival()}},
      {"a mark that changes back", {Young(local), Rival()}, {Young(local)}},
  };
  return transitions;
}

TEST_CASE("a Service comes, and goes, in the order that keeps it safe") {
  TestNode node;
  Lines trace;
  node.tap.after_write = [&](const std::string& what) { trace.push_back(what); };
  const auto key = Tcp("10.96.0.1", 80);
  node.Put(MakePlan("web", {Vip(key, {"10.244.1.2"})}));
  CHECK(trace == Lines{"add owned4 10.96.0.1 . tcp . 80; add guarded4 10.96.0.1; "
                       "add masquerade_outsiders4 10.96.0.1 . tcp . 80; "
                       "add hairpin4 10.244.1.2 . 10.244.1.2; ",
                       "add virtual server TCP 10.96.0.1:80",
                       "add real server 10.244.1.2:8080 to TCP 10.96.0.1:80",
                       "add served4 10.96.0.1 . tcp . 80; ", "put route 10.96.0.1"});
  trace.clear();
  node.Remove("web");
  CHECK(trace == Lines{"delete route 10.96.0.1", "delete served4 10.96.0.1 . tcp . 80; ",
                       "delete virtual server TCP 10.96.0.1:80",
                       "delete owned4 10.96.0.1 . tcp . 80; delete guarded4 10.96.0.1; "
                       "delete masquerade_outsiders4 10.96.0.1 . tcp . 80; "
                       "delete hairpin4 10.244.1.2 . 10.244.1.2; "});
}

TEST_CASE("at no step is a VIP without guard, a port or mark for nothing, or ours not recorded") {
  for (const Transition& transition : Transitions()) {
    DYNAMIC_SECTION(transition.name) {
      TestNode node;
      node.Reconcile(Want(node, transition.from));
      REQUIRE(node.Actual() == node.Wanted());
      Lines wrong;
      node.tap.after_write = [&](const std::string& what) {
        for (const std::string& violation : Violations(node.kernel, {})) {
          wrong.push_back(absl::StrCat("after ", what, ": ", violation));
        }
      };
      const int writes = node.tap.writes;
      node.Reconcile(Want(node, transition.to));
      REQUIRE(node.tap.writes > writes);
      CHECK(node.Settle());
      CHECK(wrong == Lines{});
      CHECK(node.Actual() == node.Wanted());
    }
  }
}

// Crashes after each number of writes, and what `then` is wanted after the restart is there.
void CheckCrashes(const Transition& transition, const Plans& then) {
  for (int writes = 0;; ++writes) {
    INFO("crash after " << writes << " writes");
    TestNode node;
    node.Reconcile(Want(node, transition.from));
    Lines wrong;
    node.tap.after_write = [&](const std::string& what) {
      for (const std::string& violation : Violations(node.kernel, {})) {
        wrong.push_back(absl::StrCat("after ", what, ": ", violation));
      }
    };
    node.tap.CrashAfter(writes);
    node.Reconcile(Want(node, transition.to));
    node.Advance(absl::Minutes(1));  // What had to wait for connections.
    node.tap.Recover();
    Want(node, then);
    REQUIRE(node.Restart().ok());
    node.Reconcile();  // Nothing is touched: what is left over is found.
    node.Reconcile(node.Everything());
    CHECK(node.Settle());
    CHECK(wrong == Lines{});
    CHECK(node.Actual() == node.Wanted());
    if (!node.tap.crashed) return;
    REQUIRE(writes < 200);
  }
}

TEST_CASE("after a crash at any step a new start finishes the work") {
  for (const Transition& transition : Transitions()) {
    DYNAMIC_SECTION(transition.name) { CheckCrashes(transition, transition.to); }
  }
}

TEST_CASE("after a crash at any step nothing is left over of Services that went meanwhile") {
  for (const Transition& transition : Transitions()) {
    DYNAMIC_SECTION(transition.name) { CheckCrashes(transition, {}); }
  }
}

TEST_CASE("after a crash at any step a new start goes back where it is wanted so") {
  for (const Transition& transition : Transitions()) {
    DYNAMIC_SECTION(transition.name) { CheckCrashes(transition, transition.from); }
  }
}

TEST_CASE("a VIP in use is never shut: another proxy's, or after a flush of the firewall") {
  const ipvs::VirtualServerKey key = Tcp("10.96.0.1", 80);
  const auto plan = MakePlan("web", {Vip(key, {"10.244.1.2"})});
  TestNode node;
  node.kernel.table.Apply({{ipvs::Operation::AddVirtualServer(key, plan->virtual_servers[0].config),
                            ipvs::Operation::AddRealServer(key, Pod("10.244.1.2"), {})}});
  REQUIRE(node.Restart().ok());
  int looks = 0;
  const Lines open = {"10.244.1.2:8080"};
  node.tap.after_write = [&](const std::string& what) {
    INFO(what);
    const Lines reached = Reach(node.kernel, key, Sender::kOutside);
    CHECK((reached == open || reached == Lines{"not ours"}));
    ++looks;
  };
  node.Put(plan);
  CHECK(Reach(node.kernel, key, Sender::kOutside) == open);
  CHECK(looks > 0);

  REQUIRE(node.kernel.firewall
              .Apply({{{ElementChange::Verb::kDelete, OwnedElement(key)},
                       {ElementChange::Verb::kDelete,
                        {.set = SetName::kServed,
                         .address = key.address,
                         .protocol = key.protocol,
                         .port = key.port}},
                       {ElementChange::Verb::kDelete,
                        {.set = SetName::kGuarded, .address = key.address}}}})
              .ok());
  looks = 0;
  node.reconciler().SuspectFirewall();
  node.Reconcile();
  CHECK(node.Actual() == node.Wanted());
  CHECK(looks > 0);
}

}  // namespace
}  // namespace fairlead::testing
