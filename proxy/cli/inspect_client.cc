#include "proxy/cli/inspect_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "proxy/cli/command.h"

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
