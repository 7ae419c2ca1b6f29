#include "proxy/explain/explain.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "world.h"

namespace fairlead::testing {
namespace {

constexpr char kPod[] = "10.244.1.9";
constexpr char kNode[] = "192.168.1.1";
constexpr char kOutside[] = "198.51.100.9";
constexpr char kClusterIp[] = "10.96.0.1:80";
constexpr char kNodePort[] = "192.168.1.1:30080";
constexpr char kLoadBalancer[] = "192.0.2.7:80";
constexpr char kExternalIp[] = "203.0.113.5:80";

using Change = std::function<void(World&)>;

void Unchanged(World&) {}

Lines EndpointLines(const Explanation& explanation) {
  Lines lines;
  for (const std::string& line : explanation.because) {
    if (absl::StartsWith(line, "endpoint") || absl::StartsWith(line, "EndpointSlice")) {
      lines.push_back(line);
    }
  }
  return lines;
}

// --- Policies and masquerade ---------------------------------------------------------------------

// "all", "local", with " masq".
std::string Where(const absl::StatusOr<Explanation>& explanation) {
  if (!explanation.ok()) return std::string(explanation.status().message());
  if (explanation->verdict != ExplainedVerdict::kBalance) return Answer(explanation);
  return absl::StrCat(explanation->endpoints.size() == 2 ? "all" : "local",
                      explanation->masquerade ? " masq" : "");
}

struct PolicyRow {
  std::string name;
  Change change;
  std::string from;
  std::string cluster_ip;
  std::string node_port;
  std::string external;
};

void CheckPolicies(const std::vector<PolicyRow>& rows, const Change& detector) {
  for (const PolicyRow& row : rows) {
    DYNAMIC_SECTION(row.name << " from " << row.from) {
      World world;
      row.change(world);
      detector(world);
      CHECK(Where(world.Ask(row.from, kClusterIp)) == row.cluster_ip);
      CHECK(Where(world.Ask(row.from, kNodePort)) == row.node_port);
      CHECK(Where(world.Ask(row.from, kLoadBalancer)) == row.external);
      CHECK(Where(world.Ask(row.from, kExternalIp)) == row.external);
    }
  }
}

void ExternalLocal(World& world) { world.service.external_traffic_policy = TrafficPolicy::kLocal; }

void InternalLocal(World& world) { world.service.internal_traffic_policy = TrafficPolicy::kLocal; }

TEST_CASE("who reaches which endpoints, and whose source is replaced") {
  struct Detector {
    std::string name;
    Change change;
    std::string pod;
    std::string outside;
  };
  const std::vector<Detector> detectors = {
      {"by address", Unchanged, kPod, kOutside},
      {"by address, whatever the device", Unchanged, "10.244.1.9 eth0", "198.51.100.9 cni0"},
      {"by device", [](World& world) { world.node.pods = {.prefixes = {}, .device = "cni0"}; },
       "10.244.1.9 cni0", "198.51.100.9 cni01"},
      {"by a device's name",
       [](World& world) {
         world.node.pods = {.prefixes = {}, .device = "veth", .device_is_prefix = true};
       },
       "198.51.100.9 veth12", "10.244.1.9 eth0"},
  };
  for (const Detector& detector : detectors) {
    DYNAMIC_SECTION(detector.name) {
      CheckPolicies(
          {
              {"plain", Unchanged, detector.pod, "all", "all masq", "all masq"},
              {"plain", Unchanged, kNode, "all masq", "all masq", "all masq"},
              {"plain", Unchanged, detector.outside, "all masq", "all masq", "all masq"},
              {"external Local", ExternalLocal, detector.pod, "all", "all", "all"},
              {"external Local", ExternalLocal, kNode, "all masq", "all masq", "all masq"},
              {"external Local", ExternalLocal, detector.outside, "all masq", "local", "local"},
              {"internal Local", InternalLocal, detector.pod, "local", "all masq", "all masq"},
              {"internal Local", InternalLocal, kNode, "local masq", "all masq", "all masq"},
              {"internal Local", InternalLocal, detector.outside, "local masq", "all masq",
               "all masq"},
          },
          detector.change);
    }
  }
}

TEST_CASE("where nothing tells pods from others everybody is outside") {
  CheckPolicies(
      {
          {"plain", Unchanged, kPod, "all", "all masq", "all masq"},
          {"plain", Unchanged, kNode, "all", "all masq", "all masq"},
          {"plain", Unchanged, kOutside, "all", "all masq", "all masq"},
          {"external Local", ExternalLocal, kPod, "all", "local", "local"},
          {"external Local", ExternalLocal, kNode, "all", "all masq", "all masq"},
          {"external Local", ExternalLocal, kOutside, "all", "local", "local"},
      },
      [](World& world) { world.node.pods = PodDetector(); });
}

TEST_CASE("--masquerade-all is for cluster IPs") {
  CheckPolicies(
      {
          {"plain", Unchanged, kPod, "all masq", "all masq", "all masq"},
          {"plain", Unchanged, kOutside, "all masq", "all masq", "all masq"},
          {"external Local", ExternalLocal, kPod, "all masq", "all", "all"},
          {"external Local", ExternalLocal, kOutside, "all masq", "local", "local"},
      },
      [](World& world) { world.node.masquerade_all = true; });
}

// --- What decides --------------------------------------------------------------------------------

struct Row {
  std::string name;
  Change change;
  std::string from;
  std::string to;
  std::string answer;
  // Lines that have to be there, in this order.
  Lines because;
};

void Check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      World world;
      row.change(world);
      const absl::StatusOr<Explanation> explanation = world.Ask(row.from, row.to);
      CHECK(Answer(explanation) == row.answer);
      if (!explanation.ok()) continue;
      Lines found;
      for (const std::string& line : explanation->because) {
        if (std::find(row.because.begin(), row.because.end(), line) != row.because.end()) {
          found.push_back(line);
        }
      }
      if (found != row.because) CHECK(explanation->because == row.because);
      CHECK(explanation->virtual_server.has_value() ==
            (explanation->verdict == ExplainedVerdict::kBalance));
    }
  }
}

