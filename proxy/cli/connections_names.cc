#include "proxy/cli/connections_names.h"

namespace fairlead {
namespace {

std::pair<std::string, std::pair<std::string, uint32_t>> PlaceOf(const std::string& protocol,
                                                                 const AddressPort& place) {
  return {protocol, {std::string(place.address.bytes()), place.port}};
}

bool SamePort(const v1::VirtualServer& a, const v1::VirtualServer& b) {
  return a.service_namespace() == b.service_namespace() && a.service_name() == b.service_name() &&
         a.port_name() == b.port_name();
}

}  // namespace

ConnectionNamer::ConnectionNamer(const std::vector<v1::VirtualServer>& servers) {
  for (const v1::VirtualServer& server : servers) {
    const std::string& protocol = v1::Protocol_Name(server.protocol());
    const bool is_mark = server.firewall_mark() != 0;
    if (!is_mark) servers_[{protocol, {server.address(), server.port()}}] = &server;
    for (const v1::RealServer& real : server.real_servers()) {
      const Place place = {protocol, {real.address(), real.port()}};
      const v1::RealServer*& known = reals_[place];
      if (known == nullptr || known->target_name().empty()) known = &real;
      if (!is_mark || server.service_name().empty()) continue;
      const auto [it, added] = marks_by_real_.try_emplace(place, &server);
      if (!added && it->second != nullptr && !SamePort(*it->second, server)) it->second = nullptr;
    }
  }
}

ConnectionNames ConnectionNamer::Find(const BalancedConnection& connection) const {
  ConnectionNames names;
  if (const v1::VirtualServer* server = FindServer(connection)) {
    names.service_namespace = server->service_namespace();
    names.service_name = server->service_name();
    names.port_name = server->port_name();
  }
  const auto real = reals_.find(PlaceOf(connection.protocol, connection.real_server));
  if (real != reals_.end()) {
    names.pod = real->second->target_name();
    names.node = real->second->node_name();
  }
  return names;
}

const v1::VirtualServer* ConnectionNamer::FindServer(const BalancedConnection& connection) const {
  const auto server = servers_.find(PlaceOf(connection.protocol, connection.virtual_server));
  if (server != servers_.end()) return server->second;
  const auto mark = marks_by_real_.find(PlaceOf(connection.protocol, connection.real_server));
  return mark == marks_by_real_.end() ? nullptr : mark->second;
}

}  // namespace fairlead
