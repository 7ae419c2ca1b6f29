#include "proxy/metrics/traffic.h"

#include <algorithm>
#include <array>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/metrics/exposition.h"

namespace fairlead {

Traffic::Counters Traffic::Read(const ipvs::Statistics& statistics) {
  return {.connections = statistics.connections,
          .packets_in = statistics.packets_in,
          .packets_out = statistics.packets_out,
          .bytes_in = statistics.bytes_in,
          .bytes_out = statistics.bytes_out};
}

void Traffic::GoOn(Counters& total, Counters& last, const Counters& now) {
  constexpr std::array kFields = {&Counters::connections, &Counters::packets_in,
                                  &Counters::packets_out, &Counters::bytes_in,
                                  &Counters::bytes_out};
  // Made anew where any has fallen: then none of them goes on from where it was.
  const bool anew = std::any_of(kFields.begin(), kFields.end(), [&](uint64_t Counters::*field) {
    return now.*field < last.*field;
  });
  for (uint64_t Counters::*field : kFields) {
    total.*field += now.*field - (anew ? 0 : last.*field);
  }
  last = now;
}

void Traffic::Learn(const ServiceNames::Changes& changes) {
  for (const auto& [key, plan] : changes) {
    const auto it = servers_.find(key);
    if (plan == nullptr) {
      // It may go on in the kernel until it has drained.
      if (it != servers_.end()) it->second.wanted = false;
      continue;
    }
    const auto port = ports_.try_emplace({plan->service, plan->port_name, plan->protocol}).first;
    ++port->second.servers;
    if (it == servers_.end()) {
      servers_.emplace(key, Server{.plan = plan, .port = port});
      continue;
    }
    Release(std::exchange(it->second.port, port));
    it->second.plan = plan;
    it->second.wanted = true;
  }
}

void Traffic::Release(Ports::iterator port) {
  if (--port->second.servers == 0) ports_.erase(port);
}

bool Traffic::MayBeUsed(const ipvs::VirtualServer& found) const {
  const auto it = servers_.find(found.key);
  return it != servers_.end() &&
         (Read(found.statistics).any() || it->second.port->second.numbers.used());
}

void Traffic::Count(const std::vector<ipvs::VirtualServer>& table) {
  ++reading_;
  for (auto& [key, port] : ports_) {
    port.numbers.active = port.numbers.inactive = 0;
    for (auto& [real, endpoint] : port.endpoints) {
      endpoint.numbers.active = endpoint.numbers.inactive = 0;
    }
  }
  for (const ipvs::VirtualServer& found : table) {
    const auto it = servers_.find(found.key);
    if (it == servers_.end()) continue;
    Server& server = it->second;
    server.seen = reading_;
    Numbers& numbers = server.port->second.numbers;
    GoOn(numbers.total, server.last, Read(found.statistics));
    for (const ipvs::RealServer& real : found.real_servers) {
      numbers.active += real.active_connections;
      numbers.inactive += real.inactive_connections;
    }
    if (detail_ == MetricsDetail::kEndpoint) CountEndpoints(server, found);
  }
  for (auto it = servers_.begin(); it != servers_.end();) {
    Server& server = it->second;
    if (server.seen == reading_) {
      ++it;
      continue;
    }
    server.last = {};
    server.real_servers.clear();
    if (server.wanted) {
      ++it;
      continue;
    }
    Release(server.port);
    servers_.erase(it++);
  }
  for (auto& [key, port] : ports_) {
    std::erase_if(port.endpoints,
                  [this](const auto& entry) { return entry.second.seen != reading_; });
  }
}

void Traffic::Prune() {
  for (auto it = servers_.begin(); it != servers_.end();) {
    const auto server = it++;
    if (server->second.wanted) continue;
    Release(server->second.port);
    servers_.erase(server);
  }
}

void Traffic::CountEndpoints(Server& server, const ipvs::VirtualServer& found) {
  absl::flat_hash_map<ipvs::RealServerKey, Counters> real_servers;
  auto& endpoints = server.port->second.endpoints;
  for (const ipvs::RealServer& real : found.real_servers) {
    const Counters now = Read(real.statistics);
    const bool idle = !now.any() && real.active_connections + real.inactive_connections == 0;
    // Most have never had a packet: nothing is kept of those.
    if (idle && !endpoints.contains(real.key)) continue;
    Counters& last = real_servers[real.key];
    if (const auto it = server.real_servers.find(real.key); it != server.real_servers.end()) {
      last = it->second;
    }
    Endpoint& endpoint = endpoints[real.key];
    endpoint.seen = reading_;
    endpoint.numbers.active += real.active_connections;
    endpoint.numbers.inactive += real.inactive_connections;
    GoOn(endpoint.numbers.total, last, now);
    const auto& planned = server.plan->real_servers;
    const auto it =
        std::lower_bound(planned.begin(), planned.end(), real.key,
                         [](const PlannedRealServer& entry, const ipvs::RealServerKey& key) {
                           return entry.key < key;
                         });
    // One that drains keeps the name that it had.
    if (it != planned.end() && it->key == real.key) endpoint.pod = it->target_name;
  }
  server.real_servers = std::move(real_servers);
}

void Traffic::AppendFamilies(std::string& out, absl::string_view subject,
                             const std::vector<std::pair<std::string, const Numbers*>>& series) {
  struct Family {
    absl::string_view name;
    absl::string_view help;
    // Of `out` and of none: the family has no direction.
    uint64_t Counters::*in;
    uint64_t Counters::*out = nullptr;
  };
  constexpr Family kFamilies[] = {
      {"connections_total", "Connections that were balanced.", &Counters::connections},
      {"packets_total", "Packets that were balanced, by direction: in is from clients.",
       &Counters::packets_in, &Counters::packets_out},
      {"bytes_total", "Bytes of those packets, headers of IP included, by direction.",
       &Counters::bytes_in, &Counters::bytes_out},
  };
  for (const Family& family : kFamilies) {
    const std::string name = absl::StrCat("fairlead_", subject, "_", family.name);
    AppendFamily(out, name, MetricType::kCounter, family.help);
    for (const auto& [labels, numbers] : series) {
      if (family.out == nullptr) {
        AppendSeries(out, name, labels, numbers->total.*family.in);
        continue;
      }
      const absl::string_view open = absl::string_view(labels).substr(0, labels.size() - 1);
      AppendSeries(out, name, absl::StrCat(open, ",direction=\"in\"}"), numbers->total.*family.in);
      AppendSeries(out, name, absl::StrCat(open, ",direction=\"out\"}"),
                   numbers->total.*family.out);
    }
  }
  const auto gauge = [&](absl::string_view suffix, absl::string_view help,
                         uint64_t Numbers::*field) {
    const std::string name = absl::StrCat("fairlead_", subject, "_", suffix);
    AppendFamily(out, name, MetricType::kGauge, help);
    for (const auto& [labels, numbers] : series) AppendSeries(out, name, labels, numbers->*field);
  };
  gauge("active_connections", "Connections that are established.", &Numbers::active);
  gauge("inactive_connections", "Connections in any other state, and flows of UDP.",
        &Numbers::inactive);
}

void Traffic::Append(std::string& out) const {
  if (detail_ == MetricsDetail::kNone) return;
  std::vector<std::pair<std::string, const Numbers*>> series;
  for (const auto& [key, port] : ports_) {
    if (!port.numbers.used()) continue;
    series.emplace_back(FormatLabels({{"service_namespace", key.service.name_space},
                                      {"service_name", key.service.name},
                                      {"service_port", key.port},
                                      {"protocol", ipvs::FormatProtocol(key.protocol)}}),
                        &port.numbers);
  }
  AppendFamilies(out, "service", series);
  if (detail_ != MetricsDetail::kEndpoint) return;
  series.clear();
  for (const auto& [key, port] : ports_) {
    for (const auto& [real, endpoint] : port.endpoints) {
      if (!endpoint.numbers.used()) continue;
      series.emplace_back(FormatLabels({{"service_namespace", key.service.name_space},
                                        {"service_name", key.service.name},
                                        {"service_port", key.port},
                                        {"protocol", ipvs::FormatProtocol(key.protocol)},
                                        {"endpoint_address", real.Format()},
                                        {"endpoint_pod", endpoint.pod}}),
                          &endpoint.numbers);
    }
  }
  AppendFamilies(out, "endpoint", series);
}

void Traffic::AppendNoLocalEndpoints(std::string& out) const {
  // A port with several addresses counts once.
  std::set<std::tuple<bool, IpFamily, const Port*>> lacking;
  for (const auto& [key, server] : servers_) {
    const PlannedVirtualServer& plan = *server.plan;
    if (!server.wanted || plan.verdict != Verdict::kDrop || plan.policy != TrafficPolicy::kLocal) {
      continue;
    }
    lacking.emplace(plan.kind == AddressKind::kClusterIp, key.family, &server.port->second);
  }
  constexpr char kName[] = "kubeproxy_sync_proxy_rules_no_local_endpoints_total";
  AppendFamily(out, kName, MetricType::kGauge,
               "Ports of Services with traffic policy Local and endpoints on other nodes only.");
  for (const bool internal : {true, false}) {
    for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
      const auto count = std::count_if(lacking.begin(), lacking.end(), [&](const auto& entry) {
        return std::get<0>(entry) == internal && std::get<1>(entry) == family;
      });
      AppendSeries(out, kName,
                   FormatLabels({{"traffic_policy", internal ? "internal" : "external"},
                                 {"ip_family", family == IpFamily::kIpv4 ? "IPv4" : "IPv6"}}),
                   static_cast<uint64_t>(count));
    }
  }
}

}  // namespace fairlead
