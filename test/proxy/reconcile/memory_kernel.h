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
};

// Throws where the text is no address.
IpAddress Address(absl::string_view text);
ipvs::VirtualServerKey Tcp(absl::string_view address, uint16_t port);
ipvs::VirtualServerKey Udp(absl::string_view address, uint16_t port);
// Port 8080.
ipvs::RealServerKey Pod(absl::string_view address);

// A cluster IP that balances over the pods, those of 10.244.1.0/24 on this node; outsiders are
// masqueraded. Without pods: rejects.
PlannedVirtualServer Vip(const ipvs::VirtualServerKey& key, Lines pods);
PlannedVirtualServer NodePort(const ipvs::VirtualServerKey& key, Lines pods);
// Service shop/NAME. Servers may be in any order.
std::shared_ptr<const ServicePlan> MakePlan(const std::string& name,
                                            std::vector<PlannedVirtualServer> servers);
DesiredState MakeDesired(const std::vector<std::shared_ptr<const ServicePlan>>& plans);

// Everything in the kernel that a plan could ask for: "TCP 10.96.0.1:80 rr flags 0 timeout 0s /32",
// "  10.244.1.2:8080 Masq weight 1", "element owned4 …", "route 10.96.0.1 src 192.168.1.1".
Lines Describe(MemoryKernel& kernel);
// What Describe gives of a kernel that has the state and nothing else.
Lines Describe(const DesiredState& desired, const std::vector<IpAddress>& sources);

// What must not be at any moment: routes without guard, open ports without virtual server, virtual
// servers without a record of ownership. `foreign` are somebody else's.
Lines Violations(MemoryKernel& kernel, const std::set<ipvs::VirtualServerKey>& foreign);

}  // namespace fairlead::testing
