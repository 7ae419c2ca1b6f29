// Objects for the planner's tests, written briefly, and plans as lines that are easy to compare.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/plan/endpoint_sets.h"
#include "proxy/plan/plan.h"
#include "watcher/snapshot.h"

namespace fairlead::testing {

using Lines = std::vector<std::string>;

// Throws where the text is no address or prefix.
IpAddress Address(absl::string_view text);
IpPrefix Prefix(absl::string_view text);

// "10.244.1.2@n1 zone:a node:n1 unready not-serving terminating": an endpoint on node n1 with hints
// for zone a and node n1; all after the address may be left out, hints may be repeated. The Pod is
// named pod-10.244.1.2.
Endpoint ParseEndpoint(absl::string_view text);

// A slice of Service shop/cart with the port "http" TCP 8080; the family is that of the endpoints,
// IPv4 where there are none.
EndpointSlice MakeSlice(const std::string& name, const Lines& endpoints);

// By name, as a Snapshot holds them.
Snapshot::Slices MakeSlices(const std::vector<EndpointSlice>& slices);

// Service shop/cart of type NodePort at 10.96.0.1, port "http" TCP 80, node port 30080.
Service MakeService();

// Node n1 in zone a, 192.168.1.1 and fd00:1::1, which serve node ports; pods in 10.244.0.0/16 and
// fd00:244::/48; all schedulers of Linux.
NodeConfig MakeNode();

// The mark that shop/cart's port "http" TCP gets of the whole range: the hash of its name.
inline constexpr char kHttpMark[] = "0x46020fff";

// The plan of a Service that is alone on the node, with the marks that MarkAllocator gives it.
ServicePlan MakePlan(const Service& service, const Snapshot::Slices& slices,
                     const NodeConfig& node);

// "10.244.1.2:8080" each.
Lines Describe(const std::vector<PortEndpoint>& endpoints);

// Every field: "shop/cart http: TCP 10.96.0.1:80 ClusterIP Cluster balance outsiders rr", with
// "0x46020fff IPv4 TCP" for the address where it is a mark. Then what there is of these:
// " persistent 10800s", " vip" (of a clusterIP not said, but " no-vip"), " mark 0x46020fff", and
// " from 10.0.0.0/8" for each source. A line for each real server: "  10.244.1.2:8080 weight 1 Masq
// ready local n1 - pod-10.244.1.2", where "-" is a zone that is not known.
Lines Describe(const PlannedVirtualServer& server);
// All virtual servers, "health check 31000 IPv4:1" where there is one, then "! " and each warning.
Lines Describe(const ServicePlan& plan);

}  // namespace fairlead::testing
