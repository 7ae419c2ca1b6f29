// Flows of datagrams that connection tracking has to forget, so that they are balanced again.

#include <algorithm>
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "test_node.h"

namespace fairlead::testing {
namespace {

using ipvs::Protocol;
using ipvs::VirtualServerKey;

constexpr uint32_t kMark = 0x46000001;
const VirtualServerKey kDns = Udp("10.96.0.10", 53);

// From a client to the virtual server's address, answered by the pod.
Flow Balanced(const VirtualServerKey& key, const std::string& pod) {
  return {.protocol = key.protocol,
          .client = {Address("10.244.9.9"), 40000},
          .destination = {key.address, key.port},
          .endpoint = Address(pod),
          .endpoint_port = 8080};
}

// To an address that nobody balances.
Flow Untranslated(const VirtualServerKey& key) {
  return {.protocol = key.protocol,
          .client = {Address("10.244.9.9"), 40000},
          .destination = {key.address, key.port},
          .endpoint = key.address,
          .endpoint_port = key.port};
}

std::shared_ptr<const ServicePlan> Dns(const Lines& pods, const VirtualServerKey& key = kDns) {
  return MakePlan("dns", {Vip(key, pods)});
}

using Flows = std::set<Flow>;

TEST_CASE("when an endpoint of datagrams goes its flows are forgotten, and no others") {
  TestNode node;
  node.Put(Dns({"10.244.1.2", "10.244.2.2"}));
  MemoryConntrack& conntrack = node.kernel.conntrack;
  const Flow stays = Balanced(kDns, "10.244.1.2");
  const Flow elsewhere = Balanced(Udp("10.96.0.11", 53), "10.244.2.2");
  const Flow direct = Untranslated(Udp("10.244.2.2", 8080));
  const Flow stream = Balanced(Tcp("10.96.0.10", 53), "10.244.2.2");
  for (const Flow& flow : {stays, elsewhere, direct, stream}) conntrack.AddFlow(flow);
  conntrack.AddFlow(Balanced(kDns, "10.244.2.2"));
  Flow other_client = Balanced(kDns, "10.244.2.2");
  other_client.client.port = 40001;
  conntrack.AddFlow(other_client);
  node.Put(Dns({"10.244.1.2"}));
  CHECK(conntrack.flows() == Flows{stays, elsewhere, direct, stream});
  CHECK(node.reconciler().counters().flows == 2);
}

TEST_CASE("flows are forgotten as soon as what ties them to the endpoint has gone") {
  TestNode node;
  node.Put(Dns({"10.244.1.2", "10.244.2.2"}));
  Lines trace;
  node.tap.after_write = [&](const std::string& what) { trace.push_back(what); };
  node.Remove("dns");
  const auto forgotten = std::find(trace.begin(), trace.end(), "delete flows");
  REQUIRE(forgotten != trace.begin());
  REQUIRE(forgotten != trace.end());
  CHECK(*std::prev(forgotten) == "delete virtual server UDP 10.96.0.10:53");
  CHECK(std::count(trace.begin(), trace.end(), "delete flows") == 1);
}

TEST_CASE("when a virtual server for datagrams goes the flows of all its endpoints do") {
  TestNode node;
  node.Put(Dns({"10.244.1.2", "10.244.2.2"}));
  node.kernel.conntrack.AddFlow(Balanced(kDns, "10.244.1.2"));
  node.kernel.conntrack.AddFlow(Balanced(kDns, "10.244.2.2"));
  node.Remove("dns");
  CHECK(node.kernel.conntrack.flows() == Flows{});
  CHECK(node.reconciler().counters().flows == 2);
}

TEST_CASE("when a virtual server for datagrams comes, flows that went past it are forgotten") {
  TestNode node;
  const Flow other_port = Untranslated(Udp("10.96.0.10", 54));
  node.kernel.conntrack.AddFlow(Untranslated(kDns));
  node.kernel.conntrack.AddFlow(other_port);
  node.Put(Dns({"10.244.1.2"}));
  CHECK(node.kernel.conntrack.flows() == Flows{other_port});
  CHECK(node.reconciler().counters().flows == 1);
}

TEST_CASE("the flows of connections are left alone, and nothing is read for them") {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kSctp}) {
    INFO(ipvs::FormatProtocol(protocol));
    const auto key = VirtualServerKey::ForAddress(protocol, Address("10.96.0.10"), 53);
    const Flows flows = {Untranslated(key), Balanced(key, "10.244.1.2"),
                         Balanced(key, "10.244.2.2"), Balanced(kDns, "10.244.2.2")};
    TestNode node;
    for (const Flow& flow : flows) node.kernel.conntrack.AddFlow(flow);
    node.Put(Dns({"10.244.1.2", "10.244.2.2"}, key));
    node.Put(Dns({"10.244.1.2"}, key));
    CHECK(node.Settle());
    node.Remove("dns");
    CHECK(node.Actual() == Lines{});
    CHECK(node.kernel.conntrack.flows() == flows);
    CHECK(node.kernel.conntrack.reads() == 0);
    CHECK(node.reconciler().counters().flows == 0);
  }
}

TEST_CASE("a change that ends no datagrams reads nothing") {
  TestNode node;
  node.Put(Dns({"10.244.1.2"}));
  const int reads = node.kernel.conntrack.reads();
  node.Put(Dns({"10.244.1.2", "10.244.2.2"}));
  PlannedVirtualServer other = Vip(kDns, {"10.244.1.2", "10.244.2.2"});
  other.config.scheduler = "lc";
  node.Put(MakePlan("dns", {other}));
  node.Advance(absl::Hours(1));
  CHECK(node.kernel.conntrack.reads() == reads);
}

