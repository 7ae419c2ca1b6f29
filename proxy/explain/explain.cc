#include "proxy/explain/explain.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proxy/explain/endpoint_reasons.h"
#include "proxy/plan/service_addresses.h"

namespace fairlead {
namespace {

enum class Source : uint8_t { kPod, kNode, kOutside };

bool Contains(const std::vector<IpAddress>& addresses, const IpAddress& address) {
  return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

// "a ClusterIP", "an ExternalIP".
std::string WithArticle(AddressKind kind) {
  const absl::string_view name = FormatAddressKind(kind);
  return absl::StrCat(kind == AddressKind::kExternalIp ? "an " : "a ", name);
}

std::string FormatPortName(const ObjectName& service, const std::string& port) {
  return port.empty() ? service.Format() : absl::StrCat(service.Format(), ":", port);
}

class Explainer {
 public:
  Explainer(const ExplainQuery& query, const Planner& planner, const Snapshot& snapshot)
      : query_(query), node_(planner.config()), desired_(planner.desired()), snapshot_(snapshot) {}

  absl::StatusOr<Explanation> Explain() {
    if (query_.from.family() != query_.to.family()) {
      return absl::InvalidArgumentError(absl::StrCat("--from ", query_.from.Format(), " and --to ",
                                                     query_.to.Format(), " are not of one family"));
    }
    if (absl::Status status = ClassifySource(); !status.ok()) return status;
    key_ = ipvs::VirtualServerKey::ForAddress(query_.protocol, query_.to, query_.port);
    address_server_ = desired_.FindVirtualServer(key_);
    if (address_server_ == nullptr) {
      ExplainMiss();
    } else {
      ExplainHit();
    }
    return std::move(result_);
  }

 private:
  template <typename... Parts>
  void Because(const Parts&... parts) {
    result_.because.push_back(absl::StrCat(parts...));
  }

  absl::Status ClassifySource() {
    const IpAddress& from = query_.from;
    const PodDetector& pods = node_.pods;
    const std::string device =
        query_.from_interface.empty() ? "" : absl::StrCat(" by ", query_.from_interface);
    const std::string packet = absl::StrCat("source: ", from.Format(), device, " is ");
    if (Contains(node_.node_ips, from) || Contains(node_.own_addresses, from) ||
        from.IsLoopback() || desired_.WantsVip(from)) {
      source_ = Source::kNode;
      Because(packet, "the node: it is one of its own addresses");
      return absl::OkStatus();
    }
    const std::string devices =
        absl::StrCat("\"", pods.device, pods.device_is_prefix ? "*" : "", "\"");
    if (!pods.device.empty() && query_.from_interface.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--from-interface: pods are told by the device ", devices,
                       ", so it has to be known by which one the packet comes"));
    }
    const bool is_pod = pods.IsPod(from, query_.from_interface);
    source_ = is_pod ? Source::kPod : Source::kOutside;
    const absl::string_view taken_for = is_pod ? "a pod: " : "outside: ";
    if (!pods.Detects(from.family())) {
      Because(packet, taken_for, "nothing tells pods from others in ", FormatFamily(from.family()),
              " (--detect-local-mode, --cluster-cidr)");
    } else if (!pods.device.empty()) {
      Because(packet, taken_for, "pods' packets come by ", devices);
    } else {
      Because(packet, taken_for, "pods have addresses in ",
              absl::StrJoin(pods.prefixes, ", ", [](std::string* out, const IpPrefix& prefix) {
                *out += prefix.Format();
              }));
    }
    return absl::OkStatus();
  }

  void ExplainMiss() {
    for (const auto& [name, service] : SortedServices()) ExplainNotHit(*service);
    if (desired_.WantsVip(query_.to)) {
      result_.verdict = ExplainedVerdict::kReject;
      Because("destination: ", query_.to.Format(), " is an address of Services, none of which has ",
              key_.Format(), ": what is closed on it is refused");
      return;
    }
    Because("destination: no Service has ", key_.Format(), " on this node");
  }