constexpr char kBoth[] = "balance shop/cart:http -> 10.244.1.2:8080, 10.244.2.2:8080";
constexpr char kBothMasqueraded[] =
    "balance shop/cart:http -> 10.244.1.2:8080, 10.244.2.2:8080, masqueraded";

TEST_CASE("it is said who the packet is from") {
  const Change by_device = [](World& world) {
    world.node.pods = {.prefixes = {}, .device = "cni0"};
  };
  const Change by_prefix = [](World& world) {
    world.node.pods = {.prefixes = {}, .device = "veth", .device_is_prefix = true};
  };
  const Change ipv6 = [](World& world) {
    world.service.cluster_ips.push_back(Address("fd00:96::1"));
    world.node.pods.prefixes.pop_back();
  };
  const std::string told =
      "nothing tells pods from others in IPv6 (--detect-local-mode, --cluster-cidr)";
  Check({
      {"a pod by its address",
       Unchanged,
       kPod,
       kClusterIp,
       kBoth,
       {"source: 10.244.1.9 is a pod: pods have addresses in 10.244.0.0/16, fd00:244::/48"}},
      {"outside by its address",
       Unchanged,
       kOutside,
       kClusterIp,
       kBothMasqueraded,
       {"source: 198.51.100.9 is outside: pods have addresses in 10.244.0.0/16, fd00:244::/48"}},
      {"a pod by its device",
       by_device,
       "198.51.100.9 cni0",
       kClusterIp,
       kBoth,
       {"source: 198.51.100.9 by cni0 is a pod: pods' packets come by \"cni0\""}},
      {"outside by its device",
       by_device,
       "10.244.1.9 eth0",
       kClusterIp,
       kBothMasqueraded,
       {"source: 10.244.1.9 by eth0 is outside: pods' packets come by \"cni0\""}},
      {"a pod by the name of its device",
       by_prefix,
       "198.51.100.9 veth7",
       kClusterIp,
       kBoth,
       {"source: 198.51.100.9 by veth7 is a pod: pods' packets come by \"veth*\""}},
      {"no device where it decides",
       by_device,
       kPod,
       kClusterIp,
       "--from-interface: pods are told by the device \"cni0\", so it has to be known by which "
       "one the packet comes",
       {}},
      {"no device where the source is the node",
       by_device,
       kNode,
       kClusterIp,
       kBothMasqueraded,
       {"source: 192.168.1.1 is the node: it is one of its own addresses"}},
      {"an address of the node that serves no node ports",
       Unchanged,
       "10.0.0.1",
       kClusterIp,
       kBothMasqueraded,
       {"source: 10.0.0.1 is the node: it is one of its own addresses"}},
      {"loopback",
       Unchanged,
       "127.0.0.1",
       kClusterIp,
       kBothMasqueraded,
       {"source: 127.0.0.1 is the node: it is one of its own addresses"}},
      {"a VIP as source",
       Unchanged,
       "192.0.2.7",
       kClusterIp,
       kBothMasqueraded,
       {"source: 192.0.2.7 is the node: it is one of its own addresses"}},
      {"a family without pods",
       ipv6,
       "fd00:9::9",
       "[fd00:96::1]:80",
       "reject shop/cart:http",
       {absl::StrCat("source: fd00:9::9 is outside: ", told)}},
      {"two families",
       Unchanged,
       kPod,
       "[fd00:96::1]:80",
       "--from 10.244.1.9 and --to fd00:96::1 are not of one family",
       {}},
  });
}

