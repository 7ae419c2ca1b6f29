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

VirtualServerKey Tcp(absl::string_view address, uint16_t port) {
  return VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, Address(address), port);
}

VirtualServerKey Udp(absl::string_view address, uint16_t port) {
  return VirtualServerKey::ForAddress(ipvs::Protocol::kUdp, Address(address), port);
}

ipvs::RealServerKey Pod(absl::string_view address) { return {Address(address), 8080}; }

PlannedVirtualServer Vip(const VirtualServerKey& key, Lines pods) {
  PlannedVirtualServer server = Server(key, std::move(pods), AddressKind::kClusterIp);
  server.masquerade = Masquerade::kOutsiders;
  return server;
}

PlannedVirtualServer NodePort(const VirtualServerKey& key, Lines pods) {
  PlannedVirtualServer server = Server(key, std::move(pods), AddressKind::kNodePort);
  server.masquerade = Masquerade::kAlways;
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
    if (elements.contains({SetName::kOwned, key.address, key.protocol, key.port})) continue;
    lines.push_back(absl::StrCat(key.Format(), " without a record of ownership"));
  }
  for (const Element& element : elements) {
    if (element.set != SetName::kOpen) continue;
    if (present.contains(
            VirtualServerKey::ForAddress(element.protocol, element.address, element.port))) {
      continue;
    }
    lines.push_back(absl::StrCat(element.Format(), " without virtual server"));
  }
  return lines;
}

}  // namespace fairlead::testing
