#include "watcher/manifest/allocate.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace fairlead::manifest {
namespace {

constexpr char kApiServerNamespace[] = "default";
constexpr char kApiServerName[] = "kubernetes";

// A Service on its way to being complete.
struct Candidate {
  const ManifestObject* object;
  const ServiceManifest* manifest;
  Service service;
  // In the order that its addresses are to have.
  std::vector<IpFamily> families;
  ServiceAllocation given;
  // What was its own before and went to one that asks for it.
  std::vector<std::string> lost;
  bool failed = false;
};

bool NeedsNodePorts(const ServiceManifest& manifest) {
  return manifest.service.type == ServiceType::kNodePort ||
         (manifest.service.type == ServiceType::kLoadBalancer && manifest.allocate_node_ports);
}

bool NeedsHealthCheckPort(const Service& service) {
  return service.type == ServiceType::kLoadBalancer &&
         service.external_traffic_policy == TrafficPolicy::kLocal &&
         service.health_check_node_port == 0;
}

const IpPrefix* FindRange(const AllocationRanges& ranges, IpFamily family) {
  for (const IpPrefix& range : ranges.cluster_ips) {
    if (range.family() == family) return &range;
  }
  return nullptr;
}

bool HasFamily(const std::vector<IpAddress>& addresses, IpFamily family) {
  return std::any_of(addresses.begin(), addresses.end(),
                     [&](const IpAddress& address) { return address.family() == family; });
}

IpFamily OtherFamily(IpFamily family) {
  return family == IpFamily::kIpv4 ? IpFamily::kIpv6 : IpFamily::kIpv4;
}

std::string ServiceText(const ObjectName& name) { return absl::StrCat("Service ", name.Format()); }

std::string PortText(uint16_t number, ipvs::Protocol protocol) {
  return absl::StrCat(number, "/", ipvs::FormatProtocol(protocol));
}

class Allocator {
 public:
  Allocator(const AllocationRanges& ranges, AllocationResult* result)
      : ranges_(ranges), result_(*result) {}

  void Run(const std::vector<const ManifestObject*>& services, const Allocations& kept,
           const AbsentServices& absent);

 private:
  void AddCandidates(const std::vector<const ManifestObject*>& services);
  void SetFamilies(Candidate* candidate);
  void ClaimAskedFor(Candidate* candidate);
  bool FindConflict(Candidate* candidate);
  void ClaimKept(const ServiceAllocation& kept, Candidate* candidate);
  void ClaimAbsent(const ObjectName& name, const ServiceAllocation& kept);
  void ClaimRest(Candidate* candidate);
  bool ClaimClusterIps(Candidate* candidate);
  bool ClaimNodePorts(Candidate* candidate);
  bool ClaimNodePort(size_t index, Candidate* candidate);
  void Release(const Candidate& candidate);
  void Fail(Candidate* candidate, int line, std::string field, std::string message);
  void Warn(const Candidate& candidate, std::string field, std::string message);

  const AllocationRanges& ranges_;
  AllocationResult& result_;
  std::vector<Candidate> candidates_;  // By age and name.
  AddressPool addresses_;
  PortPool ports_;
};

void Allocator::Fail(Candidate* candidate, int line, std::string field, std::string message) {
  candidate->failed = true;
  result_.problems.push_back({Severity::kError, candidate->object->file, line,
                              candidate->object->key.Format(), std::move(field),
                              absl::StrCat(message, "; the Service is left out")});
}

void Allocator::Warn(const Candidate& candidate, std::string field, std::string message) {
  result_.problems.push_back({Severity::kWarning, candidate.object->file, candidate.object->line,
                              candidate.object->key.Format(), std::move(field),
                              std::move(message)});
}

void Allocator::Run(const std::vector<const ManifestObject*>& services, const Allocations& kept,
                    const AbsentServices& absent) {
  AddCandidates(services);
  for (Candidate& candidate : candidates_) SetFamilies(&candidate);
  for (Candidate& candidate : candidates_) {
    if (!candidate.failed) ClaimAskedFor(&candidate);
  }
  std::map<ObjectName, Candidate*> by_name;
  for (Candidate& candidate : candidates_) by_name[candidate.service.name] = &candidate;
  for (const auto& [name, allocation] : kept) {
    auto it = by_name.find(name);
    if (it != by_name.end() && !it->second->failed) {
      ClaimKept(allocation, it->second);
    } else if (it != by_name.end() || absent.all || absent.names.count(name) > 0) {
      ClaimAbsent(name, allocation);
    }
  }
  for (Candidate& candidate : candidates_) {
    if (!candidate.failed) ClaimRest(&candidate);
  }
  for (Candidate& candidate : candidates_) {
    if (candidate.failed) continue;
    const ObjectName name = candidate.service.name;
    if (!candidate.given.empty()) result_.allocations[name] = std::move(candidate.given);
    result_.services.emplace(name, std::move(candidate.service));
  }
}

void Allocator::AddCandidates(const std::vector<const ManifestObject*>& services) {
  candidates_.reserve(services.size());
  for (const ManifestObject* object : services) {
    const auto& manifest = object->As<ServiceManifest>();
    candidates_.push_back({.object = object, .manifest = &manifest, .service = manifest.service});
  }
  std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
    return std::tie(a.service.created, a.service.name) <
           std::tie(b.service.created, b.service.name);
  });
}

