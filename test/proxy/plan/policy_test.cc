// Traffic policies: which endpoints they use, what happens without any, who is masqueraded.
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "proxy/plan/plan.h"
#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using testing::Lines;
using testing::MakeNode;
using testing::MakePlan;
using testing::MakeService;
using testing::MakeSlice;
using testing::MakeSlices;
using testing::Prefix;

constexpr TrafficPolicy kCluster = TrafficPolicy::kCluster;
constexpr TrafficPolicy kLocal = TrafficPolicy::kLocal;

// "balance 10.0.0.1 10.0.0.2(terminating) else reject".
std::string Outcome(const PlannedVirtualServer& server) {
  std::string outcome(FormatVerdict(server.verdict));
  for (const PlannedRealServer& real : server.real_servers) {
    absl::StrAppend(&outcome, " ", real.key.address.Format(),
                    real.state == EndpointState::kTerminating ? "(terminating)" : "");
  }
  return absl::StrCat(outcome, " else ", FormatVerdict(server.without_endpoints()));
}

struct PolicyCase {
  std::string name;
  TrafficPolicy internal_policy;
  TrafficPolicy external_policy;
  Lines endpoints;
  std::string cluster_ip;
  std::string node_port;
  // What pods and the node meet at the node port; empty: the same as everyone.
  std::string node_port_inside = "";
};

TEST_CASE("A policy chooses the endpoints, and what a client meets without any") {
  const auto row = GENERATE(values<PolicyCase>({
      {"both Cluster: all",
       kCluster,
       kCluster,
       {"10.0.0.1@n1", "10.0.0.2@n2"},
       "balance 10.0.0.1 10.0.0.2 else reject",
       "balance 10.0.0.1 10.0.0.2 else reject"},
      {"both Cluster, nothing at all: refused",
       kCluster,
       kCluster,
       {},
       "reject else reject",
       "reject else reject"},
      {"both Cluster, none ready: refused",
       kCluster,
       kCluster,
       {"10.0.0.1@n1 unready"},
       "reject else reject",
       "reject else reject"},
      {"both Cluster, only terminating ones: those",
       kCluster,
       kCluster,
       {"10.0.0.1@n1 unready terminating", "10.0.0.2@n2 unready terminating"},
       "balance 10.0.0.1(terminating) 10.0.0.2(terminating) else reject",
       "balance 10.0.0.1(terminating) 10.0.0.2(terminating) else reject"},
      {"both Cluster: hints narrow both",
       kCluster,
       kCluster,
       {"10.0.0.1@n1 zone:b", "10.0.0.2@n2 zone:a"},
       "balance 10.0.0.2 else reject",
       "balance 10.0.0.2 else reject"},
      {"external Local: the node port has the local ones, the clusterIP all",
       kCluster,
       kLocal,
       {"10.0.0.1@n1", "10.0.0.2@n2"},
       "balance 10.0.0.1 10.0.0.2 else reject",
       "balance 10.0.0.1 else drop",
       "balance 10.0.0.1 10.0.0.2 else reject"},
      {"external Local, none here: the node port is silent",
       kCluster,
       kLocal,
       {"10.0.0.2@n2"},
       "balance 10.0.0.2 else reject",
       "drop else drop",
       "balance 10.0.0.2 else reject"},
      {"external Local, none anywhere: the node port refuses",
       kCluster,
       kLocal,
       {},
       "reject else reject",
       "reject else reject",
       "reject else reject"},
      {"external Local, one here terminates: it is used, as nothing else is local",
       kCluster,
       kLocal,
       {"10.0.0.1@n1 unready terminating", "10.0.0.2@n2"},
       "balance 10.0.0.2 else reject",
       "balance 10.0.0.1(terminating) else drop",
       "balance 10.0.0.2 else reject"},
      {"external Local, only a remote one terminates: the node port is silent",
       kCluster,
       kLocal,
       {"10.0.0.2@n2 unready terminating"},
       "balance 10.0.0.2(terminating) else reject",
       "drop else drop",
       "balance 10.0.0.2(terminating) else reject"},
      {"external Local does not look at hints",
       kCluster,
       kLocal,
       {"10.0.0.1@n1 zone:b", "10.0.0.2@n2 zone:a"},
       "balance 10.0.0.2 else reject",
       "balance 10.0.0.1 else drop",
       "balance 10.0.0.2 else reject"},
      {"internal Local: the clusterIP has the local ones, the node port all",
       kLocal,
       kCluster,
       {"10.0.0.1@n1", "10.0.0.2@n2"},
       "balance 10.0.0.1 else drop",
       "balance 10.0.0.1 10.0.0.2 else reject"},
      {"internal Local, none here: the clusterIP is silent",
       kLocal,
       kCluster,
       {"10.0.0.2@n2"},
       "drop else drop",
       "balance 10.0.0.2 else reject"},
      {"both Local, none here: both are silent to those from outside",
       kLocal,
       kLocal,
       {"10.0.0.2@n2"},
       "drop else drop",
       "drop else drop",
       "balance 10.0.0.2 else reject"},
      {"both Local, none anywhere: both refuse",
       kLocal,
       kLocal,
       {"10.0.0.2@n2 unready"},
       "reject else reject",
       "reject else reject",
       "reject else reject"},
  }));
  INFO(row.name);
  Service service = MakeService();
  service.internal_traffic_policy = row.internal_policy;
  service.external_traffic_policy = row.external_policy;
  const ServicePlan plan =
      MakePlan(service, MakeSlices({MakeSlice("s1", row.endpoints)}), MakeNode());
  const bool two_sets = !row.node_port_inside.empty();
  REQUIRE(plan.virtual_servers.size() == (two_sets ? 3 : 2));
  CHECK(plan.virtual_servers[0].kind == AddressKind::kClusterIp);
  CHECK(plan.virtual_servers[0].policy == row.internal_policy);
  CHECK(Outcome(plan.virtual_servers[0]) == row.cluster_ip);
  CHECK(plan.virtual_servers[1].kind == AddressKind::kNodePort);
  CHECK(plan.virtual_servers[1].policy == row.external_policy);
  CHECK(Outcome(plan.virtual_servers[1]) == row.node_port);
  if (!two_sets) {
    CHECK(plan.virtual_servers[1].mark == 0);
    return;
  }
  const PlannedVirtualServer& inside = plan.virtual_servers[2];
  CHECK(inside.kind == AddressKind::kInternal);
  CHECK(inside.policy == kCluster);
  CHECK(Outcome(inside) == row.node_port_inside);
  CHECK(inside.key ==
        ipvs::VirtualServerKey::ForMark(IpFamily::kIpv4, plan.virtual_servers[1].mark));
}

