#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proxy/cli/command.h"
#include "proxy/cli/inspect_client.h"
#include "proxy/cli/version.h"
#include "proxy/doctor/checks.h"
#include "proxy/doctor/read_facts.h"

namespace fairlead {
namespace {

struct DoctorFlags {
  std::string socket = kDefaultSocket;
  std::string state_dir = "/var/lib/fairlead";
  std::vector<std::string> schedulers;
  std::string output = "text";
  bool all = false;
};

// Who listens at a Unix socket; nullopt where nobody does.
std::optional<pid_t> ListenerAt(const std::string& path) {
  sockaddr_un address = {};
  if (path.size() >= sizeof(address.sun_path)) return std::nullopt;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::nullopt;
  ucred peer = {};
  socklen_t size = sizeof(peer);
  const bool known = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
                     getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0;
  close(fd);
  return known ? std::optional(peer.pid) : std::nullopt;
}

AgentFacts AskAgent(const std::string& socket) {
  AgentFacts facts;
  facts.socket = socket;
  facts.own_version = kVersion;
  if (const std::optional<pid_t> pid = ListenerAt(socket)) {
    facts.process = ReadAgentProcess(MachineRoots(), *pid);
  }
  const auto stub = ConnectToAgent(socket);
  const auto context = AskContext();
  v1::StatusResponse status;
  facts.asked = FromGrpc(stub->Status(context.get(), {}, &status));
  if (!facts.asked.ok()) return facts;
  facts.version = status.version();
  facts.complete = status.complete();
  facts.programmed = status.has_programmed();
  facts.revision = status.revision();
  for (const v1::Problem& failure : status.failures()) {
    facts.failures.push_back(absl::StrCat(failure.object(), ": ", failure.message()));
  }
  facts.warnings = static_cast<size_t>(status.warnings_size());
  const v1::FeedState& feed = status.feed();
  facts.connected = feed.connected();
  facts.feeder = feed.feeder();
  if (feed.has_current_as_of()) {
    facts.current_as_of = absl::FromUnixSeconds(feed.current_as_of().seconds()) +
                          absl::Nanoseconds(feed.current_as_of().nanos());
  }
  facts.saved_picture = feed.saved_picture();
  return facts;
}

int Doctor(const DoctorFlags& flags) {
  NodeQuestions questions{.state_folder = flags.state_dir, .schedulers = {}};
  for (const std::string& value : flags.schedulers) {
    for (absl::string_view name : absl::StrSplit(value, ',', absl::SkipWhitespace())) {
      questions.schedulers.emplace_back(name);
    }
  }
  Facts facts = ReadNode(questions);
  facts.agent = AskAgent(flags.socket);
  const std::vector<Finding> findings = CheckNode(facts);
  const std::string text = flags.output == "json" ? FormatFindingsJson(findings)
                                                  : FormatFindingsText(findings, flags.all);
  std::fputs(text.c_str(), stdout);
  return Worst(findings) <= Severity::kNote ? kExitOk : kExitFailure;
}

}  // namespace

void AddDoctorCommand(CLI::App& app, Run& run) {
  CLI::App* command =
      app.add_subcommand("doctor", "Look for what is wrong on this node, and say what to do");
  command->footer(
      "Exits with 0 where nothing is worse than a note, 1 where there are warnings or errors, 2 if "
      "the command line is wrong.");
  auto flags = std::make_shared<DoctorFlags>();
  command->add_option("--socket", flags->socket, "The agent's Unix socket")->capture_default_str();
  command->add_option("--state-dir", flags->state_dir, "The agent's state folder")
      ->capture_default_str();
  command->add_option("--scheduler", flags->schedulers,
                      "Schedulers to try besides rr and mh; several, with commas or given again");
  command->add_option("-o,--output", flags->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command->add_flag("--all", flags->all, "Show too what is as it should be");
  command->callback([flags, &run] { run = [flags] { return Doctor(*flags); }; });
}

}  // namespace fairlead
