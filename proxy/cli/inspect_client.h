// A connection to the running agent, for the commands that ask it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fairlead/v1/inspect.grpc.pb.h"

namespace fairlead {

std::unique_ptr<v1::Inspect::Stub> ConnectToAgent(const std::string& socket);

// A context whose deadline is that of an agent that is well.
std::unique_ptr<grpc::ClientContext> AskContext();

absl::Status FromGrpc(const grpc::Status& status);

// What the agent has in the kernel, and how far it is.
struct Listing {
  v1::StatusResponse status;
  std::vector<v1::VirtualServer> servers;
};

// FAILED_PRECONDITION where statistics are asked for of an agent that is too old to give them.
absl::StatusOr<Listing> AskForListing(const std::string& socket, const v1::ListRequest& request);

// Tells on stderr, for `fairlead COMMAND`, why what the kernel has may not be what is wanted: the
// agent waits, its feed is stale, or something could not be written.
void TellReservations(const char* command, const v1::StatusResponse& status);

// Tells on stderr why `fairlead COMMAND` got no answer; the result is the exit code.
int FailToAsk(const char* command, const std::string& socket, const absl::Status& status);

}  // namespace fairlead
