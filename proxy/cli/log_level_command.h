// `log-level`, for each role that has a log to speak of.
#pragma once

#include <grpcpp/support/status.h>

#include <functional>
#include <string>

#include "fairlead/v1/inspect.pb.h"
#include "proxy/cli/command.h"

namespace fairlead {

// Whose log it is.
struct LogOwner {
  std::string command;  // "log-level", "watcher log-level": as messages name it.
  std::string role;     // "agent", "watcher"
  std::string socket;   // Where it answers by default.
  // Asks the one that answers at the socket.
  std::function<grpc::Status(const std::string& socket, const v1::LogLevelRequest& request,
                             v1::LogLevelResponse* response)>
      ask;
};

// Adds `log-level` to the commands of `parent`.
void AddLogLevelCommand(CLI::App& parent, Run& run, LogOwner owner);

}  // namespace fairlead
