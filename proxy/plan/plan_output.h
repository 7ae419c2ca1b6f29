// The desired state as text, for `fairlead plan` and for comparison with a kernel's table.
//
// FormatPlanJson gives one object, indented by two spaces, its keys in this order and its arrays
// sorted, so that equal states give equal text:
//
//   {
//     "node": "n1",
//     "virtualServers": [{          sorted by family, protocol, address and port
//       "address": "10.96.0.1",     null where firewallMark is not
//       "port": 80,                 likewise
//       "protocol": "TCP",          or "UDP", "SCTP"
//       "firewallMark": null,       or the mark that it listens to
//       "family": "IPv4",           or "IPv6"
//       "service": "shop/cart",
//       "portName": "http",
//       "kind": "ClusterIP",        or "NodePort", "ExternalIP", "LoadBalancer"; "Internal": what
//                                   pods and the node send to those, with policy Local
//       "policy": "Cluster",        or "Local": the traffic policy that applies to the address
//       "verdict": "balance",       what a connection meets; "reject", "drop"
//       "withoutEndpoints": "reject",   or "drop": what it meets, or would, without endpoints
//       "scheduler": "rr",
//       "persistenceTimeoutSeconds": 0,   0: no affinity
//       "masquerade": "outsiders",  or "never", "always"
//       "internalMark": null,       mark that packets of pods and the node get, see "Internal"
//       "sources": [],              the only ones that are let in; none: all
//       "realServers": [{           sorted by address and port; empty unless "balance"
//         "address": "10.244.1.2",
//         "port": 8080,
//         "weight": 1,
//         "forwarding": "Masq",     as ipvsadm -L prints it
//         "node": "n1",             "" where not known, as zone and pod
//         "zone": "a",
//         "state": "ready",         or "terminating"
//         "local": true,
//         "pod": "cart-5d9c"
//       }]
//     }],
//     "routes": [{                  one local route for each VIP
//       "vip": "10.96.0.1",
//       "source": "192.168.1.1",    null: the kernel chooses
//       "device": "lo",
//       "protocol": 119
//     }],
//     "elements": {                 every set of the nft table, also the empty ones
//       "owned4": ["10.96.0.1 . tcp . 80"], "owned6": [], "owned_mark4": …, "owned_mark6": …,
//       "served4": …, "served6": …, "open4": …, "open6": …,
//       "guarded4": …, "guarded6": …, "masquerade_always4": …, "masquerade_always6": …,
//       "masquerade_outsiders4": …, "masquerade_outsiders6": …, "hairpin4": …, "hairpin6": …,
//       "limited4": …, "limited6": …, "allowed4": …, "allowed6": …, "mark4": …, "mark6": …,
//       "drop4": …, "drop6": …, "reject4": …, "reject6": …
//     },
//     "healthChecks": [{            healthCheckNodePort of Services
//       "service": "shop/cart", "port": 31000, "localEndpoints": {"IPv4": 1}
//     }],
//     "warnings": ["Service shop/cart: …"],
//     "conflicts": [{               virtual servers that more than one Service asks for
//       "address": "10.96.0.1", "port": 80, "protocol": "TCP",
//       "winner": "shop/cart", "loser": "shop/other", "message": "Service shop/other: …"
//     }]
//   }
//
// Bytes that are not UTF-8 become U+FFFD.
#pragma once

#include <string>
#include <vector>

#include "ipvs/types.h"
#include "proxy/plan/desired_state.h"
#include "proxy/plan/plan.h"

namespace fairlead {

// What the kernel's table holds of Fairlead when the state is reached, sorted by key; statistics
// are zero.
std::vector<ipvs::VirtualServer> ToVirtualServers(const DesiredState& desired);

// What `ipvsadm --save -n` prints then, where no one else uses the table.
std::string FormatPlanSave(const DesiredState& desired);

// The shape is above; ends with a newline.
std::string FormatPlanJson(const DesiredState& desired, const NodeConfig& node);

}  // namespace fairlead
