// Whose a connection is: the Service of its virtual server, the Pod of its real server.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "fairlead/v1/inspect.pb.h"
#include "proxy/cli/connections_read.h"

namespace fairlead {

// Each is empty where it is not known.
struct ConnectionNames {
  std::string service_namespace;
  std::string service_name;
  std::string port_name;
  std::string pod;
  std::string node;

  friend bool operator==(const ConnectionNames&, const ConnectionNames&) = default;
};

// Finds names in an agent's table. Immutable.
class ConnectionNamer {
 public:
  // `servers` outlives it.
  explicit ConnectionNamer(const std::vector<v1::VirtualServer>& servers);

  // A connection that a mark has chosen has the packet's address, for which there need be no
  // virtual server: then it is of the Service whose marks have that real server, if there is one
  // only.
  ConnectionNames Find(const BalancedConnection& connection) const;

 private:
  // Protocol, address in bytes, port.
  using Place = std::pair<std::string, std::pair<std::string, uint32_t>>;

  const v1::VirtualServer* FindServer(const BalancedConnection& connection) const;

  absl::flat_hash_map<Place, const v1::VirtualServer*> servers_;
  absl::flat_hash_map<Place, const v1::RealServer*> reals_;
  // nullptr: of several Services.
  absl::flat_hash_map<Place, const v1::VirtualServer*> marks_by_real_;
};

}  // namespace fairlead
