#include "proxy/cli/inspect_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proxy/cli/command.h"
#include "proxy/cli/list_format.h"
#include "proxy/cli/select.h"

namespace fairlead {
namespace {

// An agent that has not answered by then is not well.
constexpr std::chrono::seconds kAnswerWithin{30};

}  // namespace

std::unique_ptr<v1::Inspect::Stub> ConnectToAgent(const std::string& socket) {
  return v1::Inspect::NewStub(
      grpc::CreateChannel(absl::StrCat("unix:", socket), grpc::InsecureChannelCredentials()));
}

std::unique_ptr<grpc::ClientContext> AskContext() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kAnswerWithin);
  return context;
}

absl::Status FromGrpc(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

absl::StatusOr<Listing> AskForListing(const std::string& socket, const v1::ListRequest& request) {
  const auto stub = ConnectToAgent(socket);
  Listing listing;
  const auto status_context = AskContext();
  grpc::Status status = stub->Status(status_context.get(), {}, &listing.status);
  if (!status.ok()) return FromGrpc(status);
  const auto list_context = AskContext();
  const auto reader = stub->List(list_context.get(), request);
  v1::VirtualServer server;
  while (reader->Read(&server)) {
    // An agent of before an upgrade gives them all.
    if (IsSelected(request.groups(), server)) listing.servers.push_back(server);
  }
  status = reader->Finish();
  if (!status.ok()) return FromGrpc(status);
  if (request.statistics() && !listing.servers.empty() && !listing.servers[0].has_statistics()) {
    return absl::FailedPreconditionError(absl::StrCat("version ", listing.status.version(),
                                                      " gives no statistics: restart the agent"));
  }
  return listing;
}

void TellReservations(const char* command, const v1::StatusResponse& status) {
  if (!status.complete()) {
    std::fprintf(stderr, "fairlead %s: the agent waits for its first complete picture\n", command);
  }
  const std::string feed = DescribeStaleFeed(status.feed(), absl::Now());
  if (!feed.empty()) std::fprintf(stderr, "fairlead %s: %s\n", command, feed.c_str());
  for (const v1::Problem& failure : status.failures()) {
    std::fprintf(stderr, "fairlead %s: not in the kernel, will be tried again: %s: %s\n", command,
                 failure.object().c_str(), failure.message().c_str());
  }
}

int FailToAsk(const char* command, const std::string& socket, const absl::Status& status) {
  if (absl::IsUnavailable(status)) {
    std::fprintf(stderr, "fairlead %s: no agent answers at %s: %s\n", command, socket.c_str(),
                 std::string(status.message()).c_str());
  } else {
    std::fprintf(stderr, "fairlead %s: the agent at %s: %s\n", command, socket.c_str(),
                 status.ToString().c_str());
  }
  return absl::IsInvalidArgument(status) ? kExitUsage : kExitFailure;
}

}  // namespace fairlead