TEST_CASE("it is said which address of which Service it is, and the policy") {
  const Change unnamed = [](World& world) {
    world.service.ports[0].name.clear();
    world.slices[0].ports[0].name.clear();
  };
  Check({
      {"cluster IP",
       Unchanged,
       kPod,
       kClusterIp,
       kBoth,
       {"destination: TCP 10.96.0.1:80 is a ClusterIP of Service shop/cart:http",
        "policy: internalTrafficPolicy Cluster", "balanced: scheduler rr",
        "masquerade: no: pods keep their address"}},
      {"node port",
       Unchanged,
       kPod,
       kNodePort,
       kBothMasqueraded,
       {"destination: TCP 192.168.1.1:30080 is a NodePort of Service shop/cart:http",
        "policy: externalTrafficPolicy Cluster",
        "masquerade: yes: policy Cluster, the reply has to come back through this node"}},
      {"load balancer",
       Unchanged,
       kOutside,
       kLoadBalancer,
       kBothMasqueraded,
       {"destination: TCP 192.0.2.7:80 is a LoadBalancer of Service shop/cart:http"}},
      {"external IP",
       Unchanged,
       kOutside,
       kExternalIp,
       kBothMasqueraded,
       {"destination: TCP 203.0.113.5:80 is an ExternalIP of Service shop/cart:http"}},
      {"a port without a name",
       unnamed,
       kPod,
       kClusterIp,
       "balance shop/cart -> 10.244.1.2:8080, 10.244.2.2:8080",
       {"destination: TCP 10.96.0.1:80 is a ClusterIP of Service shop/cart"}},
      {"affinity",
       [](World& world) { world.service.affinity_timeout = absl::Seconds(10800); },
       kPod,
       kClusterIp,
       kBoth,
       {"balanced: scheduler rr, a client stays with its endpoint for 3h"}},
      {"another scheduler",
       [](World& world) { world.service.scheduler = "lc"; },
       kPod,
       kClusterIp,
       kBoth,
       {"balanced: scheduler lc"}},
      {"masquerade-all",
       [](World& world) { world.node.masquerade_all = true; },
       kPod,
       kClusterIp,
       kBothMasqueraded,
       {"masquerade: yes: --masquerade-all"}},
      {"outside to a cluster IP",
       Unchanged,
       kOutside,
       kClusterIp,
       kBothMasqueraded,
       {"masquerade: yes: the source is not a pod"}},
      {"outside where nothing tells pods",
       [](World& world) { world.node.pods = PodDetector(); },
       kOutside,
       kClusterIp,
       kBoth,
       {"masquerade: no: nothing tells pods from others"}},
      {"the node",
       Unchanged,
       kNode,
       kClusterIp,
       kBothMasqueraded,
       {"masquerade: yes: the route to the address gives the node's own packets its address as "
        "source, nothing has to be replaced"}},
  });
}

