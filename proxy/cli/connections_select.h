// Which of the balanced connections are meant.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "fairlead/v1/inspect.pb.h"
#include "ipvs/ip_address.h"
#include "proxy/cli/connections_names.h"
#include "proxy/cli/connections_read.h"
#include "proxy/cli/select_flags.h"

namespace fairlead {

// What a connection's client and state have to be; of several one.
struct ClientFlags {
  std::vector<std::string> clients;
  std::vector<std::string> states;
};

// Chooses connections as Selection chooses virtual servers, and by client and state.
// Thread-compatible.
class ConnectionSelection {
 public:
  // INVALID_ARGUMENT names the argument that is not understood.
  static absl::StatusOr<ConnectionSelection> Make(const SelectFlags& flags,
                                                  const ClientFlags& client);

  // Some argument is the name of something, for which the agent's table is needed.
  bool NeedsNames() const;

  // Remembers which arguments fit a connection.
  bool Takes(const BalancedConnection& connection, const ConnectionNames& names);

  // Which arguments have fitted neither a connection nor one of the agent's virtual servers: a
  // Service without connections is there all the same.
  std::vector<std::string> Complain(const std::vector<v1::VirtualServer>& servers) const;

 private:
  struct Client {
    IpAddress address;
    uint16_t port = 0;  // 0: any.
  };

  explicit ConnectionSelection(Selection selection) : selection_(std::move(selection)) {}

  Selection selection_;
  std::vector<std::vector<bool>> found_;
  std::vector<Client> clients_;
  std::vector<std::string> states_;
};

}  // namespace fairlead
