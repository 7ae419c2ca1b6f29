#include "ipvs/table.h"

#include "absl/strings/str_cat.h"

namespace fairlead::ipvs {

absl::string_view FormatVerb(Verb verb) {
  switch (verb) {
    case Verb::kAddVirtualServer:
      return "add virtual server";
    case Verb::kEditVirtualServer:
      return "edit virtual server";
    case Verb::kDeleteVirtualServer:
      return "delete virtual server";
    case Verb::kAddRealServer:
      return "add real server";
    case Verb::kEditRealServer:
      return "edit real server";
    case Verb::kDeleteRealServer:
      return "delete real server";
  }
  return "unknown verb";
}

Operation Operation::AddVirtualServer(const VirtualServerKey& key,
                                      const VirtualServerConfig& config) {
  Operation operation;
  operation.verb = Verb::kAddVirtualServer;
  operation.virtual_server = key;
  operation.virtual_config = config;
  return operation;
}

Operation Operation::EditVirtualServer(const VirtualServerKey& key,
                                       const VirtualServerConfig& config) {
  Operation operation = AddVirtualServer(key, config);
  operation.verb = Verb::kEditVirtualServer;
  return operation;
}

Operation Operation::DeleteVirtualServer(const VirtualServerKey& key) {
  Operation operation;
  operation.verb = Verb::kDeleteVirtualServer;
  operation.virtual_server = key;
  return operation;
}

Operation Operation::AddRealServer(const VirtualServerKey& key, const RealServerKey& real_server,
                                   const RealServerConfig& config) {
  Operation operation;
  operation.verb = Verb::kAddRealServer;
  operation.virtual_server = key;
  operation.real_server = real_server;
  operation.real_config = config;
  return operation;
}

Operation Operation::EditRealServer(const VirtualServerKey& key, const RealServerKey& real_server,
                                    const RealServerConfig& config) {
  Operation operation = AddRealServer(key, real_server, config);
  operation.verb = Verb::kEditRealServer;
  return operation;
}

Operation Operation::DeleteRealServer(const VirtualServerKey& key,
                                      const RealServerKey& real_server) {
  Operation operation;
  operation.verb = Verb::kDeleteRealServer;
  operation.virtual_server = key;
  operation.real_server = real_server;
  return operation;
}

std::string Operation::Format() const {
  switch (verb) {
    case Verb::kAddVirtualServer:
    case Verb::kEditVirtualServer:
    case Verb::kDeleteVirtualServer:
      return absl::StrCat(FormatVerb(verb), " ", virtual_server.Format());
    case Verb::kAddRealServer:
      return absl::StrCat(FormatVerb(verb), " ", real_server.Format(), " to ",
                          virtual_server.Format());
    case Verb::kEditRealServer:
      return absl::StrCat(FormatVerb(verb), " ", real_server.Format(), " of ",
                          virtual_server.Format());
    case Verb::kDeleteRealServer:
      return absl::StrCat(FormatVerb(verb), " ", real_server.Format(), " from ",
                          virtual_server.Format());
  }
  return std::string(FormatVerb(verb));
}

absl::StatusOr<std::vector<VirtualServer>> Table::DumpWhere(
    absl::FunctionRef<bool(const VirtualServer&)> whole) {
  absl::StatusOr<std::vector<VirtualServer>> servers = Dump();
  if (!servers.ok()) return servers;
  for (VirtualServer& server : *servers) {
    if (!whole(server)) server.real_servers.clear();
  }
  return servers;
}

}  // namespace fairlead::ipvs
