#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "proxy/cli/command.h"
#include "proxy/cli/drain_format.h"
#include "proxy/cli/drain_select.h"
#include "proxy/cli/inspect_client.h"

namespace fairlead {
namespace {

// A message of gRPC's has at most 4 MiB.
constexpr int kMaxEndpointsPerRequest = 10'000;

struct DrainFlags {
  std::string socket = kDefaultSocket;
  std::string output = "text";
  std::vector<std::string> filters;
  std::string virtual_server;
  bool now = false;
  bool all = false;
};

int FailUsage(const char* message) {
  std::fprintf(stderr, "fairlead drain: %s\n", message);
  return kExitUsage;
}

absl::StatusOr<std::vector<v1::Drain>> AskAgent(v1::Inspect::Stub& stub,
                                                const DrainSelection& selection) {
  const auto context = AskContext();
  const auto reader = stub.Drains(context.get(), {});
  std::vector<v1::Drain> drains;
  v1::Drain drain;
  while (reader->Read(&drain)) {
    if (IsSelected(selection, drain)) drains.push_back(drain);
  }
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return FromGrpc(status);
  return drains;
}

// How many there still were.
absl::StatusOr<size_t> EndThem(v1::Inspect::Stub& stub, const std::vector<v1::Drain>& drains) {
  size_t ended = 0;
  for (size_t first = 0; first < drains.size(); first += kMaxEndpointsPerRequest) {
    v1::EndDrainsRequest request;
    const size_t end = std::min(drains.size(), first + kMaxEndpointsPerRequest);
    for (size_t i = first; i < end; ++i) *request.add_endpoints() = drains[i].key();
    v1::EndDrainsResponse response;
    const auto context = AskContext();
    const grpc::Status status = stub.EndDrains(context.get(), request, &response);
    if (!status.ok()) return FromGrpc(status);
    ended += response.ended();
  }
  return ended;
}

void Print(const DrainFlags& flags, const std::vector<v1::Drain>& drains) {
  const std::string text =
      flags.output == "json"
          ? FormatDrainsJson(drains)
          : FormatDrainsText(drains, absl::Now(), /*wide=*/flags.output == "wide");
  std::fputs(text.c_str(), stdout);
}

int End(const DrainFlags& flags, v1::Inspect::Stub& stub, const std::vector<v1::Drain>& drains) {
  if (drains.empty()) {
    std::vector<std::string> filters = flags.filters;
    if (!flags.virtual_server.empty()) filters.push_back(flags.virtual_server);
    std::fprintf(stderr, "fairlead drain: nothing drains%s%s\n", filters.empty() ? "" : " that is ",
                 absl::StrJoin(filters, " and ").c_str());
    return kExitFailure;
  }
  const absl::StatusOr<size_t> ended = EndThem(stub, drains);
  if (!ended.ok()) return FailToAsk("drain", flags.socket, ended.status());
  if (flags.output == "json") {
    std::fputs(FormatDrainsJson(drains).c_str(), stdout);
  } else {
    for (const v1::Drain& drain : drains) {
      std::printf("ended: %s\n", FormatDrain(drain).c_str());
    }
  }
  if (*ended < drains.size()) {
    std::fprintf(stderr, "fairlead drain: %zu of them had ended by themselves\n",
                 drains.size() - *ended);
  }
  return kExitOk;
}

int Drain(const DrainFlags& flags) {
  DrainSelection selection;
  for (const std::string& filter : flags.filters) {
    const absl::Status added = AddToSelection(filter, selection);
    if (!added.ok()) return FailUsage(std::string(added.message()).c_str());
  }
  if (!flags.virtual_server.empty()) {
    const absl::Status selected = SelectVirtualServer(flags.virtual_server, selection);
    if (!selected.ok()) {
      return FailUsage(absl::StrCat("--virtual-server: ", selected.message()).c_str());
    }
  }
  if (flags.now && selection.empty() && !flags.all) {
    return FailUsage("--now: say which endpoint or Service, or --all");
  }
  if (flags.all && (!flags.now || !selection.empty())) {
    return FailUsage("--all: is for --now without a filter");
  }
  const auto stub = ConnectToAgent(flags.socket);
  const absl::StatusOr<std::vector<v1::Drain>> drains = AskAgent(*stub, selection);
  if (!drains.ok()) return FailToAsk("drain", flags.socket, drains.status());
  if (flags.now) return End(flags, *stub, *drains);
  Print(flags, *drains);
  return kExitOk;
}

}  // namespace

void AddDrainCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "drain", "Show the endpoints that drain, with their connections, or end drains");
  auto flags = std::make_shared<DrainFlags>();
  command->add_option("filter", flags->filters,
                      "Only those of a Service (shop/cart), or with an address, theirs or their "
                      "virtual server's (10.244.1.2, 10.244.1.2:8080, [fd00::1]:80); of several "
                      "all have to fit");
  command->add_option(
      "--virtual-server", flags->virtual_server,
      "Only those of the virtual server: 10.96.0.1:80, 10.96.0.1:80/udp, \"FWM 7\"");
  command->add_flag("--now", flags->now,
                    "End the drains that the filters choose: the endpoints are deleted, with the "
                    "connections that they still have");
  command->add_flag("--all", flags->all, "With --now and no filter: all of them");
  command->add_option("--socket", flags->socket, "The agent's Unix socket")->capture_default_str();
  command->add_option("-o,--output", flags->output, "text, wide or json")
      ->check(CLI::IsMember({"text", "wide", "json"}))
      ->capture_default_str();
  command->footer(
      "Exits with 1 where no agent answers, and where there is nothing that --now could end.");
  command->callback([flags, &run] { run = [flags] { return Drain(*flags); }; });
}

}  // namespace fairlead
