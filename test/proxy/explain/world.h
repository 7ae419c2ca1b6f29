// A node with a Service, and questions about packets.
#pragma once

#include <string>
#include <vector>

#include "proxy/explain/explain.h"
#include "test/proxy/plan/builders.h"

namespace fairlead::testing {

// Node n1 as MakeNode has it, with 10.0.0.1 as another address, on which node ports are not served.
// Service shop/cart is of type LoadBalancer: at 10.96.0.1:80, 192.168.1.1:30080, the load
// balancer's 192.0.2.7:80 and the external IP 203.0.113.5:80; its endpoints are 10.244.1.2 on this
// node and 10.244.2.2 on n2.
struct World {
  World();

  // `from` is "10.244.1.9", or with the device that the packet comes by "10.244.1.9 cni0"; `to` is
  // as ParseDestination has it.
  absl::StatusOr<Explanation> Ask(const std::string& from, const std::string& to) const;

  NodeConfig node;
  Service service;
  std::vector<EndpointSlice> slices;  // Of the Service.
  std::vector<Service> others;
};

// The first line of FormatExplanationText, or an error's message.
std::string Answer(const absl::StatusOr<Explanation>& explanation);

}  // namespace fairlead::testing
