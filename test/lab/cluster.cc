#include "test/lab/cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fairlead::lab {
namespace {

constexpr char kGateway4[] = "169.254.1.1";
constexpr char kGateway6[] = "fe80::1";
// Hosts .0 and .1 of a pod network are left alone: other tools take them for something special.
constexpr int kFirstPodNumber = 2;

absl::Status Annotate(const absl::Status& status, absl::string_view where) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(where, ": ", status.message()));
}

// The first error of several steps; the steps after it are not taken.
class Steps {
 public:
  template <typename Step>
  Steps& Then(Step&& step) {
    if (status_.ok()) status_ = step();
    return *this;
  }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

// Settings that every namespace needs before its devices come up.
absl::Status Prepare(const NetNamespace& net, bool forwards) {
  Steps steps;
  // Addresses are to be usable at once; nobody else is on these links.
  for (const char* key : {"net.ipv6.conf.all.accept_dad", "net.ipv6.conf.default.accept_dad"}) {
    steps.Then([&] { return net.SetSysctl(key, "0"); });
  }
  if (forwards) {
    steps.Then([&] { return net.SetSysctl("net.ipv4.ip_forward", "1"); }).Then([&] {
      return net.SetSysctl("net.ipv6.conf.all.forwarding", "1");
    });
  }
  return steps.status();
}

}  // namespace

absl::Status SetRoute(const NetNamespace& net, const Route& route) {
  const absl::StatusOr<std::unique_ptr<RtNetlink>> netlink = RtNetlink::Open(net);
  if (!netlink.ok()) return netlink.status();
  return Annotate((*netlink)->SetRoute(route), net.name());
}

absl::Status DeleteRoute(const NetNamespace& net, const Route& route) {
  const absl::StatusOr<std::unique_ptr<RtNetlink>> netlink = RtNetlink::Open(net);
  if (!netlink.ok()) return netlink.status();
  return Annotate((*netlink)->DeleteRoute(route), net.name());
}

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Create(const ClusterOptions& options) {
  if (options.node_count < 1 || options.node_count > kMaxNodes) {
    return absl::InvalidArgumentError(absl::StrCat("nodes: 1 to ", kMaxNodes));
  }
  std::unique_ptr<Cluster> cluster(new Cluster());
  if (absl::Status status = cluster->Build(options); !status.ok()) {
    return Annotate(status, "build cluster");
  }
  return cluster;
}

absl::Status Cluster::Build(const ClusterOptions& options) {
  name_prefix_ = options.name_prefix;
  with_ipv6_ = options.ipv6;
  pod_bridge_ = options.pod_bridge;

  absl::StatusOr<std::unique_ptr<NetNamespace>> lan =
      NetNamespace::Create(absl::StrCat(name_prefix_, "lan"));
  if (!lan.ok()) return lan.status();
  lan_ = *std::move(lan);
  absl::StatusOr<std::unique_ptr<RtNetlink>> netlink = RtNetlink::Open(*lan_);
  if (!netlink.ok()) return netlink.status();
  lan_netlink_ = *std::move(netlink);
  Steps steps;
  steps.Then([&] { return Prepare(*lan_, false); })
      .Then([&] { return lan_netlink_->AddBridge("lan"); })
      .Then([&] { return lan_netlink_->SetUp("lan"); });
  if (!steps.status().ok()) return steps.status();

  absl::StatusOr<std::unique_ptr<NetNamespace>> client =
      NetNamespace::Create(absl::StrCat(name_prefix_, "client"));
  if (!client.ok()) return client.status();
  client_ = *std::move(client);
  client_ipv4_ = "172.18.0.100";
  client_ipv6_ = with_ipv6_ ? "fd18::100" : "";
  steps.Then([&] { return Prepare(*client_, false); }).Then([&] {
    return AddToLan(*client_, "client", client_ipv4_, client_ipv6_);
  });
  for (int number = 1; number <= options.node_count; ++number) {
    steps.Then([&] { return AddNode(options, number); });
  }
  steps.Then([&] { return AddRoutesBetweenNodes(); });
  return steps.status();
}