void Allocator::SetFamilies(Candidate* candidate) {
  const ServiceManifest& manifest = *candidate->manifest;
  if (manifest.headless || manifest.service.type == ServiceType::kExternalName) return;
  std::vector<IpFamily>& families = candidate->families;
  families = manifest.families;
  if (families.empty()) {
    families.push_back(ranges_.cluster_ips.empty() ? IpFamily::kIpv4
                                                   : ranges_.cluster_ips[0].family());
  }
  const FamilyPolicy policy = manifest.family_policy;
  if (policy == FamilyPolicy::kSingleStack) families.resize(1);
  if (families.size() == 1 &&
      (policy == FamilyPolicy::kPreferDualStack || policy == FamilyPolicy::kRequireDualStack)) {
    const IpFamily second = OtherFamily(families[0]);
    if (FindRange(ranges_, second) != nullptr) {
      families.push_back(second);
    } else if (policy == FamilyPolicy::kRequireDualStack) {
      Fail(candidate, candidate->object->line, "spec.ipFamilyPolicy",
           absl::StrCat("RequireDualStack needs an ", FormatFamily(second),
                        " address, and there is no service cluster IP range of that family"));
    }
  }
  // PreferDualStack is content with what there is.
  if (policy == FamilyPolicy::kPreferDualStack && families.size() == 2 &&
      FindRange(ranges_, families[1]) == nullptr &&
      !HasFamily(manifest.service.cluster_ips, families[1])) {
    families.resize(1);
  }
}

bool Allocator::FindConflict(Candidate* candidate) {
  const Service& service = candidate->service;
  for (size_t i = 0; i < service.cluster_ips.size(); ++i) {
    const IpAddress& address = service.cluster_ips[i];
    const ObjectName* owner = addresses_.FindOwner(address);
    if (owner == nullptr) continue;
    Fail(candidate, candidate->manifest->cluster_ip_line,
         i == 0 ? "spec.clusterIP" : absl::StrCat("spec.clusterIPs[", i, "]"),
         absl::StrCat(address.Format(), " is also asked for by ", ServiceText(*owner),
                      ", which has it"));
    return true;
  }
  for (size_t i = 0; i < service.ports.size(); ++i) {
    const ServicePort& port = service.ports[i];
    const ObjectName* owner = ports_.FindOwner({port.node_port, port.protocol});
    if (port.node_port == 0 || owner == nullptr) continue;
    Fail(candidate, candidate->manifest->port_lines[i],
         absl::StrCat("spec.ports[", i, "].nodePort"),
         absl::StrCat(PortText(port.node_port, port.protocol), " is also asked for by ",
                      ServiceText(*owner), ", which has it"));
    return true;
  }
  const uint16_t health = service.health_check_node_port;
  const ObjectName* owner = ports_.FindOwner({health, ipvs::Protocol::kTcp});
  if (health == 0 || owner == nullptr) return false;
  Fail(candidate, candidate->object->line, "spec.healthCheckNodePort",
       absl::StrCat(PortText(health, ipvs::Protocol::kTcp), " is also asked for by ",
                    ServiceText(*owner), ", which has it"));
  return true;
}