TEST_CASE("policy Local has a set for pods and the node, and one for others") {
  const Change elsewhere = [](World& world) {
    ExternalLocal(world);
    InternalLocal(world);
    world.slices = {MakeSlice("cart-1", {"10.244.2.2@n2"})};
  };
  const Change nowhere = [](World& world) {
    ExternalLocal(world);
    InternalLocal(world);
    world.slices.clear();
  };
  const std::string mark = std::to_string(std::stoul(kHttpMark, nullptr, 16));
  const std::string local = "balance shop/cart:http -> 10.244.1.2:8080";
  const std::string only_local =
      "dropped: the policy leaves no endpoint, though there are some "
      "elsewhere";
  Check({
      {"a pod",
       ExternalLocal,
       kPod,
       kLoadBalancer,
       kBoth,
       {"policy: externalTrafficPolicy Local",
        absl::StrCat("policy: Local is for the outside; pods reach every endpoint, by the virtual "
                     "server FWM ",
                     mark, " IPv4"),
        "masquerade: no: policy Local keeps the client's address"}},
      {"the node",
       ExternalLocal,
       kNode,
       kNodePort,
       kBothMasqueraded,
       {absl::StrCat("policy: Local is for the outside; the node reaches every endpoint, by the "
                     "virtual server FWM ",
                     mark, " IPv4")}},
      {"others",
       ExternalLocal,
       kOutside,
       kLoadBalancer,
       local,
       {"policy: externalTrafficPolicy Local",
        "masquerade: no: policy Local keeps the client's address"}},
      {"a cluster IP",
       InternalLocal,
       kPod,
       kClusterIp,
       local,
       {"policy: internalTrafficPolicy Local"}},
      {"endpoints elsewhere, others",
       elsewhere,
       kOutside,
       kLoadBalancer,
       "drop shop/cart:http",
       {only_local}},
      {"endpoints elsewhere, a pod",
       elsewhere,
       kPod,
       kLoadBalancer,
       "balance shop/cart:http -> 10.244.2.2:8080",
       {}},
      {"endpoints elsewhere, a cluster IP",
       elsewhere,
       kPod,
       kClusterIp,
       "drop shop/cart:http",
       {only_local}},
      {"no endpoints, others",
       nowhere,
       kOutside,
       kExternalIp,
       "reject shop/cart:http",
       {"refused: no endpoint anywhere can be used"}},
      {"no endpoints, a pod",
       nowhere,
       kPod,
       kExternalIp,
       "reject shop/cart:http",
       {"refused: no endpoint anywhere can be used"}},
      {"no mark is free",
       [](World& world) {
         ExternalLocal(world);
         world.node.marks = {.first = 2, .last = 1};  // Empty.
       },
       kPod,
       kLoadBalancer,
       local,
       {"policy: externalTrafficPolicy Local"}},
  });
}

TEST_CASE("a Service that has the address first is the one that answers") {
  const Change conflict = [](World& world) {
    Service other = world.service;
    other.name.name = "other";
    world.others = {other};
  };
  const Change older = [](World& world) {
    Service other = world.service;
    other.name.name = "other";
    other.created = absl::FromUnixSeconds(1);
    world.service.created = absl::FromUnixSeconds(2);
    world.others = {other};
  };
  Check({
      {"of one age",
       conflict,
       kPod,
       kClusterIp,
       kBoth,
       {"destination: TCP 10.96.0.1:80 is a ClusterIP of Service shop/cart:http",
        "conflict: Service shop/other: TCP 10.96.0.1:80 belongs to Service shop/cart, of the same "
        "age and first by name",
        "policy: internalTrafficPolicy Cluster"}},
      {"an older one",
       older,
       kPod,
       kClusterIp,
       "reject shop/other:http",
       {"conflict: Service shop/cart: TCP 10.96.0.1:80 belongs to Service shop/other, which is "
        "older"}},
  });
}

TEST_CASE("source ranges let in or drop, and only at a load balancer's address") {
  const Change ranges = [](World& world) {
    world.service.load_balancer_source_ranges = {Prefix("198.51.100.0/24")};
  };
  const Change ranges_and_local = [&](World& world) {
    ranges(world);
    ExternalLocal(world);
  };
  const auto dropped = [](const std::string& source) {
    return Lines{absl::StrCat("loadBalancerSourceRanges: ", source,
                              " is in none of them: the packet is dropped")};
  };
  Check({
      {"let in",
       ranges,
       kOutside,
       kLoadBalancer,
       kBothMasqueraded,
       {"policy: externalTrafficPolicy Cluster",
        "loadBalancerSourceRanges: 198.51.100.9 is let in by 198.51.100.0/24",
        "balanced: scheduler rr"}},
      {"not let in", ranges, "198.51.101.9", kLoadBalancer, "drop shop/cart:http",
       dropped("198.51.101.9")},
      {"a pod", ranges, kPod, kLoadBalancer, "drop shop/cart:http", dropped(kPod)},
      {"a pod, with two sets of endpoints", ranges_and_local, kPod, kLoadBalancer,
       "drop shop/cart:http", dropped(kPod)},
      {"the address itself",
       ranges,
       "192.0.2.7",
       kLoadBalancer,
       kBothMasqueraded,
       {"loadBalancerSourceRanges: 192.0.2.7 is let in by 192.0.2.7/32"}},
      {"an external IP", ranges, "198.51.101.9", kExternalIp, kBothMasqueraded, {}},
      {"a node port", ranges, "198.51.101.9", kNodePort, kBothMasqueraded, {}},
  });
}