absl::Status Cluster::AddToLan(const NetNamespace& net, absl::string_view port,
                               absl::string_view ipv4, absl::string_view ipv6) {
  absl::StatusOr<std::unique_ptr<RtNetlink>> opened = RtNetlink::Open(net);
  if (!opened.ok()) return opened.status();
  RtNetlink& netlink = **opened;
  Steps steps;
  steps.Then([&] { return lan_netlink_->AddVeth(port, net, "eth0"); })
      .Then([&] { return lan_netlink_->SetUp(port, "lan"); })
      .Then([&] { return netlink.AddAddress("eth0", absl::StrCat(ipv4, "/24")); })
      .Then([&] { return netlink.SetUp("eth0"); });
  if (!ipv6.empty()) {
    steps.Then([&] { return netlink.AddAddress("eth0", absl::StrCat(ipv6, "/64")); });
  }
  return Annotate(steps.status(), port);
}

absl::Status Cluster::AddNode(const ClusterOptions& options, int number) {
  Node node;
  node.name = absl::StrCat("n", number);
  node.ipv4 = absl::StrCat("172.18.0.1", number);
  node.pod_cidr4 = absl::StrCat("10.244.", number, ".0/24");
  if (options.ipv6) {
    node.ipv6 = absl::StrCat("fd18::1", number);
    node.pod_cidr6 = absl::StrCat("fd44:", number, "::/64");
  }
  absl::StatusOr<std::unique_ptr<NetNamespace>> net =
      NetNamespace::Create(absl::StrCat(name_prefix_, node.name));
  if (!net.ok()) return net.status();
  node.net = *std::move(net);
  Steps steps;
  steps.Then([&] { return Prepare(*node.net, true); }).Then([&] {
    return AddToLan(*node.net, node.name, node.ipv4, node.ipv6);
  });
  if (pod_bridge_) steps.Then([&] { return AddPodBridge(node); });
  nodes_.push_back(std::move(node));
  last_pod_number_.push_back(kFirstPodNumber - 1);
  return steps.status();
}

absl::Status Cluster::AddPodBridge(const Node& node) {
  absl::StatusOr<std::unique_ptr<RtNetlink>> opened = RtNetlink::Open(*node.net);
  if (!opened.ok()) return opened.status();
  RtNetlink& netlink = **opened;
  Steps steps;
  steps.Then([&] { return netlink.AddBridge(kPodBridge); })
      .Then([&] { return netlink.AddAddress(kPodBridge, absl::StrCat(kGateway4, "/32")); })
      .Then([&] { return netlink.SetUp(kPodBridge); });
  if (!with_ipv6_) return steps.status();
  return steps.Then([&] { return netlink.AddAddress(kPodBridge, absl::StrCat(kGateway6, "/64")); })
      .status();
}

absl::Status Cluster::AddRoutesBetweenNodes() {
  Steps steps;
  for (const Node& from : nodes_) {
    for (const Node& to : nodes_) {
      if (&from == &to) continue;
      steps.Then(
          [&] { return SetRoute(*from.net, {.destination = to.pod_cidr4, .gateway = to.ipv4}); });
      if (!with_ipv6_) continue;
      steps.Then(
          [&] { return SetRoute(*from.net, {.destination = to.pod_cidr6, .gateway = to.ipv6}); });
    }
  }
  return steps.status();
}

absl::StatusOr<int> Cluster::NextPodNumber(int node_number) {
  int& last = last_pod_number_.at(static_cast<size_t>(node_number - 1));
  for (int tried = 0; tried < kMaxPodsPerNode; ++tried) {
    last = last - kFirstPodNumber + 1 < kMaxPodsPerNode ? last + 1 : kFirstPodNumber;
    const std::string ending = absl::StrCat("10.244.", node_number, ".", last);
    const bool used = std::any_of(pods_.begin(), pods_.end(),
                                  [&](const auto& entry) { return entry.second->ipv4 == ending; });
    if (!used) return last;
  }
  return absl::ResourceExhaustedError(absl::StrCat("n", node_number, " is full"));
}