struct MasqueradeCase {
  std::string name;
  TrafficPolicy internal_policy;
  TrafficPolicy external_policy;
  std::vector<IpPrefix> pods;
  bool masquerade_all;
  Masquerade cluster_ip;
  Masquerade node_port;
};

TEST_CASE("Policy and configuration decide who is masqueraded") {
  const std::vector<IpPrefix> both = {Prefix("10.244.0.0/16"), Prefix("fd00:244::/48")};
  const auto row = GENERATE_COPY(values<MasqueradeCase>({
      {"plain: outsiders to the clusterIP, everyone to a node port", kCluster, kCluster, both,
       false, Masquerade::kOutsiders, Masquerade::kAlways},
      {"without a detector: nobody to the clusterIP",
       kCluster,
       kCluster,
       {},
       false,
       Masquerade::kNever,
       Masquerade::kAlways},
      {"masquerade all: everyone to the clusterIP", kCluster, kCluster, both, true,
       Masquerade::kAlways, Masquerade::kAlways},
      {"masquerade all, without a detector too",
       kCluster,
       kCluster,
       {},
       true,
       Masquerade::kAlways,
       Masquerade::kAlways},
      {"external Local: nobody to a node port", kCluster, kLocal, both, false,
       Masquerade::kOutsiders, Masquerade::kNever},
      {"external Local: masquerade all is about the clusterIP only", kCluster, kLocal, both, true,
       Masquerade::kAlways, Masquerade::kNever},
      {"internal Local: as plain", kLocal, kCluster, both, false, Masquerade::kOutsiders,
       Masquerade::kAlways},
  }));
  INFO(row.name);
  Service service = MakeService();
  service.internal_traffic_policy = row.internal_policy;
  service.external_traffic_policy = row.external_policy;
  NodeConfig node = MakeNode();
  node.pods.prefixes = row.pods;
  node.masquerade_all = row.masquerade_all;
  // Whether there are endpoints makes no difference.
  for (const Lines& endpoints : {Lines{"10.0.0.1@n1"}, Lines{}, Lines{"10.0.0.2@n2"}}) {
    const ServicePlan plan = MakePlan(service, MakeSlices({MakeSlice("s1", endpoints)}), node);
    REQUIRE(plan.virtual_servers.size() >= 2);
    CHECK(plan.virtual_servers[0].masquerade == row.cluster_ip);
    CHECK(plan.virtual_servers[1].masquerade == row.node_port);
    // Pods are not masqueraded where the policy is Local; the node's own packets have its address.
    if (row.external_policy == kLocal) {
      REQUIRE(plan.virtual_servers.size() == 3);
      CHECK(plan.virtual_servers[2].masquerade == Masquerade::kNever);
    }
  }
}