TEST_CASE("an endpoint that reaches itself is masqueraded") {
  const std::string itself = "10.244.1.2";
  const Change alone = [](World& world) {
    world.slices = {MakeSlice("cart-1", {"10.244.1.2@n1"})};
  };
  const Change remote = [](World& world) {
    world.slices = {MakeSlice("cart-1", {"10.244.1.2@n2"})};
  };
  const Change local = [&](World& world) {
    ExternalLocal(world);
    alone(world);
  };
  const std::string only = "balance shop/cart:http -> 10.244.1.2:8080, masqueraded";
  Check({
      {"alone",
       alone,
       itself,
       kClusterIp,
       only,
       {"masquerade: yes: an endpoint that reaches itself"}},
      {"among others",
       Unchanged,
       itself,
       kClusterIp,
       kBoth,
       {"masquerade: no: pods keep their address",
        "masquerade: yes, if the endpoint is the source itself"}},
      {"alone, policy Local",
       local,
       itself,
       kLoadBalancer,
       only,
       {"masquerade: yes: an endpoint that reaches itself"}},
      {"among others, masqueraded anyway",
       Unchanged,
       itself,
       kNodePort,
       kBothMasqueraded,
       {"masquerade: yes: policy Cluster, the reply has to come back through this node"}},
      {"on another node",
       remote,
       itself,
       kClusterIp,
       "balance shop/cart:http -> 10.244.1.2:8080",
       {"masquerade: no: pods keep their address"}},
  });
}

// --- What no Service has -------------------------------------------------------------------------

