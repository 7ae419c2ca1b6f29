// A cluster of several nodes, their pods and a client outside, in namespaces of one kernel.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "test/lab/net_namespace.h"
#include "test/lab/rtnetlink.h"

namespace fairlead::lab {

struct ClusterOptions {
  int node_count = 3;            // 1 to 9
  bool ipv6 = true;              // addresses of both families, or of IPv4 only
  std::string name_prefix = {};  // in front of the namespaces' names, so that clusters can coexist
  bool pod_bridge = false;       // a node's pods are ports of a bridge `cni0`
};

// A node `n1`, `n2`, …: `eth0` is on the cluster's LAN, each of its pods on a veth `pod…`.
// Forwarding is on, and there are routes to the other nodes' pods. The pods' gateway addresses are
// on each veth; with a bridge for pods they are on the bridge, and packets of pods come from there.
struct Node {
  std::string name;
  std::unique_ptr<NetNamespace> net;
  std::string ipv4;       // 172.18.0.1i, with /24
  std::string ipv6;       // fd18::1i, with /64; empty without IPv6
  std::string pod_cidr4;  // 10.244.i.0/24
  std::string pod_cidr6;  // fd44:i::/64; empty without IPv6
};

// A pod: `eth0` with a /32 and a /128, default routes to its node (169.254.1.1 and fe80::1).
struct Pod {
  std::string name;
  int node = 0;  // 1 for n1
  std::unique_ptr<NetNamespace> net;
  std::string ipv4;
  std::string ipv6;       // empty without IPv6
  std::string host_veth;  // the device on the node, or the bridge's port
};

// The LAN is a bridge in a namespace `lan`. The client is on it too, as 172.18.0.100 and fd18::100,
// without routes to pods or Services: a test adds what it needs (SetRoute).
//
// What the nodes' own settings (arp_ignore, net.ipv4.vs.*) should be is left to the kernel's
// defaults: that is the agent's business. Confined to one thread; nodes and pods keep their
// addresses in memory until they are removed.
class Cluster {
 public:
  static constexpr int kMaxNodes = 9;
  static constexpr int kMaxPodsPerNode = 250;
  static constexpr char kPodBridge[] = "cni0";

  // Namespaces of the same names are replaced. On an error nothing is left behind.
  static absl::StatusOr<std::unique_ptr<Cluster>> Create(const ClusterOptions& options = {});

  int node_count() const { return static_cast<int>(nodes_.size()); }
  // Nodes count from 1, as in their names.
  const Node& node(int number) const { return nodes_.at(static_cast<size_t>(number - 1)); }
  const NetNamespace& client() const { return *client_; }
  const std::string& client_ipv4() const { return client_ipv4_; }
  const std::string& client_ipv6() const { return client_ipv6_; }

  // Adds a pod to the node. Addresses are handed out in turn: one that has become free is used
  // again as late as possible. AlreadyExists, or ResourceExhausted at kMaxPodsPerNode.
  absl::StatusOr<const Pod*> AddPod(absl::string_view name, int node_number);
  // Takes the pod's device away at once, as when a node dies: sockets in it are not told.
  absl::Status RemovePod(absl::string_view name);
  // The pod must exist.
  const Pod& pod(absl::string_view name) const { return *pods_.find(name)->second; }

  // Unplugs the node from the LAN, and plugs it in again. Its routes are kept.
  absl::Status SetConnected(int node_number, bool connected);

 private:
  Cluster() = default;

  absl::Status Build(const ClusterOptions& options);
  absl::Status AddToLan(const NetNamespace& net, absl::string_view port, absl::string_view ipv4,
                        absl::string_view ipv6);
  absl::Status AddNode(const ClusterOptions& options, int number);
  absl::Status AddPodBridge(const Node& node);
  absl::Status AddRoutesBetweenNodes();
  absl::Status ConnectPod(const Pod& pod);
  absl::StatusOr<int> NextPodNumber(int node_number);

  std::string name_prefix_;
  bool with_ipv6_ = true;
  bool pod_bridge_ = false;
  std::unique_ptr<NetNamespace> lan_;
  std::unique_ptr<RtNetlink> lan_netlink_;
  std::unique_ptr<NetNamespace> client_;
  std::string client_ipv4_;
  std::string client_ipv6_;
  std::vector<Node> nodes_;
  std::map<std::string, std::unique_ptr<Pod>, std::less<>> pods_;
  std::vector<int> last_pod_number_;  // per node
};

// Adds or replaces a route in any namespace.
absl::Status SetRoute(const NetNamespace& net, const Route& route);
absl::Status DeleteRoute(const NetNamespace& net, const Route& route);

}  // namespace fairlead::lab