  // Whether the Service, which does not have it, looks as if it should.
  void ExplainNotHit(const Service& service) {
    const std::string name = absl::StrCat("Service ", service.name.Format());
    const bool has_address = Contains(service.cluster_ips, query_.to) ||
                             Contains(service.external_ips, query_.to) ||
                             Contains(service.load_balancer_ips, query_.to);
    const bool has_port =
        std::any_of(service.ports.begin(), service.ports.end(), [&](const ServicePort& port) {
          return port.port == query_.port && port.protocol == query_.protocol;
        });
    const bool has_node_port =
        std::any_of(service.ports.begin(), service.ports.end(), [&](const ServicePort& port) {
          return port.node_port == query_.port && port.protocol == query_.protocol;
        });
    const bool to_node = Contains(node_.own_addresses, query_.to);
    if (!has_address && !(has_node_port && to_node)) return;
    if (!IsServed(service, node_)) {
      Because("destination: ", name, " is not served here: ",
              service.type == ServiceType::kExternalName ? "its type is ExternalName"
              : service.headless_label
                  ? "it has the label service.kubernetes.io/headless"
                  : "its label service.kubernetes.io/service-proxy-name is for another proxy");
    } else if (has_address && has_port) {
      ExplainUnserved(service, name);
    } else if (has_address) {
      Because("destination: ", name, " has the address, and not this port on it");
    } else if (!Contains(node_.node_port_addresses, query_.to)) {
      Because("destination: ", name, " has this node port, but --nodeport-addresses leaves out ",
              query_.to.Format());
    }
  }

  // Why the Service, which has the address and port, is not served there.
  void ExplainUnserved(const Service& service, const std::string& name) {
    const IpFamily family = query_.to.family();
    const bool has_family =
        std::any_of(service.cluster_ips.begin(), service.cluster_ips.end(),
                    [&](const IpAddress& address) { return address.family() == family; });
    if (!has_family) {
      Because("destination: ", name, " has the port, but no clusterIP of ", FormatFamily(family),
              ": its other addresses are not served");
      return;
    }
    const std::string address = absl::StrCat(": ", query_.to.Format(), " is ");
    const ServiceAddresses addresses = SelectAddresses(service, node_);
    for (const std::string& problem : addresses.problems) {
      if (absl::StrContains(problem, address)) Because("destination: ", name, ", ", problem);
    }
  }

  // In the order of their names: a snapshot has none.
  std::map<ObjectName, std::shared_ptr<const Service>> SortedServices() const {
    return {snapshot_.services().begin(), snapshot_.services().end()};
  }

  void ExplainHit() {
    const PlannedVirtualServer& address = *address_server_;
    result_.service = FormatPortName(address.service, address.port_name);
    Because("destination: ", key_.Format(), " is ", WithArticle(address.kind), " of Service ",
            result_.service);
    for (const Conflict& conflict : desired_.ConflictsOf(key_)) {
      Because("conflict: ", conflict.Format());
    }
    Because("policy: ",
            address.kind == AddressKind::kClusterIp ? "internalTrafficPolicy "
                                                    : "externalTrafficPolicy ",
            FormatPolicy(address.policy));
    if (!IsLetIn(address)) {
      result_.verdict = ExplainedVerdict::kDrop;
      Because("loadBalancerSourceRanges: ", query_.from.Format(),
              " is in none of them: the packet is dropped");
      return;
    }
    const PlannedVirtualServer& server = ServerFor(address);
    ExplainVerdict(server);
    if (server.verdict == Verdict::kBalance) {
      result_.virtual_server = server.key;
      for (const PlannedRealServer& real : server.real_servers) {
        result_.endpoints.push_back(real.key);
      }
      ExplainMasquerade(address, server);
    }
    ExplainEndpoints(server);
  }

  bool IsLetIn(const PlannedVirtualServer& server) {
    if (server.sources.empty()) return true;
    for (const IpPrefix& prefix : server.sources) {
      if (!prefix.Contains(query_.from)) continue;
      Because("loadBalancerSourceRanges: ", query_.from.Format(), " is let in by ",
              prefix.Format());
      return true;
    }
    return false;
  }

  // What IPVS finds: by the mark of internal traffic, or by the address.
  const PlannedVirtualServer& ServerFor(const PlannedVirtualServer& address) {
    if (address.mark == 0 || source_ == Source::kOutside) return address;
    const PlannedVirtualServer* internal = desired_.FindVirtualServer(
        ipvs::VirtualServerKey::ForMark(query_.to.family(), address.mark));
    if (internal == nullptr) return address;
    Because("policy: Local is for the outside; ",
            source_ == Source::kPod ? "pods reach" : "the node reaches",
            " every endpoint, by the virtual server ", internal->key.Format());
    return *internal;
  }

  void ExplainVerdict(const PlannedVirtualServer& server) {
    switch (server.verdict) {
      case Verdict::kBalance:
        result_.verdict = ExplainedVerdict::kBalance;
        Because("balanced: scheduler ", server.config.scheduler,
                server.config.persistent()
                    ? absl::StrCat(", a client stays with its endpoint for ",
                                   absl::FormatDuration(server.config.persistence_timeout))
                    : "");
        return;
      case Verdict::kReject:
        result_.verdict = ExplainedVerdict::kReject;
        Because("refused: no endpoint anywhere can be used");
        return;
      case Verdict::kDrop:
        result_.verdict = ExplainedVerdict::kDrop;
        Because("dropped: the policy leaves no endpoint, though there are some elsewhere");
        return;
    }
  }