TEST_CASE("what no Service has is left alone, but for the closed ports of VIPs") {
  const auto none = [](const std::string& key) {
    return absl::StrCat("destination: no Service has ", key, " on this node");
  };
  const auto closed = [](const std::string& address, const std::string& key) {
    return absl::StrCat("destination: ", address, " is an address of Services, none of which has ",
                        key, ": what is closed on it is refused");
  };
  Check({
      {"anything", Unchanged, kPod, "10.1.1.1:80", "none", {none("TCP 10.1.1.1:80")}},
      {"another protocol",
       Unchanged,
       kPod,
       "10.96.0.1:80/udp",
       "reject",
       {"destination: Service shop/cart has the address, and not this port on it",
        closed("10.96.0.1", "UDP 10.96.0.1:80")}},
      {"another port of a cluster IP",
       Unchanged,
       kPod,
       "10.96.0.1:81",
       "reject",
       {"destination: Service shop/cart has the address, and not this port on it",
        closed("10.96.0.1", "TCP 10.96.0.1:81")}},
      {"another port of a load balancer",
       Unchanged,
       kOutside,
       "192.0.2.7:81",
       "reject",
       {"destination: Service shop/cart has the address, and not this port on it",
        closed("192.0.2.7", "TCP 192.0.2.7:81")}},
      {"another port of the node",
       Unchanged,
       kPod,
       "192.168.1.1:30081",
       "none",
       {none("TCP 192.168.1.1:30081")}},
      {"another port of an external IP that is the node's",
       [](World& world) { world.service.external_ips = {Address("10.0.0.1")}; },
       kPod,
       "10.0.0.1:81",
       "none",
       {"destination: Service shop/cart has the address, and not this port on it",
        none("TCP 10.0.0.1:81")}},
      {"a node port on an address that is left out",
       Unchanged,
       kPod,
       "10.0.0.1:30080",
       "none",
       {"destination: Service shop/cart has this node port, but --nodeport-addresses leaves out "
        "10.0.0.1",
        none("TCP 10.0.0.1:30080")}},
      {"a node port on somebody else's address",
       Unchanged,
       kPod,
       "192.168.1.2:30080",
       "none",
       {none("TCP 192.168.1.2:30080")}},
      {"a Service of another proxy",
       [](World& world) { world.service.proxy_name_label = "other"; },
       kPod,
       kClusterIp,
       "none",
       {"destination: Service shop/cart is not served here: its label "
        "service.kubernetes.io/service-proxy-name is for another proxy",
        none("TCP 10.96.0.1:80")}},
      {"a Service that is labelled headless",
       [](World& world) { world.service.headless_label = true; },
       kPod,
       kNodePort,
       "none",
       {"destination: Service shop/cart is not served here: it has the label "
        "service.kubernetes.io/headless",
        none("TCP 192.168.1.1:30080")}},
      {"a Service that is a name",
       [](World& world) { world.service.type = ServiceType::kExternalName; },
       kPod,
       kExternalIp,
       "none",
       {"destination: Service shop/cart is not served here: its type is ExternalName",
        none("TCP 203.0.113.5:80")}},
      {"a headless Service",
       [](World& world) { world.service.cluster_ips.clear(); },
       kPod,
       kExternalIp,
       "none",
       {"destination: Service shop/cart has the port, but no clusterIP of IPv4: its other "
        "addresses are not served",
        none("TCP 203.0.113.5:80")}},
      {"a Service without the family",
       [](World& world) { world.service.external_ips = {Address("2001:db8::5")}; },
       "fd00:244::9",
       "[2001:db8::5]:80",
       "none",
       {"destination: Service shop/cart has the port, but no clusterIP of IPv6: its other "
        "addresses are not served",
        none("TCP [2001:db8::5]:80")}},
      {"a cluster IP that is the node's",
       [](World& world) { world.service.cluster_ips = {Address("10.0.0.1")}; },
       kPod,
       "10.0.0.1:80",
       "none",
       {"destination: Service shop/cart, clusterIPs: 10.0.0.1 is an address of this node and is "
        "not served",
        none("TCP 10.0.0.1:80")}},
  });
}

// --- Endpoints -----------------------------------------------------------------------------------

