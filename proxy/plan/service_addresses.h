// Under which addresses a Service is reached on a node.
#pragma once

#include <string>
#include <vector>

#include "proxy/plan/plan.h"

namespace fairlead {

struct ServiceAddress {
  AddressKind kind = AddressKind::kClusterIp;
  IpAddress address;
  TrafficPolicy policy = TrafficPolicy::kCluster;
  bool vip = false;               // See PlannedVirtualServer.
  std::vector<IpPrefix> sources;  // See PlannedVirtualServer.

  // The number under which a port of the Service is reached here; 0: not at all.
  uint16_t PortOf(const ServicePort& port) const {
    return kind == AddressKind::kNodePort ? port.node_port : port.port;
  }

  friend bool operator==(const ServiceAddress&, const ServiceAddress&) = default;
};

struct ServiceAddresses {
  std::vector<ServiceAddress> served;  // No address twice but as a node port's.
  // "clusterIPs: 127.0.0.1 is a loopback address and is not served".
  std::vector<std::string> problems;
};

// Pure. Only of families in which the Service has a clusterIP; none of a Service that is not
// served.
ServiceAddresses SelectAddresses(const Service& service, const NodeConfig& node);

}  // namespace fairlead