  void ExplainMasquerade(const PlannedVirtualServer& address, const PlannedVirtualServer& server) {
    const bool hairpin_only =
        std::all_of(server.real_servers.begin(), server.real_servers.end(),
                    [&](const PlannedRealServer& real) { return IsHairpin(real); });
    const bool external = address.kind != AddressKind::kClusterIp;
    switch (source_) {
      case Source::kNode:
        result_.masquerade = external || address.masquerade != Masquerade::kNever;
        Because("masquerade: ", result_.masquerade ? "yes: " : "no: ",
                "the route to the address gives the node's own packets its address as source, "
                "nothing has to be replaced");
        return;
      case Source::kPod:
        result_.masquerade = address.masquerade == Masquerade::kAlways || hairpin_only;
        break;
      case Source::kOutside:
        result_.masquerade = address.masquerade != Masquerade::kNever || hairpin_only;
        break;
    }
    const bool to_itself =
        std::any_of(server.real_servers.begin(), server.real_servers.end(),
                    [&](const PlannedRealServer& real) { return IsHairpin(real); });
    Because("masquerade: ", MasqueradeReason(address, hairpin_only));
    if (to_itself && !hairpin_only && !result_.masquerade) {
      Because("masquerade: yes, if the endpoint is the source itself");
    }
  }

  bool IsHairpin(const PlannedRealServer& real) const {
    return real.local && real.key.address == query_.from;
  }

  std::string MasqueradeReason(const PlannedVirtualServer& address, bool hairpin_only) const {
    const bool external = address.kind != AddressKind::kClusterIp;
    if (address.masquerade == Masquerade::kAlways) {
      return external ? "yes: policy Cluster, the reply has to come back through this node"
                      : "yes: --masquerade-all";
    }
    if (hairpin_only) return "yes: an endpoint that reaches itself";
    if (external) return "no: policy Local keeps the client's address";
    if (source_ == Source::kPod) return "no: pods keep their address";
    return result_.masquerade ? "yes: the source is not a pod"
                              : "no: nothing tells pods from others";
  }

  void ExplainEndpoints(const PlannedVirtualServer& server) {
    const std::shared_ptr<const Service> service = snapshot_.FindService(server.service);
    if (service == nullptr) return;
    for (const ServicePort& port : service->ports) {
      if (port.name != server.port_name || port.protocol != server.protocol) continue;
      for (std::string& reason : EndpointReasons(snapshot_.SlicesOf(server.service),
                                                 query_.to.family(), port, server.policy, node_)) {
        result_.because.push_back(std::move(reason));
      }
      return;
    }
  }

  const ExplainQuery& query_;
  const NodeConfig& node_;
  const DesiredState& desired_;
  const Snapshot& snapshot_;
  Source source_ = Source::kOutside;
  ipvs::VirtualServerKey key_;
  const PlannedVirtualServer* address_server_ = nullptr;
  Explanation result_;
};

}  // namespace

absl::string_view FormatExplainedVerdict(ExplainedVerdict verdict) {
  switch (verdict) {
    case ExplainedVerdict::kBalance:
      return "balance";
    case ExplainedVerdict::kReject:
      return "reject";
    case ExplainedVerdict::kDrop:
      return "drop";
    case ExplainedVerdict::kNone:
      return "none";
  }
  return "unknown verdict";
}

absl::StatusOr<Destination> ParseDestination(absl::string_view text) {
  Destination destination;
  absl::string_view place = text;
  if (const size_t slash = text.rfind('/'); slash != absl::string_view::npos) {
    auto protocol = ipvs::ParseProtocol(absl::AsciiStrToUpper(text.substr(slash + 1)));
    if (!protocol.ok()) return protocol.status();
    destination.protocol = *protocol;
    place = text.substr(0, slash);
  }
  const absl::StatusOr<AddressPort> parsed = ParseAddressPort(place);
  if (!parsed.ok()) return parsed.status();
  destination.address = parsed->address;
  destination.port = parsed->port;
  return destination;
}

absl::StatusOr<Explanation> Explain(const ExplainQuery& query, const Planner& planner,
                                    const Snapshot& snapshot) {
  return Explainer(query, planner, snapshot).Explain();
}

}  // namespace fairlead
