#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proxy/cli/command.h"
#include "proxy/cli/inspect_client.h"
#include "proxy/cli/list_format.h"

namespace fairlead {
namespace {

struct ListFlags {
  std::string socket;
  std::string output = "text";
};

struct Listing {
  v1::StatusResponse status;
  std::vector<v1::VirtualServer> servers;
};

absl::StatusOr<Listing> AskAgent(const std::string& socket) {
  const auto stub = ConnectToAgent(socket);
  Listing listing;
  const auto status_context = AskContext();
  grpc::Status status = stub->Status(status_context.get(), {}, &listing.status);
  if (!status.ok()) return FromGrpc(status);
  const auto list_context = AskContext();
  auto reader = stub->List(list_context.get(), {});
  v1::VirtualServer server;
  while (reader->Read(&server)) listing.servers.push_back(server);
  status = reader->Finish();
  if (!status.ok()) return FromGrpc(status);
  return listing;
}

int List(const ListFlags& flags) {
  absl::StatusOr<Listing> listing = AskAgent(flags.socket);
  if (!listing.ok()) return FailToAsk("list", flags.socket, listing.status());
  if (flags.output == "json") {
    std::fputs(FormatListJson(listing->status, listing->servers).c_str(), stdout);
    return kExitOk;
  }
  std::fputs(FormatListText(listing->status, listing->servers).c_str(), stdout);
  if (!listing->status.complete()) {
    std::fputs("fairlead list: the agent waits for its first complete picture\n", stderr);
  }
  const std::string feed = DescribeStaleFeed(listing->status.feed(), absl::Now());
  if (!feed.empty()) std::fprintf(stderr, "fairlead list: %s\n", feed.c_str());
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
