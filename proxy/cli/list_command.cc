#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proxy/cli/command.h"
#include "proxy/cli/inspect_client.h"
#include "proxy/cli/list_format.h"
#include "proxy/cli/output.h"
#include "proxy/cli/select_flags.h"
#include "proxy/cli/table.h"

namespace fairlead {
namespace {

struct ListFlags {
  std::string socket = kDefaultSocket;
  OutputFlags output;
  SelectFlags select;
};

std::string Format(Output output, const Listing& listing) {
  switch (output) {
    case Output::kText:
      return FormatListText(listing.status, listing.servers);
    case Output::kWide:
      return FormatListWide(listing.servers, StdoutWantsColor());
    case Output::kIpvsadm:
      return FormatListIpvsadm(listing.servers);
    case Output::kJson:
    case Output::kYaml:
      break;
  }
  return FormatListDocument(listing.status, listing.servers, output);
}

int List(const ListFlags& flags) {
  const absl::StatusOr<Selection> selection = Selection::Make(flags.select);
  if (!selection.ok()) return FailUsage("list", selection.status());
  v1::ListRequest request;
  *request.mutable_groups() = selection->groups();
  const absl::StatusOr<Listing> listing = AskForListing(flags.socket, request);
  if (!listing.ok()) return FailToAsk("list", flags.socket, listing.status());
  std::fputs(Format(flags.output.output(), *listing).c_str(), stdout);
  TellReservations("list", listing->status);
  return TellComplaints("list", selection->Complain(selection->FindIn(listing->servers)));
}

}  // namespace

void AddListCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "list", "Show the running agent's table as `ipvsadm -L -n` does, with names");
  auto flags = std::make_shared<ListFlags>();
  AddSelectFlags(*command, flags->select);
  AddOutputFlags(*command, {"text", "wide", "json", "yaml", "ipvsadm"}, flags->output);
  command->add_option("--socket", flags->socket, "The agent's Unix socket")->capture_default_str();
  command->callback([flags, &run] { run = [flags] { return List(*flags); }; });
}

}  // namespace fairlead
