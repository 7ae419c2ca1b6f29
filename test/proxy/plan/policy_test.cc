// Traffic policies: which endpoints they use, what happens without any, who is masqueraded.
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "proxy/plan/plan.h"
#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using testing::Lines;
using testing::MakeNode;
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
       "balance 10.0.0.1 else drop"},
      {"external Local, none here: the node port is silent",
       kCluster,
       kLocal,
       {"10.0.0.2@n2"},
       "balance 10.0.0.2 else reject",
       "drop else drop"},
      {"external Local, none anywhere: the node port refuses",
       kCluster,
       kLocal,
       {},
       "reject else reject",
       "reject else reject"},
      {"external Local, one here terminates: it is used, as nothing else is local",
       kCluster,
       kLocal,
       {"10.0.0.1@n1 unready terminating", "10.0.0.2@n2"},
       "balance 10.0.0.2 else reject",
       "balance 10.0.0.1(terminating) else drop"},
      {"external Local, only a remote one terminates: the node port is silent",
       kCluster,
       kLocal,
       {"10.0.0.2@n2 unready terminating"},
       "balance 10.0.0.2(terminating) else reject",
       "drop else drop"},
      {"external Local does not look at hints",
       kCluster,
       kLocal,
       {"10.0.0.1@n1 zone:b", "10.0.0.2@n2 zone:a"},
       "balance 10.0.0.2 else reject",
       "balance 10.0.0.1 else drop"},
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
      {"both Local, none here: both are silent, although neither policy may use the others",
       kLocal,
       kLocal,
       {"10.0.0.2@n2"},
       "drop else drop",
       "drop else drop"},
      {"both Local, none anywhere: both refuse",
       kLocal,
       kLocal,
       {"10.0.0.2@n2 unready"},
       "reject else reject",
       "reject else reject"},
  }));
  INFO(row.name);
  Service service = MakeService();
  service.internal_traffic_policy = row.internal_policy;
  service.external_traffic_policy = row.external_policy;
  const ServicePlan plan =
      PlanService(service, MakeSlices({MakeSlice("s1", row.endpoints)}), MakeNode());
  REQUIRE(plan.virtual_servers.size() == 2);
  CHECK(plan.virtual_servers[0].kind == AddressKind::kClusterIp);
  CHECK(plan.virtual_servers[0].policy == row.internal_policy);
  CHECK(Outcome(plan.virtual_servers[0]) == row.cluster_ip);
  CHECK(plan.virtual_servers[1].kind == AddressKind::kNodePort);
  CHECK(plan.virtual_servers[1].policy == row.external_policy);
  CHECK(Outcome(plan.virtual_servers[1]) == row.node_port);
}

struct MasqueradeCase {
  std::string name;
  TrafficPolicy internal_policy;
  TrafficPolicy external_policy;
  std::vector<IpPrefix> cluster_cidrs;
  bool masquerade_all;
  Masquerade cluster_ip;
  Masquerade node_port;
};

TEST_CASE("Policy and configuration decide who is masqueraded") {
  const std::vector<IpPrefix> both = {Prefix("10.244.0.0/16"), Prefix("fd00:244::/48")};
  const auto row = GENERATE_COPY(values<MasqueradeCase>({
      {"plain: outsiders to the clusterIP, everyone to a node port", kCluster, kCluster, both,
       false, Masquerade::kOutsiders, Masquerade::kAlways},
      {"without cluster CIDRs: nobody to the clusterIP",
       kCluster,
       kCluster,
       {},
       false,
       Masquerade::kNever,
       Masquerade::kAlways},
      {"a cluster CIDR of either family will do",
       kCluster,
       kCluster,
       {Prefix("fd00:244::/48")},
       false,
       Masquerade::kOutsiders,
       Masquerade::kAlways},
      {"masquerade all: everyone to the clusterIP", kCluster, kCluster, both, true,
       Masquerade::kAlways, Masquerade::kAlways},
      {"masquerade all, without cluster CIDRs too",
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
  node.cluster_cidrs = row.cluster_cidrs;
  node.masquerade_all = row.masquerade_all;
  // Whether there are endpoints makes no difference.
  for (const Lines& endpoints : {Lines{"10.0.0.1@n1"}, Lines{}, Lines{"10.0.0.2@n2"}}) {
    const ServicePlan plan = PlanService(service, MakeSlices({MakeSlice("s1", endpoints)}), node);
    REQUIRE(plan.virtual_servers.size() == 2);
    CHECK(plan.virtual_servers[0].masquerade == row.cluster_ip);
    CHECK(plan.virtual_servers[1].masquerade == row.node_port);
  }
}

}  // namespace
}  // namespace fairlead
