// A connection to the running agent, for the commands that ask it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "fairlead/v1/inspect.grpc.pb.h"

namespace fairlead {

std::unique_ptr<v1::Inspect::Stub> ConnectToAgent(const std::string& socket);

// A context whose deadline is that of an agent that is well.
std::unique_ptr<grpc::ClientContext> AskContext();

absl::Status FromGrpc(const grpc::Status& status);

// Tells on stderr why `fairlead COMMAND` got no answer; the result is the exit code.
int FailToAsk(const char* command, const std::string& socket, const absl::Status& status);

}  // namespace fairlead
