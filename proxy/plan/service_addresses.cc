#include "proxy/plan/service_addresses.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proxy/plan/prefixes.h"

namespace fairlead {
namespace {

bool Contains(const std::vector<IpAddress>& addresses, const IpAddress& address) {
  return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

// Why an address cannot be a Service's; empty where it can.
absl::string_view Unfit(const IpAddress& address) {
  if (address.IsLoopback()) return "a loopback address";
  if (address.IsMulticast()) return "a multicast address";
  if (address.IsUnspecified()) return "the unspecified address";
  return "";
}

bool IsOwn(const IpAddress& address, const NodeConfig& node) {
  return Contains(node.node_ips, address) || Contains(node.own_addresses, address) ||
         Contains(node.node_port_addresses, address);
}

// The sources that reach a load balancer's address; empty: all.
std::vector<IpPrefix> SourcesOf(const Service& service, const IpAddress& address) {
  std::vector<IpPrefix> sources = Disjoint(service.load_balancer_source_ranges, address.family());
  if (sources.empty() || sources.front().length() == 0) return {};
  // What goes to the address from the machine that holds it has it as its source too.
  sources.push_back(*IpPrefix::Make(address, address.bit_length()));
  return Disjoint(std::move(sources), address.family());
}

class Selector {
 public:
  Selector(const Service& service, const NodeConfig& node)
      : service_(service), node_(node), external_policy_(ExternalPolicy(service)) {}

  ServiceAddresses Select() {
    for (const IpAddress& address : service_.cluster_ips) {
      absl::string_view unfit = Unfit(address);
      // The guard closes a clusterIP but for the ports of Services, which would cut the node off.
      if (unfit.empty() && IsOwn(address, node_)) unfit = "an address of this node";
      Add("clusterIPs", AddressKind::kClusterIp, address, unfit);
    }
    // First, so that an address that is both keeps its source ranges.
    for (const IpAddress& address : service_.load_balancer_ips) {
      Add("status.loadBalancer.ingress", AddressKind::kLoadBalancer, address, Unfit(address));
    }
    for (const IpAddress& address : service_.external_ips) {
      Add("externalIPs", AddressKind::kExternalIp, address, Unfit(address));
    }
    const bool node_ports =
        service_.type == ServiceType::kNodePort || service_.type == ServiceType::kLoadBalancer;
    for (const IpAddress& address : node_.node_port_addresses) {
      if (!node_ports || !HasFamily(address.family())) continue;
      addresses_.served.push_back(
          {.kind = AddressKind::kNodePort, .address = address, .policy = external_policy_});
    }
    return std::move(addresses_);
  }

 private:
  bool HasFamily(IpFamily family) const {
    return std::any_of(service_.cluster_ips.begin(), service_.cluster_ips.end(),
                       [&](const IpAddress& address) { return address.family() == family; });
  }

  void Add(absl::string_view field, AddressKind kind, const IpAddress& address,
           absl::string_view unfit) {
    // Of a dual-stack Service's addresses only those of its families are wanted, and that is usual.
    if (!HasFamily(address.family())) return;
    std::vector<ServiceAddress>& served = addresses_.served;
    const auto same = std::find_if(served.begin(), served.end(), [&](const ServiceAddress& other) {
      return other.address == address;
    });
    if (!unfit.empty()) {
      Problem(field, address, unfit, "is not served");
    } else if (same != served.end()) {
      Problem(field, address, absl::StrCat("the Service's ", FormatAddressKind(same->kind), " too"),
              "is served as that");
    } else {
      const bool cluster_ip = kind == AddressKind::kClusterIp;
      served.push_back({.kind = kind,
                        .address = address,
                        .policy = cluster_ip ? service_.internal_traffic_policy : external_policy_,
                        .vip = cluster_ip || !IsOwn(address, node_),
                        .sources = kind == AddressKind::kLoadBalancer ? SourcesOf(service_, address)
                                                                      : std::vector<IpPrefix>()});
    }
  }

  void Problem(absl::string_view field, const IpAddress& address, absl::string_view what,
               absl::string_view consequence) {
    addresses_.problems.push_back(
        absl::StrCat(field, ": ", address.Format(), " is ", what, " and ", consequence));
  }

  const Service& service_;
  const NodeConfig& node_;
  const TrafficPolicy external_policy_;
  ServiceAddresses addresses_;
};

}  // namespace

ServiceAddresses SelectAddresses(const Service& service, const NodeConfig& node) {
  if (!IsServed(service, node)) return {};
  return Selector(service, node).Select();
}

}  // namespace fairlead