TEST_CASE("Outsiders are masqueraded on the way to a clusterIP in families that have a detector") {
  struct Row {
    std::string name;
    PodDetector pods;
    Masquerade v4;
    Masquerade v6;
  };
  const auto row = GENERATE(values<Row>({
      {"none", {}, Masquerade::kNever, Masquerade::kNever},
      {"prefixes of both",
       {.prefixes = {Prefix("fd00:244::/48"), Prefix("10.244.0.0/16")}},
       Masquerade::kOutsiders,
       Masquerade::kOutsiders},
      {"IPv4 prefixes",
       {.prefixes = {Prefix("10.244.0.0/16")}},
       Masquerade::kOutsiders,
       Masquerade::kNever},
      {"IPv6 prefixes",
       {.prefixes = {Prefix("fd00:244::/48")}},
       Masquerade::kNever,
       Masquerade::kOutsiders},
      {"a bridge tells both", {.device = "cni0"}, Masquerade::kOutsiders, Masquerade::kOutsiders},
      {"the start of devices' names tells both",
       {.device = "veth", .device_is_prefix = true},
       Masquerade::kOutsiders,
       Masquerade::kOutsiders},
  }));
  INFO(row.name);
  Service service = MakeService();
  service.type = ServiceType::kClusterIp;
  service.cluster_ips.push_back(testing::Address("fd00:96::1"));
  NodeConfig node = MakeNode();
  node.pods = row.pods;
  const ServicePlan plan = MakePlan(service, {}, node);
  REQUIRE(plan.virtual_servers.size() == 2);
  CHECK(plan.virtual_servers[0].key.family == IpFamily::kIpv4);
  CHECK(plan.virtual_servers[0].masquerade == row.v4);
  CHECK(plan.virtual_servers[1].masquerade == row.v6);
}

TEST_CASE("The external policy counts where something of the Service is external") {
  struct Row {
    std::string name;
    ServiceType type;
    bool external_ips;
    TrafficPolicy counts;
  };
  const auto row = GENERATE(values<Row>({
      {"ClusterIP", ServiceType::kClusterIp, false, kCluster},
      {"ClusterIP with external IPs", ServiceType::kClusterIp, true, kLocal},
      {"NodePort", ServiceType::kNodePort, false, kLocal},
      {"LoadBalancer", ServiceType::kLoadBalancer, false, kLocal},
  }));
  INFO(row.name);
  Service service = MakeService();
  service.type = row.type;
  if (row.external_ips) service.external_ips = {testing::Address("198.51.100.1")};
  CHECK(ExternalPolicy(service) == kCluster);
  service.external_traffic_policy = kLocal;
  CHECK(ExternalPolicy(service) == row.counts);
}

}  // namespace
}  // namespace fairlead
