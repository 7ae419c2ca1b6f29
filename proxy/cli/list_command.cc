#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "fairlead/v1/inspect.grpc.pb.h"
#include "proxy/cli/command.h"
#include "proxy/cli/list_format.h"

namespace fairlead {
namespace {

// An agent that has not answered by then is not well.
constexpr std::chrono::seconds kAnswerWithin{30};

struct ListFlags {
  std::string socket;
  std::string output = "text";
};

absl::Status FromGrpc(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

struct Listing {
  v1::StatusResponse status;
  std::vector<v1::VirtualServer> servers;
};

absl::StatusOr<Listing> AskAgent(const std::string& socket) {
  auto channel =
      grpc::CreateChannel(absl::StrCat("unix:", socket), grpc::InsecureChannelCredentials());
  auto stub = v1::Inspect::NewStub(channel);
  const auto deadline = std::chrono::system_clock::now() + kAnswerWithin;
  Listing listing;
  grpc::ClientContext status_context;
  status_context.set_deadline(deadline);
  grpc::Status status = stub->Status(&status_context, {}, &listing.status);
  if (!status.ok()) return FromGrpc(status);
  grpc::ClientContext list_context;
  list_context.set_deadline(deadline);
  auto reader = stub->List(&list_context, {});
  v1::VirtualServer server;
  while (reader->Read(&server)) listing.servers.push_back(server);
  status = reader->Finish();
  if (!status.ok()) return FromGrpc(status);
  return listing;
}

int List(const ListFlags& flags) {
  absl::StatusOr<Listing> listing = AskAgent(flags.socket);
  if (!listing.ok()) {
    if (absl::IsUnavailable(listing.status())) {
      std::fprintf(stderr, "fairlead list: no agent answers at %s: %s\n", flags.socket.c_str(),
                   std::string(listing.status().message()).c_str());
    } else {
      std::fprintf(stderr, "fairlead list: the agent at %s: %s\n", flags.socket.c_str(),
                   listing.status().ToString().c_str());
    }
    return kExitFailure;
  }
  if (flags.output == "json") {
    std::fputs(FormatListJson(listing->status, listing->servers).c_str(), stdout);
    return kExitOk;
  }
  std::fputs(FormatListText(listing->status, listing->servers).c_str(), stdout);
  if (!listing->status.complete()) {
    std::fputs("fairlead list: the agent waits for its first complete picture\n", stderr);
  }
  for (const v1::Problem& failure : listing->status.failures()) {
    std::fprintf(stderr, "fairlead list: not in the kernel, will be tried again: %s: %s\n",
                 failure.object().c_str(), failure.message().c_str());
  }
  return kExitOk;
}

}  // namespace

void AddListCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "list", "Show the running agent's table as `ipvsadm -L -n` does, with names");
  auto flags = std::make_shared<ListFlags>();
  flags->socket = kDefaultSocket;
  command->add_option("--socket", flags->socket, "The agent's Unix socket")->capture_default_str();
  command->add_option("-o,--output", flags->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command->callback([flags, &run] { run = [flags] { return List(*flags); }; });
}

}  // namespace fairlead