TEST_CASE("of each endpoint it is said why it is used, or not") {
  struct EndpointRow {
    std::string name;
    Change change;
    std::string to;
    Lines lines;
  };
  const auto slice = [](const Lines& endpoints) -> Change {
    return [endpoints](World& world) { world.slices = {MakeSlice("cart-1", endpoints)}; };
  };
  const auto local_slice = [](const Lines& endpoints) -> Change {
    return [endpoints](World& world) {
      ExternalLocal(world);
      world.slices = {MakeSlice("cart-1", endpoints)};
    };
  };
  const auto line = [](const std::string& pod, const std::string& rest) {
    return absl::StrCat("endpoint ", pod, ":8080 (pod-", pod, rest);
  };
  const std::string a = "10.244.1.2";
  const std::string b = "10.244.2.2";
  const std::vector<EndpointRow> rows = {
      {"used", Unchanged, kClusterIp, {line(a, " on n1): used"), line(b, " on n2): used")}},
      {"not ready",
       slice({"10.244.1.2@n1", "10.244.2.2@n2 unready"}),
       kClusterIp,
       {line(a, " on n1): used"), line(b, " on n2): not used: not ready")}},
      {"not serving",
       slice({"10.244.1.2@n1", "10.244.2.2@n2 unready not-serving terminating"}),
       kClusterIp,
       {line(a, " on n1): used"), line(b, " on n2): not used: not ready, and not serving")}},
      {"draining",
       slice({"10.244.1.2@n1", "10.244.2.2@n2 unready terminating"}),
       kClusterIp,
       {line(a, " on n1): used"), line(b, " on n2): not used: draining, others are ready")}},
      {"draining, and nothing else",
       slice({"10.244.2.2@n2 unready terminating"}),
       kClusterIp,
       {line(b, " on n2): used: it is terminating and still serves, and no endpoint is ready")}},
      {"on another node",
       local_slice({"10.244.1.2@n1", "10.244.2.2@n2"}),
       kNodePort,
       {line(a, " on n1): used"),
        line(b, " on n2): not used: on node n2, and the policy is Local")}},
      {"on no known node",
       local_slice({"10.244.1.2@n1", "10.244.2.2"}),
       kNodePort,
       {line(a, " on n1): used"),
        line(b, "): not used: on no known node, and the policy is Local")}},
      {"hints for other zones",
       slice({"10.244.1.2@n1 zone:a", "10.244.2.2@n2 zone:b zone:c"}),
       kClusterIp,
       {line(a, " on n1): used"),
        line(b, " on n2): not used: by its hints for zones b, c, and this node is in zone a")}},
      {"hints for other nodes",
       slice({"10.244.1.2@n1 node:n1", "10.244.2.2@n2 node:n2 node:n3"}),
       kClusterIp,
       {line(a, " on n1): used"),
        line(b, " on n2): not used: by its hints for nodes n2, n3, and this is n1")}},
      {"another family",
       [](World& world) { world.slices.push_back(MakeSlice("cart-6", {"fd00:244::2@n1"})); },
       kClusterIp,
       {line(a, " on n1): used"), line(b, " on n2): used"),
        "endpoint [fd00:244::2]:8080 (pod-fd00:244::2 on n1): not used: IPv6, and the address is "
        "IPv4"}},
      {"without a name and a node",
       [](World& world) {
         for (Endpoint& endpoint : world.slices[0].endpoints) {
           endpoint.target_name = {};
           endpoint.node_name = {};
         }
         world.slices[0].endpoints[1].node_name = "n2";
       },
       kClusterIp,
       {"endpoint 10.244.1.2:8080: used", "endpoint 10.244.2.2:8080 (on n2): used"}},
      {"a slice that is hidden",
       [](World& world) {
         world.slices.push_back(MakeSlice("cart-2", {"10.244.3.2@n3"}));
         world.slices[1].proxy_name_label = "other";
       },
       kClusterIp,
       {"EndpointSlice shop/cart-2: not used: its labels hide it from this proxy",
        line(a, " on n1): used"), line(b, " on n2): used")}},
      {"a slice without the port",
       [](World& world) {
         world.slices.push_back(MakeSlice("cart-2", {"10.244.3.2@n3"}));
         world.slices[1].ports[0].protocol = ipvs::Protocol::kUdp;
       },
       kClusterIp,
       {"EndpointSlice shop/cart-2: not used: it has no port \"http\" TCP",
        line(a, " on n1): used"), line(b, " on n2): used")}},
      {"none", [](World& world) { world.slices.clear(); }, kClusterIp, {}},
      {"what is refused has reasons",
       slice({"10.244.2.2@n2 unready"}),
       kClusterIp,
       {line(b, " on n2): not used: not ready")}},
      {"what is dropped has reasons",
       local_slice({"10.244.2.2@n2"}),
       kNodePort,
       {line(b, " on n2): not used: on node n2, and the policy is Local")}},
  };
  for (const EndpointRow& row : rows) {
    DYNAMIC_SECTION(row.name) {
      World world;
      row.change(world);
      const absl::StatusOr<Explanation> explanation = world.Ask(kOutside, row.to);
      REQUIRE(explanation.ok());
      CHECK(EndpointLines(*explanation) == row.lines);
    }
  }
}

TEST_CASE("pods are told of all endpoints where others have the local ones") {
  World world;
  ExternalLocal(world);
  const Lines lines = EndpointLines(world.Ask(kPod, kLoadBalancer).value());
  CHECK(lines == Lines{"endpoint 10.244.1.2:8080 (pod-10.244.1.2 on n1): used",
                       "endpoint 10.244.2.2:8080 (pod-10.244.2.2 on n2): used"});
}

TEST_CASE("it is said which virtual server of the kernel balances") {
  World world;
  ExternalLocal(world);
  const auto mark = static_cast<uint32_t>(std::stoul(kHttpMark, nullptr, 16));
  CHECK(world.Ask(kOutside, kLoadBalancer)->virtual_server ==
        ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, Address("192.0.2.7"), 80));
  CHECK(world.Ask(kPod, kLoadBalancer)->virtual_server ==
        ipvs::VirtualServerKey::ForMark(IpFamily::kIpv4, mark));
  CHECK(world.Ask(kPod, "10.1.1.1:80")->virtual_server == std::nullopt);
}

}  // namespace
}  // namespace fairlead::testing
