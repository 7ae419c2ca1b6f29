// `fairlead top`: the busiest Services, on a terminal, as they come and go.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "proxy/cli/command.h"
#include "proxy/cli/inspect_client.h"
#include "proxy/cli/select_flags.h"
#include "proxy/cli/stats_format.h"
#include "proxy/cli/terminal.h"
#include "proxy/cli/top_view.h"

namespace fairlead {
namespace {

constexpr char kCommand[] = "top";
constexpr size_t kBatchWidth = 80;

struct TopFlags {
  std::string socket = kDefaultSocket;
  std::string sort = "connections";
  std::string interval = "2s";
  bool endpoints = false;
  bool once = false;
  SelectFlags select;
};

TopOrder ParseOrder(const std::string& text) {
  if (text == "active") return TopOrder::kActive;
  if (text == "bytes") return TopOrder::kBytes;
  return text == "name" ? TopOrder::kName : TopOrder::kConnectionsPerSecond;
}

int ShowOnce(const Listing& listing, TopState state) {
  const std::vector<TopService> services = SumUp(listing.servers);
  size_t lines = 0;
  for (const TopService& service : services) {
    lines += 1 + (state.endpoints ? service.endpoints.size() : 0);
  }
  std::vector<TopLine> screen =
      RenderTop(listing.status, services, {.width = kBatchWidth, .height = lines + 4}, absl::Now(),
                "", state);
  // The keys are of no use here.
  screen.pop_back();
  for (const TopLine& line : screen) std::printf("%s\n", line.text.c_str());
  if (const std::string missing = DescribeMissingRates(listing.status); !missing.empty()) {
    std::fprintf(stderr, "fairlead %s: %s\n", kCommand, missing.c_str());
  }
  return kExitOk;
}

int Watch(const TopFlags& flags, const v1::ListRequest& request, absl::Duration interval,
          Listing listing, TopState state) {
  const Terminal terminal;
  std::string problem;
  absl::Time asked = absl::Now();
  absl::Time next = asked + interval;
  std::vector<TopService> services = SumUp(listing.servers);
  while (!state.quit) {
    const TopScreen screen = Terminal::Size();
    const std::string told = problem.empty() ? DescribeMissingRates(listing.status) : problem;
    terminal.Draw(RenderTop(listing.status, services, screen, asked, told, state));
    if (const auto key = Terminal::ReadKey(next - absl::Now())) {
      HandleKey(key->first, key->second, screen.height / 2, state);
      continue;
    }
    if (absl::Now() < next) continue;
    next = absl::Now() + interval;
    if (state.paused) continue;
    absl::StatusOr<Listing> newer = AskForListing(flags.socket, request);
    // What was shown last stays, until the agent answers again.
    problem = newer.ok() ? "" : std::string(newer.status().message());
    if (!newer.ok()) continue;
    asked = absl::Now();
    listing = *std::move(newer);
    services = SumUp(listing.servers);
  }
  return kExitOk;
}

int Top(const TopFlags& flags) {
  const absl::StatusOr<Selection> selection = Selection::Make(flags.select);
  if (!selection.ok()) return FailUsage(kCommand, selection.status());
  absl::Duration interval;
  if (!absl::ParseDuration(flags.interval, &interval) || interval < absl::Milliseconds(100) ||
      interval == absl::InfiniteDuration()) {
    return FailUsage(
        kCommand, absl::InvalidArgumentError("--interval: has to be a duration of 100ms or more"));
  }
  if (!flags.once && (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0)) {
    return FailUsage(kCommand, absl::InvalidArgumentError(
                                   "this is no terminal: give --once, or use `fairlead rates`"));
  }
  v1::ListRequest request;
  request.set_statistics(true);
  *request.mutable_groups() = selection->groups();
  absl::StatusOr<Listing> listing = AskForListing(flags.socket, request);
  if (!listing.ok()) return FailToAsk(kCommand, flags.socket, listing.status());
  const TopState state{.order = ParseOrder(flags.sort), .endpoints = flags.endpoints};
  if (flags.once) return ShowOnce(*listing, state);
  return Watch(flags, request, interval, *std::move(listing), state);
}

}  // namespace

void AddTopCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      kCommand, "Show the busiest Services on the whole screen, as they come and go");
  auto flags = std::make_shared<TopFlags>();
  AddSelectFlags(*command, flags->select);
  command->add_option("--sort", flags->sort, "By what: connections per second, or another")
      ->check(CLI::IsMember({"connections", "active", "bytes", "name"}))
      ->capture_default_str();
  command->add_flag("--endpoints", flags->endpoints, "Show each Service's endpoints too");
  command->add_option("--interval", flags->interval, "How often the agent is asked")
      ->capture_default_str();
  command->add_flag("--once", flags->once, "Print all of it once, and end; needs no terminal");
  command->add_option("--socket", flags->socket, "The agent's Unix socket")->capture_default_str();
  command->footer(
      "q quits, s sorts by the next column, r reverses, e shows endpoints, / filters by name "
      "(Enter ends it, Escape clears it), space pauses, arrows and pages move.");
  command->callback([flags, &run] { run = [flags] { return Top(*flags); }; });
}

}  // namespace fairlead
