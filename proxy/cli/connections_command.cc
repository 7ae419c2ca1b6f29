#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "proxy/cli/command.h"
#include "proxy/cli/connections_format.h"
#include "proxy/cli/connections_names.h"
#include "proxy/cli/connections_read.h"
#include "proxy/cli/connections_select.h"
#include "proxy/cli/inspect_client.h"
#include "proxy/cli/output.h"
#include "proxy/cli/table.h"

namespace fairlead {
namespace {

// More than a person reads, and few for the kernel, which looks for its place from the start of its
// table for every page that is read (ip_vs_conn_seq_start).
constexpr size_t kDefaultLimit = 1000;

struct ConnectionsFlags {
  std::string socket = kDefaultSocket;
  std::string file = kConnectionsPath;
  size_t limit = kDefaultLimit;
  OutputFlags output;
  SelectFlags select;
  ClientFlags client;
};

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "fairlead connections: %s\n", std::string(status.message()).c_str());
  return kExitFailure;
}

// The agent's table, or none where it does not answer and names are not needed.
absl::StatusOr<Listing> AskForNames(const ConnectionsFlags& flags,
                                    const ConnectionSelection& selection) {
  absl::StatusOr<Listing> listing = AskForListing(flags.socket, {});
  if (listing.ok() || selection.NeedsNames()) return listing;
  std::fprintf(stderr, "fairlead connections: without names: no agent answers at %s: %s\n",
               flags.socket.c_str(), std::string(listing.status().message()).c_str());
  return Listing();
}

// The kernel shows the connections of the network namespace of who asks.
absl::Status CheckNamespace(const ConnectionsFlags& flags, const Listing& listing) {
  const uint64_t of_agent = listing.status.network_namespace();
  struct stat own {};
  if (flags.file != kConnectionsPath || of_agent == 0 || stat("/proc/self/ns/net", &own) != 0 ||
      own.st_ino == of_agent) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      "the agent is in another network namespace, whose connections are not to be seen from here: "
      "run this where the agent runs");
}

int Connections(const ConnectionsFlags& flags) {
  absl::StatusOr<ConnectionSelection> selection =
      ConnectionSelection::Make(flags.select, flags.client);
  if (!selection.ok()) return FailUsage("connections", selection.status());
  const absl::StatusOr<Listing> listing = AskForNames(flags, *selection);
  if (!listing.ok()) return FailToAsk("connections", flags.socket, listing.status());
  const absl::Status same = CheckNamespace(flags, *listing);
  if (!same.ok()) return Fail(same);

  const ConnectionNamer namer(listing->servers);
  ConnectionsFormat format(flags.output.output(), StdoutWantsColor());
  std::fputs(format.Begin().c_str(), stdout);
  size_t shown = 0;
  bool cut = false;
  const absl::Status read = ReadConnections(flags.file, [&](const BalancedConnection& connection) {
    const ConnectionNames names = namer.Find(connection);
    if (!selection->Takes(connection, names)) return true;
    cut = flags.limit != 0 && shown == flags.limit;
    if (cut) return false;
    ++shown;
    // Nobody reads on: `fairlead connections | head`.
    return std::fputs(format.Add(connection, names).c_str(), stdout) >= 0;
  });
  std::fputs(format.End(cut).c_str(), stdout);
  if (!read.ok()) return Fail(read);
  if (cut) {
    std::fprintf(stderr, "fairlead connections: there are more than %zu; --limit 0 shows all\n",
                 flags.limit);
    return kExitOk;
  }
  return TellComplaints("connections", selection->Complain(listing->servers));
}

}  // namespace

void AddConnectionsCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "connections",
      "Show the connections that this node's kernel balances, as `ipvsadm -L -n -c` does, with "
      "names");
  auto flags = std::make_shared<ConnectionsFlags>();
  AddSelectFlags(*command, flags->select);
  command
      ->add_option("--client", flags->client.clients,
                   "Only those from the address: 10.244.1.2, 10.244.1.2:40000, fd00::1")
      ->allow_extra_args(false);
  command
      ->add_option("--state", flags->client.states,
                   "Only those in the state, as the table shows it: ESTABLISHED, TIME_WAIT, UDP")
      ->allow_extra_args(false);
  command->add_option("--limit", flags->limit, "Show at most so many, 0: all")
      ->capture_default_str();
  AddOutputFlags(*command, {"text", "wide", "json", "yaml"}, flags->output);
  command->add_option("--file", flags->file, "Read this instead, a copy from a node")
      ->capture_default_str();
  command->add_option("--socket", flags->socket, "The agent's Unix socket, for names")
      ->capture_default_str();
  command->callback([flags, &run] { run = [flags] { return Connections(*flags); }; });
}

}  // namespace fairlead
