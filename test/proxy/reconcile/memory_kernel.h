// All that Fairlead writes of a kernel, in memory; plans written briefly; and both as lines that
// are easy to compare.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "ipvs/memory_table.h"
#include "proxy/kernel/memory_conntrack.h"
#include "proxy/kernel/memory_firewall.h"
#include "proxy/kernel/memory_routes.h"
#include "proxy/plan/desired_state.h"
#include "proxy/plan/plan.h"

namespace fairlead::testing {

using Lines = std::vector<std::string>;

struct MemoryKernel {
  ipvs::MemoryTable table;
  MemoryFirewall firewall;
  MemoryRoutes routes;
  MemoryConntrack conntrack;
};

// Throws where the text is no address or prefix.
IpAddress Address(absl::string_view text);
IpPrefix Prefix(absl::string_view text);
ipvs::VirtualServerKey Tcp(absl::string_view address, uint16_t port);
ipvs::VirtualServerKey Udp(absl::string_view address, uint16_t port);
// Of IPv4.
ipvs::VirtualServerKey Mark(uint32_t mark);
// Port 8080.
ipvs::RealServerKey Pod(absl::string_view address);

// A cluster IP that balances over the pods, those of 10.244.1.0/24 on this node; outsiders are
// masqueraded. Without pods: rejects.
PlannedVirtualServer Vip(const ipvs::VirtualServerKey& key, Lines pods);
PlannedVirtualServer NodePort(const ipvs::VirtualServerKey& key, Lines pods);
// A load balancer's address, a VIP; everybody is masqueraded.
PlannedVirtualServer LoadBalancer(const ipvs::VirtualServerKey& key, Lines pods);
// The server with policy Local: with its endpoints on this node; silent where it has only others.
// Pods and the node have the mark, 0 for none.
PlannedVirtualServer Local(PlannedVirtualServer server, uint32_t mark);
// What packets with the mark reach, of a Service's port with the protocol.
PlannedVirtualServer Internal(const ipvs::VirtualServerKey& mark, Lines pods,
                              ipvs::Protocol protocol = ipvs::Protocol::kTcp);
// The server lets in only these sources, which do not overlap.
PlannedVirtualServer From(PlannedVirtualServer server, const Lines& prefixes);
// Service shop/NAME. Servers may be in any order.
std::shared_ptr<const ServicePlan> MakePlan(const std::string& name,
                                            std::vector<PlannedVirtualServer> servers);
DesiredState MakeDesired(const std::vector<std::shared_ptr<const ServicePlan>>& plans);

// Everything in the kernel that a plan could ask for: "TCP 10.96.0.1:80 rr flags 0 timeout 0s /32",
// "  10.244.1.2:8080 Masq weight 1", "element owned4 …", "route 10.96.0.1 src 192.168.1.1".
Lines Describe(MemoryKernel& kernel);
// What Describe gives of a kernel that has the state and nothing else.
Lines Describe(const DesiredState& desired, const std::vector<IpAddress>& sources);

// Who sends a packet: pods and the node are marked where there is a mark, others are not.
enum class Sender { kInside, kOutside };

// Where a new connection goes, as the ruleset and IPVS have it: endpoints that take connections,
// sorted; or one of "dropped", "refused", "closed" by the guard, and "not ours".
Lines Reach(MemoryKernel& kernel, const ipvs::VirtualServerKey& key, Sender sender,
            const IpAddress& source = IpAddress());

// What must not be at any moment: routes without guard, served and open ports without virtual
// server, marks without theirs, virtual servers without a record of ownership. `foreign` are
// somebody else's.
Lines Violations(MemoryKernel& kernel, const std::set<ipvs::VirtualServerKey>& foreign);

}  // namespace fairlead::testing
