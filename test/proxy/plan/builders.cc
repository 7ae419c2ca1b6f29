#include "test/proxy/plan/builders.h"

#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace fairlead::testing {
namespace {

template <typename T>
T ValueOrThrow(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::invalid_argument(value.status().ToString());
  return *std::move(value);
}

std::string OrDash(absl::string_view text) { return std::string(text.empty() ? "-" : text); }

// A virtual server for a mark says of which protocol its packets are.
std::string KeyText(const PlannedVirtualServer& server) {
  if (!server.key.is_mark()) return server.key.Format();
  return absl::StrFormat("0x%08x %s %s", server.key.firewall_mark, FormatFamily(server.key.family),
                         ipvs::FormatProtocol(server.protocol));
}

}  // namespace

IpAddress Address(absl::string_view text) { return ValueOrThrow(IpAddress::Parse(text)); }

IpPrefix Prefix(absl::string_view text) { return ValueOrThrow(IpPrefix::Parse(text)); }

Endpoint ParseEndpoint(absl::string_view text) {
  const std::vector<absl::string_view> words = absl::StrSplit(text, ' ');
  const std::pair<absl::string_view, absl::string_view> place =
      absl::StrSplit(words[0], absl::MaxSplits('@', 1));
  Endpoint endpoint;
  endpoint.address = Address(place.first);
  endpoint.node_name = std::string(place.second);
  endpoint.target_name = absl::StrCat("pod-", place.first);
  EndpointHints hints;
  for (size_t i = 1; i < words.size(); ++i) {
    absl::string_view word = words[i];
    if (word == "unready") {
      endpoint.ready = false;
    } else if (word == "not-serving") {
      endpoint.serving = false;
    } else if (word == "terminating") {
      endpoint.terminating = true;
    } else if (absl::ConsumePrefix(&word, "zone:")) {
      hints.zones.emplace_back(word);
    } else if (absl::ConsumePrefix(&word, "node:")) {
      hints.nodes.emplace_back(word);
    } else {
      throw std::invalid_argument(absl::StrCat("not a word of an endpoint: ", word));
    }
  }
  endpoint.hints = std::move(hints);
  return endpoint;
}

EndpointSlice MakeSlice(const std::string& name, const Lines& endpoints) {
  EndpointSlice slice;
  slice.name = {"shop", name};
  slice.service_name = "cart";
  slice.ports = {{"http", ipvs::Protocol::kTcp, 8080}};
  for (const std::string& text : endpoints) slice.endpoints.push_back(ParseEndpoint(text));
  if (!slice.endpoints.empty()) slice.family = slice.endpoints[0].address.family();
  return slice;
}

Snapshot::Slices MakeSlices(const std::vector<EndpointSlice>& slices) {
  Snapshot::Slices result;
  for (const EndpointSlice& slice : slices) {
    result[slice.name] = std::make_shared<EndpointSlice>(slice);
  }
  return result;
}

Service MakeService() {
  Service service;
  service.name = {"shop", "cart"};
  service.type = ServiceType::kNodePort;
  service.cluster_ips = {Address("10.96.0.1")};
  service.ports = {{"http", ipvs::Protocol::kTcp, 80, 30080}};
  return service;
}

NodeConfig MakeNode() {
  NodeConfig node;
  node.node_name = "n1";
  node.zone = "a";
  node.node_ips = {Address("192.168.1.1"), Address("fd00:1::1")};
  node.node_port_addresses = node.node_ips;
  node.pods.prefixes = {Prefix("10.244.0.0/16"), Prefix("fd00:244::/48")};
  node.schedulers = KnownSchedulers();
  return node;
}

ServicePlan MakePlan(const Service& service, const Snapshot::Slices& slices,
                     const NodeConfig& node) {
  MarkAllocator marks;
  marks.SetRange(node.marks);
  return PlanService(service, slices, node, marks.Assign(service.name, WantedMarks(service, node)));
}

Lines Describe(const std::vector<PortEndpoint>& endpoints) {
  Lines lines;
  for (const PortEndpoint& endpoint : endpoints) {
    lines.push_back(FormatAddressPort(endpoint.endpoint->address, endpoint.port));
  }
  return lines;
}

Lines Describe(const PlannedVirtualServer& server) {
  std::string first =
      absl::StrCat(server.service.Format(), " ", OrDash(server.port_name), ": ", KeyText(server),
                   " ", FormatAddressKind(server.kind), " ", FormatPolicy(server.policy), " ",
                   FormatVerdict(server.verdict), " ", FormatMasquerade(server.masquerade), " ",
                   server.config.scheduler);
  if (server.config.flags != 0 || server.config.persistence_timeout != absl::ZeroDuration()) {
    absl::StrAppend(&first,
                    server.config.flags == ipvs::kFlagPersistent
                        ? " persistent "
                        : absl::StrCat(" flags ", server.config.flags, " "),
                    absl::ToDoubleSeconds(server.config.persistence_timeout), "s");
  }
  const int address_bits = server.key.family == IpFamily::kIpv4 ? 32 : 128;
  if (server.config.persistence_prefix_length != address_bits) {
    absl::StrAppend(&first, " /", server.config.persistence_prefix_length);
  }
  if (server.vip != (server.kind == AddressKind::kClusterIp)) {
    absl::StrAppend(&first, server.vip ? " vip" : " no-vip");
  }
  if (server.mark != 0) absl::StrAppend(&first, absl::StrFormat(" mark 0x%08x", server.mark));
  for (const IpPrefix& sources : server.sources) {
    absl::StrAppend(&first, " from ", sources.Format());
  }
  Lines lines = {first};
  for (const PlannedRealServer& real : server.real_servers) {
    lines.push_back(absl::StrCat("  ", real.key.Format(), " weight ", real.config.weight, " ",
                                 ipvs::FormatForwardingMethod(real.config.forwarding), " ",
                                 FormatEndpointState(real.state),
                                 real.local ? " local " : " remote ", OrDash(real.node_name), " ",
                                 OrDash(real.zone), " ", OrDash(real.target_name)));
  }
  return lines;
}

Lines Describe(const ServicePlan& plan) {
  Lines lines;
  for (const PlannedVirtualServer& server : plan.virtual_servers) {
    for (std::string& line : Describe(server)) lines.push_back(std::move(line));
  }
  if (plan.health_check.port != 0) {
    std::string line = absl::StrCat("health check ", plan.health_check.port);
    for (const auto& [family, count] : plan.health_check.local_endpoints) {
      absl::StrAppend(&line, " ", FormatFamily(family), ":", count);
    }
    lines.push_back(std::move(line));
  }
  for (const std::string& warning : plan.warnings) lines.push_back(absl::StrCat("! ", warning));
  return lines;
}

}  // namespace fairlead::testing
