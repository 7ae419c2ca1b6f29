// The limit: the same messages as a proxy's, made beforehand, sent by a loop that looks at nothing
// but the last acknowledgement; and the same dumps, of which nothing is decoded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "ipvs/table.h"
#include "proxy/kernel/firewall.h"
#include "proxy/kernel/routes.h"
#include "test/lab/net_namespace.h"

namespace fairlead::bench {

// What a node's kernel holds of Fairlead.
struct KernelContent {
  std::vector<ipvs::VirtualServer> servers;
  std::vector<Element> elements;
  std::vector<VipRoute> routes;
  std::string ruleset;  // For `nft -f`: the table without elements.
};

struct BareChanges {
  std::vector<ipvs::Operation> operations;
  std::vector<ElementChange> elements;
  std::vector<RouteChange> routes;
};

struct BareCost {
  absl::Duration time;
  absl::Duration cpu;
  int64_t messages = 0;
  int64_t system_calls = 0;

  BareCost& operator+=(const BareCost& other);
};

// Each throws std::runtime_error where the kernel refuses something.

KernelContent ReadContent(const lab::NetNamespace& net);

// All of it, as changes of an empty kernel.
BareChanges Additions(const KernelContent& content);
// What of the content is of the virtual server alone, added or removed.
BareChanges AdditionsOf(const KernelContent& content, const ipvs::VirtualServerKey& key);
BareChanges Reverse(const BareChanges& additions);

// In the namespace, on which `ruleset` was loaded and the routes' source is an address.
BareCost SendBare(const lab::NetNamespace& net, const BareChanges& changes);
// Everything that an agent reads when it starts.
BareCost DumpBare(const lab::NetNamespace& net, const KernelContent& content);

}  // namespace fairlead::bench
