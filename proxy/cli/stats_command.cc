// `fairlead stats` and `fairlead rates`.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proxy/cli/command.h"
#include "proxy/cli/inspect_client.h"
#include "proxy/cli/output.h"
#include "proxy/cli/select_flags.h"
#include "proxy/cli/stats_format.h"
#include "proxy/cli/table.h"

namespace fairlead {
namespace {

struct StatsFlags {
  const char* command = "";
  Counting counting = Counting::kTotals;
  std::string socket = kDefaultSocket;
  bool exact = false;
  OutputFlags output;
  SelectFlags select;
};

std::string Format(const StatsFlags& flags, const Listing& listing) {
  const Output output = flags.output.output();
  if (output == Output::kText) {
    return FormatStatsText(listing.status, listing.servers, flags.counting, flags.exact);
  }
  if (output == Output::kWide) {
    return FormatStatsWide(listing.servers, flags.counting, flags.exact, StdoutWantsColor());
  }
  return FormatStatsDocument(listing.status, listing.servers, flags.counting, output);
}

int Stats(const StatsFlags& flags) {
  const absl::StatusOr<Selection> selection = Selection::Make(flags.select);
  if (!selection.ok()) return FailUsage(flags.command, selection.status());
  v1::ListRequest request;
  request.set_statistics(true);
  *request.mutable_groups() = selection->groups();
  const absl::StatusOr<Listing> listing = AskForListing(flags.socket, request);
  if (!listing.ok()) return FailToAsk(flags.command, flags.socket, listing.status());
  std::fputs(Format(flags, *listing).c_str(), stdout);
  TellReservations(flags.command, listing->status);
  if (const std::string missing = DescribeMissingRates(listing->status);
      flags.counting == Counting::kRates && !missing.empty()) {
    std::fprintf(stderr, "fairlead %s: %s\n", flags.command, missing.c_str());
  }
  return TellComplaints(flags.command, selection->Complain(selection->FindIn(listing->servers)));
}

void AddCommand(CLI::App& app, Run& run, const StatsFlags& defaults, const char* what) {
  CLI::App* command = app.add_subcommand(defaults.command, what);
  auto flags = std::make_shared<StatsFlags>(defaults);
  AddSelectFlags(*command, flags->select);
  AddOutputFlags(*command, {"text", "wide", "json", "yaml"}, flags->output);
  command->add_flag("--exact", flags->exact,
                    "Numbers in full, from 100 million on too; JSON and YAML always have them so");
  command->add_option("--socket", flags->socket, "The agent's Unix socket")->capture_default_str();
  command->callback([flags, &run] { run = [flags] { return Stats(*flags); }; });
}

}  // namespace

void AddStatsCommand(CLI::App& app, Run& run) {
  AddCommand(app, run, {.command = "stats", .counting = Counting::kTotals},
             "Show connections, packets and bytes so far, as `ipvsadm -L -n --stats` does, with "
             "names");
}

void AddRatesCommand(CLI::App& app, Run& run) {
  AddCommand(app, run, {.command = "rates", .counting = Counting::kRates},
             "Show connections, packets and bytes per second, as `ipvsadm -L -n --rate` does, with "
             "names");
}

}  // namespace fairlead