TEST_CASE("however many endpoints go, the flows are read once") {
  TestNode node;
  node.Put(Dns({"10.244.1.2", "10.244.1.3", "10.244.2.2"}));
  node.Put(MakePlan("more", {Vip(Udp("10.96.0.11", 53), {"10.244.1.2"})}));
  const int reads = node.kernel.conntrack.reads();
  Touched touched = node.Want(Dns({"10.244.1.2"}));
  touched.Merge(node.Want(MakePlan("more", {})));
  node.Reconcile(touched);
  CHECK(node.kernel.conntrack.reads() == reads + 1);
}

TEST_CASE("what pods sent by a mark is forgotten whatever address they asked for") {
  const VirtualServerKey address = Udp("192.0.2.7", 53);
  const VirtualServerKey node_port = Udp("192.168.1.1", 30053);
  const auto plan = [&](const Lines& pods) {
    return MakePlan(
        "dns", {Local(LoadBalancer(address, pods), kMark), Local(NodePort(node_port, pods), kMark),
                Internal(Mark(kMark), pods, Protocol::kUdp)});
  };
  const Lines both = {"10.244.1.2", "10.244.2.2"};
  const Flow stays = Balanced(address, "10.244.1.2");
  const Flow direct = Untranslated(Udp("10.244.2.2", 8080));
  TestNode node;
  node.Put(plan(both));
  for (const Flow& flow :
       {stays, direct, Balanced(address, "10.244.2.2"), Balanced(node_port, "10.244.2.2")}) {
    node.kernel.conntrack.AddFlow(flow);
  }
  node.Put(plan({"10.244.1.2"}));
  CHECK(node.kernel.conntrack.flows() == Flows{stays, direct});
  CHECK(node.reconciler().counters().flows == 2);

  // The policy becomes Cluster: the mark's virtual server goes.
  node.Put(MakePlan("dns", {LoadBalancer(address, {"10.244.1.2"})}));
  CHECK(node.kernel.conntrack.flows() == Flows{direct});
}

TEST_CASE("endpoints of a mark for TCP cost no reading of flows") {
  const VirtualServerKey address = Tcp("192.0.2.7", 80);
  const auto plan = [&](const Lines& pods) {
    return MakePlan("web",
                    {Local(LoadBalancer(address, pods), kMark), Internal(Mark(kMark), pods)});
  };
  TestNode node;
  node.Put(plan({"10.244.1.2", "10.244.2.2"}));
  node.kernel.conntrack.AddFlow(Balanced(Udp("10.96.0.10", 53), "10.244.2.2"));
  const int reads = node.kernel.conntrack.reads();
  node.Put(plan({"10.244.1.2"}));
  node.Remove("web");
  CHECK(node.Settle());
  CHECK(node.Actual() == Lines{});
  CHECK(node.kernel.conntrack.reads() == reads);
}

TEST_CASE("flows that cannot be forgotten are tried again, and it is said") {
  TestNode node;
  node.Put(Dns({"10.244.1.2", "10.244.2.2"}));
  node.kernel.conntrack.AddFlow(Balanced(kDns, "10.244.2.2"));
  node.kernel.conntrack.FailNextCalls(2,
                                      absl::FailedPreconditionError("load nf_conntrack_netlink"));
  node.Put(Dns({"10.244.1.2"}));
  // Everything else is as it should be.
  CHECK(node.Actual() == node.Wanted());
  CHECK(node.reconciler().Failures() ==
        std::vector<ReconcileFailure>{{"conntrack", "load nf_conntrack_netlink", std::nullopt}});
  CHECK(node.Wait() == absl::Milliseconds(100));
  node.Advance(node.Wait());
  CHECK(node.Failures() == Lines{"conntrack: load nf_conntrack_netlink"});
  CHECK(node.Wait() == absl::Milliseconds(200));
  node.Advance(node.Wait());
  CHECK(node.Failures() == Lines{});
  CHECK(node.kernel.conntrack.flows() == Flows{});
  CHECK(node.reconciler().counters().flows == 1);
  CHECK(node.reconciler().NextWake() == absl::InfiniteFuture());
}

TEST_CASE("what waits to be forgotten has a limit, beyond which it is given up") {
  // One Service has so many endpoints that all of them leave at the limit, or one above it.
  for (const size_t endpoints : {kMaxFlowsToForget, kMaxFlowsToForget + 1}) {
    INFO(endpoints);
    PlannedVirtualServer server = Vip(kDns, {});
    server.verdict = Verdict::kBalance;
    for (size_t i = 0; i < endpoints; ++i) {
      PlannedRealServer real;
      real.key = {Address("10.0.0.0").Plus(i + 1), 8080};
      server.real_servers.push_back(real);
    }
    TestNode node;
    node.Put(MakePlan("dns", {server}));
    node.kernel.conntrack.AddFlow(Balanced(kDns, server.real_servers.back().key.address.Format()));
    node.kernel.conntrack.FailNextCalls(1, absl::UnavailableError("busy"));
    node.Remove("dns");
    CHECK(node.Failures() == Lines{"conntrack: busy"});
    CHECK(node.Settle());
    CHECK(node.Failures() == Lines{});
    CHECK(node.kernel.conntrack.flows().size() == (endpoints > kMaxFlowsToForget ? 1 : 0));
  }
}

}  // namespace
}  // namespace fairlead::testing