void Allocator::ClaimAskedFor(Candidate* candidate) {
  const Service& service = candidate->service;
  if (FindConflict(candidate)) return;
  for (const IpAddress& address : service.cluster_ips) addresses_.Claim(address, service.name);
  for (const ServicePort& port : service.ports) {
    if (port.node_port != 0) ports_.Claim({port.node_port, port.protocol}, service.name);
  }
  const uint16_t health = service.health_check_node_port;
  if (health != 0 && !ports_.Claim({health, ipvs::Protocol::kTcp}, service.name)) {
    Fail(candidate, candidate->object->line, "spec.healthCheckNodePort",
         absl::StrCat(PortText(health, ipvs::Protocol::kTcp), " is also one of its node ports"));
    Release(*candidate);
  }
}

void Allocator::ClaimKept(const ServiceAllocation& kept, Candidate* candidate) {
  Service& service = candidate->service;
  ServiceAllocation& given = candidate->given;
  for (const IpAddress& address : kept.cluster_ips) {
    const IpPrefix* range = FindRange(ranges_, address.family());
    if (range == nullptr || !range->Contains(address) ||
        std::count(candidate->families.begin(), candidate->families.end(), address.family()) == 0 ||
        HasFamily(service.cluster_ips, address.family())) {
      continue;
    }
    if (addresses_.Claim(address, service.name)) {
      service.cluster_ips.push_back(address);
      given.cluster_ips.push_back(address);
    } else {
      candidate->lost.push_back(absl::StrCat("the address ", address.Format(), " went to ",
                                             ServiceText(*addresses_.FindOwner(address))));
    }
  }
  for (ServicePort& port : service.ports) {
    const auto it = kept.node_ports.find({port.port, port.protocol});
    if (port.node_port != 0 || !NeedsNodePorts(*candidate->manifest) ||
        it == kept.node_ports.end() || !ranges_.node_ports.Contains(it->second)) {
      continue;
    }
    if (ports_.ClaimAlone({it->second, port.protocol}, service.name)) {
      port.node_port = it->second;
      given.node_ports.insert(*it);
    } else {
      candidate->lost.push_back(absl::StrCat("the node port ", it->second, " is asked for now"));
    }
  }
  const uint16_t health = kept.health_check_node_port;
  if (NeedsHealthCheckPort(service) && ranges_.node_ports.Contains(health) &&
      ports_.ClaimAlone({health, ipvs::Protocol::kTcp}, service.name)) {
    service.health_check_node_port = given.health_check_node_port = health;
  }
}

// Of a Service that cannot be used as it is now: it shall have the same again when it can.
void Allocator::ClaimAbsent(const ObjectName& name, const ServiceAllocation& kept) {
  ServiceAllocation left;
  for (const IpAddress& address : kept.cluster_ips) {
    if (addresses_.Claim(address, name)) left.cluster_ips.push_back(address);
  }
  for (const auto& [port, number] : kept.node_ports) {
    if (ports_.ClaimAlone({number, port.second}, name)) left.node_ports[port] = number;
  }
  const uint16_t health = kept.health_check_node_port;
  if (health != 0 && ports_.ClaimAlone({health, ipvs::Protocol::kTcp}, name)) {
    left.health_check_node_port = health;
  }
  if (!left.empty()) result_.allocations[name] = std::move(left);
}

bool Allocator::ClaimClusterIps(Candidate* candidate) {
  Service& service = candidate->service;
  for (const IpFamily family : candidate->families) {
    if (HasFamily(service.cluster_ips, family)) continue;
    const IpPrefix* range = FindRange(ranges_, family);
    if (range == nullptr) {
      Fail(candidate, candidate->object->line, "spec.ipFamilies",
           absl::StrCat("there is no service cluster IP range for ", FormatFamily(family)));
      return false;
    }
    std::optional<IpAddress> address;
    const IpAddress first = range->address().Plus(1);
    if (service.name == ObjectName{kApiServerNamespace, kApiServerName} && range->Contains(first) &&
        addresses_.Claim(first, service.name)) {
      address = first;
    } else {
      const uint64_t hash =
          StableHash(absl::StrCat(service.name.Format(), " ", FormatFamily(family)));
      address = addresses_.ClaimNext(*range, hash, service.name);
    }
    if (!address.has_value()) {
      Fail(candidate, candidate->object->line, "spec.clusterIP",
           absl::StrCat("the service cluster IP range ", range->Format(), " is exhausted"));
      return false;
    }
    service.cluster_ips.push_back(*address);
    candidate->given.cluster_ips.push_back(*address);
  }
  // The kept one of the second family may have come first.
  std::sort(service.cluster_ips.begin(), service.cluster_ips.end(),
            [&](const IpAddress& a, const IpAddress& b) {
              return a.family() != b.family() && a.family() == candidate->families.front();
            });
  return true;
}