absl::StatusOr<const Pod*> Cluster::AddPod(absl::string_view name, int node_number) {
  if (pods_.contains(name)) return absl::AlreadyExistsError(absl::StrCat("pod ", name));
  const absl::StatusOr<int> number = NextPodNumber(node_number);
  if (!number.ok()) return number.status();
  auto pod = std::make_unique<Pod>();
  pod->name = std::string(name);
  pod->node = node_number;
  pod->ipv4 = absl::StrCat("10.244.", node_number, ".", *number);
  // Decimal digits read as hexadecimal ones: the last parts of both addresses look alike.
  if (with_ipv6_) pod->ipv6 = absl::StrCat("fd44:", node_number, "::", *number);
  pod->host_veth = absl::StrCat("pod", *number);
  absl::StatusOr<std::unique_ptr<NetNamespace>> net =
      NetNamespace::Create(absl::StrCat(name_prefix_, name));
  if (!net.ok()) return net.status();
  pod->net = *std::move(net);
  if (absl::Status status = ConnectPod(*pod); !status.ok()) {
    return Annotate(status, absl::StrCat("pod ", name));
  }
  return pods_.emplace(std::string(name), std::move(pod)).first->second.get();
}

absl::Status Cluster::ConnectPod(const Pod& pod) {
  const Node& node = this->node(pod.node);
  absl::StatusOr<std::unique_ptr<RtNetlink>> node_opened = RtNetlink::Open(*node.net);
  if (!node_opened.ok()) return node_opened.status();
  absl::StatusOr<std::unique_ptr<RtNetlink>> pod_opened = RtNetlink::Open(*pod.net);
  if (!pod_opened.ok()) return pod_opened.status();
  RtNetlink& here = **node_opened;
  RtNetlink& there = **pod_opened;
  const std::string& veth = pod.host_veth;
  const std::string device = pod_bridge_ ? kPodBridge : veth;

  Steps steps;
  steps.Then([&] { return Prepare(*pod.net, false); });
  if (pod_bridge_) {
    // The node would tell pods that they can reach each other without it: replies to a Service's
    // clients have to come through it all the same.
    for (const char* key :
         {"net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.default.accept_redirects",
          "net.ipv6.conf.all.accept_redirects", "net.ipv6.conf.default.accept_redirects"}) {
      steps.Then([&] { return pod.net->SetSysctl(key, "0"); });
    }
  }
  steps.Then([&] { return here.AddVeth(veth, *pod.net, "eth0"); });
  if (pod_bridge_) {
    steps.Then([&] { return here.SetUp(veth, kPodBridge); });
  } else {
    steps.Then([&] { return here.AddAddress(veth, absl::StrCat(kGateway4, "/32")); }).Then([&] {
      return here.SetUp(veth);
    });
  }
  steps.Then([&] { return there.AddAddress("eth0", pod.ipv4); })
      .Then([&] { return there.SetUp("eth0"); })
      // With the node's address as the source: the gateway's would be the kernel's choice.
      .Then([&] {
        return here.SetRoute({.destination = pod.ipv4, .device = device, .source = node.ipv4});
      })
      .Then([&] {
        return there.SetRoute(
            {.destination = "0.0.0.0/0", .gateway = kGateway4, .device = "eth0", .onlink = true});
      });
  if (!with_ipv6_) return steps.status();
  if (!pod_bridge_) {
    steps.Then([&] { return here.AddAddress(veth, absl::StrCat(kGateway6, "/64")); });
  }
  return steps.Then([&] { return there.AddAddress("eth0", pod.ipv6); })
      .Then([&] {
        return here.SetRoute({.destination = pod.ipv6, .device = device, .source = node.ipv6});
      })
      .Then([&] {
        return there.SetRoute({.destination = "::/0", .gateway = kGateway6, .device = "eth0"});
      })
      .status();
}

absl::Status Cluster::RemovePod(absl::string_view name) {
  const auto found = pods_.find(name);
  if (found == pods_.end()) return absl::NotFoundError(absl::StrCat("pod ", name));
  const std::unique_ptr<Pod> pod = std::move(found->second);
  pods_.erase(found);
  absl::StatusOr<std::unique_ptr<RtNetlink>> netlink = RtNetlink::Open(*node(pod->node).net);
  if (!netlink.ok()) return netlink.status();
  return Annotate((*netlink)->DeleteLink(pod->host_veth), absl::StrCat("pod ", name));
}

absl::Status Cluster::SetConnected(int node_number, bool connected) {
  // At the bridge's end: the node's own end keeps its routes.
  const std::string& port = node(node_number).name;
  return Annotate(connected ? lan_netlink_->SetUp(port) : lan_netlink_->SetDown(port), port);
}

}  // namespace fairlead::lab
