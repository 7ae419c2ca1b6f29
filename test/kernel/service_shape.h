// A Service and its slices as manifests, field by field, for tests that change one at a time.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace fairlead::lab {

// An endpoint as a slice has it.
struct ShapeEndpoint {
  std::string address;
  std::string node;
  std::string conditions = {};  // "ready: false"; empty: none given.
};

// Of both families where `dual_stack`, and reachable by every kind of address.
struct ServiceShape {
  std::string name = "web";
  std::string type = "LoadBalancer";
  std::map<std::string, std::string> labels = {};
  std::string scheduler = {};  // Empty: no annotation.
  std::string internal_policy = "Cluster";
  std::string external_policy = "Cluster";
  int affinity_seconds = 0;  // 0: none.
  std::string cluster_ip = "10.96.7.1";
  std::string cluster_ip6 = "fd96::701";
  bool dual_stack = false;
  std::vector<std::string> external_ips = {"198.19.7.1"};
  std::vector<std::string> load_balancer_ips = {"198.18.7.1"};
  bool ip_mode_proxy = false;
  std::vector<std::string> source_ranges = {};
  int health_check_port = 32701;  // With external policy Local.
  std::string port_name = "http";
  int port = 80;
  int node_port = 30701;
  int target_port = 8080;
  std::string protocol = "TCP";
  // Each is a slice.
  std::vector<std::vector<ShapeEndpoint>> slices = {};

  std::string Manifest() const;
  // Every address of IPv4 under which the Service is reached, as "clusterIP 10.96.7.1:80".
  std::set<std::string> Addresses(const std::string& node_address) const;
};

}  // namespace fairlead::lab