// Ports of one Service with the same number share a node port, as with DNS over TCP and UDP.
bool Allocator::ClaimNodePort(size_t index, Candidate* candidate) {
  Service& service = candidate->service;
  ServicePort& port = service.ports[index];
  const auto give = [&](uint16_t number) {
    port.node_port = number;
    candidate->given.node_ports[{port.port, port.protocol}] = number;
    return true;
  };
  for (const ServicePort& other : service.ports) {
    if (other.port != port.port || other.node_port == 0) continue;
    if (ports_.ClaimAlone({other.node_port, port.protocol}, service.name)) {
      return give(other.node_port);
    }
  }
  const uint64_t hash = StableHash(absl::StrCat(service.name.Format(), " port ", port.port));
  const std::optional<uint16_t> number =
      ports_.ClaimNext(ranges_.node_ports, port.protocol, hash, service.name);
  if (number.has_value()) return give(*number);
  Fail(candidate, candidate->manifest->port_lines[index],
       absl::StrCat("spec.ports[", index, "].nodePort"),
       absl::StrCat("the service node port range ", ranges_.node_ports.Format(), " is exhausted"));
  return false;
}

bool Allocator::ClaimNodePorts(Candidate* candidate) {
  Service& service = candidate->service;
  if (NeedsNodePorts(*candidate->manifest)) {
    for (size_t i = 0; i < service.ports.size(); ++i) {
      if (service.ports[i].node_port == 0 && !ClaimNodePort(i, candidate)) return false;
    }
  }
  if (!NeedsHealthCheckPort(service)) return true;
  const uint64_t hash = StableHash(absl::StrCat(service.name.Format(), " health"));
  const std::optional<uint16_t> number =
      ports_.ClaimNext(ranges_.node_ports, ipvs::Protocol::kTcp, hash, service.name);
  if (!number.has_value()) {
    Fail(
        candidate, candidate->object->line, "spec.healthCheckNodePort",
        absl::StrCat("the service node port range ", ranges_.node_ports.Format(), " is exhausted"));
    return false;
  }
  service.health_check_node_port = candidate->given.health_check_node_port = *number;
  return true;
}

void Allocator::ClaimRest(Candidate* candidate) {
  const std::vector<std::string> lost = std::move(candidate->lost);
  if (!ClaimClusterIps(candidate) || !ClaimNodePorts(candidate)) return Release(*candidate);
  for (const std::string& what : lost) {
    Warn(*candidate, "spec", absl::StrCat(what, ": this Service has been given another one"));
  }
}

void Allocator::Release(const Candidate& candidate) {
  const Service& service = candidate.service;
  for (const IpAddress& address : service.cluster_ips) addresses_.Release(address);
  for (const ServicePort& port : service.ports) {
    const PortProtocol key{port.node_port, port.protocol};
    const ObjectName* owner = ports_.FindOwner(key);
    if (owner != nullptr && *owner == service.name) ports_.Release(key);
  }
  const PortProtocol health{service.health_check_node_port, ipvs::Protocol::kTcp};
  const ObjectName* owner = ports_.FindOwner(health);
  if (owner != nullptr && *owner == service.name) ports_.Release(health);
}

}  // namespace

AllocationResult AllocateServices(const std::vector<const ManifestObject*>& services,
                                  const Allocations& kept, const AbsentServices& absent,
                                  const AllocationRanges& ranges) {
  AllocationResult result;
  Allocator(ranges, &result).Run(services, kept, absent);
  return result;
}

}  // namespace fairlead::manifest
