#include "memory_kernel.h"

#include <algorithm>
#include <stdexcept>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proxy/plan/plan_output.h"

namespace fairlead::testing {
namespace {

using ipvs::VirtualServerKey;

PlannedVirtualServer Server(const VirtualServerKey& key, Lines pods, AddressKind kind) {
  PlannedVirtualServer server;
  server.key = key;
  server.config = ipvs::VirtualServerConfig::ForFamily(key.family, "rr");
  server.port_name = absl::StrCat("p", key.port);
  server.protocol = key.protocol;
  server.kind = kind;
  server.verdict = pods.empty() ? Verdict::kReject : Verdict::kBalance;
  std::sort(pods.begin(), pods.end());
  for (const std::string& pod : pods) {
    PlannedRealServer real;
    real.key = Pod(pod);
    real.local = absl::StartsWith(pod, "10.244.1.");
    real.target_name = absl::StrCat("pod-", pod);
    server.real_servers.push_back(real);
  }
  std::sort(server.real_servers.begin(), server.real_servers.end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  return server;
}

Lines DescribeServers(const std::vector<ipvs::VirtualServer>& servers) {
  Lines lines;
  for (const ipvs::VirtualServer& server : servers) {
    const ipvs::VirtualServerConfig& config = server.config;
    lines.push_back(absl::StrCat(server.key.Format(), " ", config.scheduler, " flags ",
                                 config.flags, " timeout ",
                                 absl::FormatDuration(config.persistence_timeout), " /",
                                 config.persistence_prefix_length, config.persistence_engine));
    for (const ipvs::RealServer& real : server.real_servers) {
      lines.push_back(absl::StrCat(
          "  ", real.key.Format(), " ", ipvs::FormatForwardingMethod(real.config.forwarding),
          " weight ", real.config.weight,
          real.config.upper_threshold + real.config.lower_threshold > 0 ? " thresholds" : ""));
    }
  }
  return lines;
}

std::string DescribeRoute(const VipRoute& route) {
  return absl::StrCat("route ", route.vip.Format(), " src ",
                      route.source.has_value() ? route.source->Format() : "-");
}

}  // namespace

IpAddress Address(absl::string_view text) {
  absl::StatusOr<IpAddress> address = IpAddress::Parse(text);
  if (!address.ok()) throw std::invalid_argument(std::string(address.status().message()));
  return *address;
}

IpPrefix Prefix(absl::string_view text) {
  absl::StatusOr<IpPrefix> prefix = IpPrefix::Parse(text);
  if (!prefix.ok()) throw std::invalid_argument(std::string(prefix.status().message()));
  return *prefix;
}

VirtualServerKey Tcp(absl::string_view address, uint16_t port) {
  return VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, Address(address), port);
}

VirtualServerKey Udp(absl::string_view address, uint16_t port) {
  return VirtualServerKey::ForAddress(ipvs::Protocol::kUdp, Address(address), port);
}

VirtualServerKey Mark(uint32_t mark) { return VirtualServerKey::ForMark(IpFamily::kIpv4, mark); }

ipvs::RealServerKey Pod(absl::string_view address) { return {Address(address), 8080}; }

PlannedVirtualServer Vip(const VirtualServerKey& key, Lines pods) {
  PlannedVirtualServer server = Server(key, std::move(pods), AddressKind::kClusterIp);
  server.masquerade = Masquerade::kOutsiders;
  server.vip = true;
  return server;
}

PlannedVirtualServer NodePort(const VirtualServerKey& key, Lines pods) {
  PlannedVirtualServer server = Server(key, std::move(pods), AddressKind::kNodePort);
  server.masquerade = Masquerade::kAlways;
  return server;
}

PlannedVirtualServer LoadBalancer(const VirtualServerKey& key, Lines pods) {
  PlannedVirtualServer server = Server(key, std::move(pods), AddressKind::kLoadBalancer);
  server.masquerade = Masquerade::kAlways;
  server.vip = true;
  return server;
}

PlannedVirtualServer Local(PlannedVirtualServer server, uint32_t mark) {
  const bool any = !server.real_servers.empty();
  std::erase_if(server.real_servers, [](const PlannedRealServer& real) { return !real.local; });
  if (any && server.real_servers.empty()) server.verdict = Verdict::kDrop;
  server.policy = TrafficPolicy::kLocal;
  server.masquerade = Masquerade::kNever;
  server.mark = mark;
  return server;
}

PlannedVirtualServer Internal(const VirtualServerKey& mark, Lines pods, ipvs::Protocol protocol) {
  PlannedVirtualServer server = Server(mark, std::move(pods), AddressKind::kInternal);
  server.protocol = protocol;
  return server;
}

PlannedVirtualServer From(PlannedVirtualServer server, const Lines& prefixes) {
  for (const std::string& prefix : prefixes) server.sources.push_back(Prefix(prefix));
  std::sort(server.sources.begin(), server.sources.end());
  return server;
}

std::shared_ptr<const ServicePlan> MakePlan(const std::string& name,
                                            std::vector<PlannedVirtualServer> servers) {
  auto plan = std::make_shared<ServicePlan>();
  plan->service = {"shop", name};
  plan->virtual_servers = std::move(servers);
  for (PlannedVirtualServer& server : plan->virtual_servers) server.service = plan->service;
  std::sort(plan->virtual_servers.begin(), plan->virtual_servers.end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  return plan;
}

DesiredState MakeDesired(const std::vector<std::shared_ptr<const ServicePlan>>& plans) {
  DesiredState desired;
  for (const auto& plan : plans) desired.Update(plan);
  return desired;
}

Lines Describe(MemoryKernel& kernel) {
  Lines lines = DescribeServers(kernel.table.Dump().value());
  for (const Element& element : kernel.firewall.elements()) {
    lines.push_back(absl::StrCat("element ", element.Format()));
  }
  for (const auto& [vip, route] : kernel.routes.routes()) lines.push_back(DescribeRoute(route));
  return lines;
}

Lines Describe(const DesiredState& desired, const std::vector<IpAddress>& sources) {
  Lines lines = DescribeServers(ToVirtualServers(desired));
  for (const Element& element : desired.Elements()) {
    lines.push_back(absl::StrCat("element ", element.Format()));
  }
  for (const IpAddress& vip : desired.Vips()) {
    VipRoute route{.vip = vip, .source = std::nullopt};
    for (const IpAddress& source : sources) {
      if (source.family() == vip.family()) route.source = source;
    }
    lines.push_back(DescribeRoute(route));
  }
  return lines;
}

Lines Reach(MemoryKernel& kernel, const VirtualServerKey& key, Sender sender,
            const IpAddress& source) {
  uint32_t mark = 0;
  bool let_in = false;
  std::set<SetName> sets;
  for (const Element& element : kernel.firewall.elements()) {
    if (element.address != key.address) continue;
    if (element.set == SetName::kGuarded) sets.insert(element.set);
    if (element.protocol != key.protocol || element.port != key.port) continue;
    sets.insert(element.set);
    if (element.set == SetName::kMark && sender == Sender::kInside) mark = element.mark;
    if (element.set == SetName::kAllowed && element.sources.Contains(source)) let_in = true;
  }
  if (sets.contains(SetName::kServed)) {
    mark = 0;
  } else {
    if (sets.contains(SetName::kLimited) && !let_in) return {"dropped"};
    if (sets.contains(SetName::kReject)) return {"refused"};
    if (mark == 0 && sets.contains(SetName::kDrop)) return {"dropped"};
    if (sets.contains(SetName::kGuarded) && !sets.contains(SetName::kOpen)) return {"closed"};
  }
  // IPVS falls back to the address where it has nothing for the mark.
  absl::StatusOr<ipvs::VirtualServer> server = absl::NotFoundError("no mark");
  if (mark != 0) server = kernel.table.Get(VirtualServerKey::ForMark(key.family, mark));
  if (!server.ok()) server = kernel.table.Get(key);
  if (!server.ok()) return {"not ours"};
  Lines endpoints;
  for (const ipvs::RealServer& real : server->real_servers) {
    if (real.config.weight > 0) endpoints.push_back(real.key.Format());
  }
  return endpoints.empty() ? Lines{"refused"} : endpoints;
}

Lines Violations(MemoryKernel& kernel, const std::set<VirtualServerKey>& foreign) {
  Lines lines;
  const std::set<Element>& elements = kernel.firewall.elements();
  for (const auto& [vip, route] : kernel.routes.routes()) {
    if (elements.contains({.set = SetName::kGuarded, .address = vip})) continue;
    lines.push_back(absl::StrCat("route ", vip.Format(), " without guard"));
  }
  std::set<VirtualServerKey> present;
  const std::vector<ipvs::VirtualServer> servers = kernel.table.Dump().value();
  for (const ipvs::VirtualServer& server : servers) {
    const VirtualServerKey& key = server.key;
    present.insert(key);
    if (foreign.contains(key)) continue;
    if (elements.contains(OwnedElement(key))) continue;
    lines.push_back(absl::StrCat(key.Format(), " without a record of ownership"));
  }
  for (const Element& element : elements) {
    VirtualServerKey needed;
    if (element.set == SetName::kServed || element.set == SetName::kOpen) {
      needed = VirtualServerKey::ForAddress(element.protocol, element.address, element.port);
    } else if (element.set == SetName::kMark) {
      needed = VirtualServerKey::ForMark(element.family(), element.mark);
    } else {
      continue;
    }
    if (present.contains(needed)) continue;
    lines.push_back(absl::StrCat(element.Format(), " without virtual server"));
  }
  return lines;
}

}  // namespace fairlead::testing
