#include "proxy/cli/log_level_command.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "proxy/cli/config_file.h"
#include "proxy/cli/daemon_flags.h"
#include "proxy/cli/inspect_client.h"
#include "proxy/cli/json_time.h"
#include "proxy/cli/output.h"
#include "proxy/daemon/log_control.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

struct LogLevelFlags {
  LogOwner owner;
  std::string socket;
  std::string level;
  std::string time;
  OutputFlags output;
};

int Fail(const LogLevelFlags& flags, const std::string& message, int exit_code) {
  std::fprintf(stderr, "fairlead %s: %s\n", flags.owner.command.c_str(), message.c_str());
  return exit_code;
}

// One of the levels; otherwise says which ones there are. Its name is what completion goes by.
CLI::Validator IsLogLevel() {
  return {[](std::string& level) -> std::string {
            const std::vector<std::string>& names = LogLevelNames();
            if (std::find(names.begin(), names.end(), level) != names.end()) return "";
            std::string nearest = NearestWord(level, names);
            // "warn", "err".
            for (const std::string& name : names) {
              if (nearest.empty() && absl::StartsWith(name, level)) nearest = name;
            }
            return absl::StrCat("\"", level, "\" is none of ", absl::StrJoin(names, ", "),
                                nearest.empty() ? "" : absl::StrCat(": is ", nearest, " meant?"));
          },
          absl::StrCat("{", absl::StrJoin(LogLevelNames(), ","), "}")};
}

absl::StatusOr<v1::LogLevelRequest> MakeRequest(const LogLevelFlags& flags) {
  v1::LogLevelRequest request;
  if (flags.level.empty()) {
    if (flags.time.empty()) return request;
    return absl::InvalidArgumentError("--for: goes with a level");
  }
  request.set_level(flags.level);
  if (flags.time.empty()) return request;
  absl::Duration time;
  if (absl::Status parsed = ParsePositiveDurationFlag("--for", flags.time, time); !parsed.ok()) {
    return parsed;
  }
  if (time > kMaxLogLevelTime) {
    return absl::InvalidArgumentError(absl::StrCat("--for: at most ",
                                                   absl::FormatDuration(kMaxLogLevelTime),
                                                   "; without it the ", "level stays"));
  }
  EncodeDuration(time, request.mutable_revert_after());
  return request;
}

std::string Format(const v1::LogLevelResponse& response, Output output) {
  LogLevelState state{.level = response.level(), .then = std::nullopt};
  if (response.has_until()) {
    state.then = LogLevelState::Return{DecodeTime(response.until()), response.then()};
  }
  if (output == Output::kText) {
    return absl::StrCat(FormatLogLevel(state, absl::Now(), absl::LocalTimeZone()), "\n");
  }
  Document document = {{"level", state.level}, {"until", nullptr}, {"then", nullptr}};
  if (state.then) {
    document["until"] = FormatJsonTime(state.then->at);
    document["then"] = state.then->to;
  }
  return FormatDocument(document, output);
}

int LogLevel(const LogLevelFlags& flags) {
  const absl::StatusOr<v1::LogLevelRequest> request = MakeRequest(flags);
  if (!request.ok()) return Fail(flags, std::string(request.status().message()), kExitUsage);
  v1::LogLevelResponse response;
  const grpc::Status status = flags.owner.ask(flags.socket, *request, &response);
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    return Fail(flags,
                absl::StrCat("what answers at ", flags.socket,
                             " knows of no log levels: it is of an older version, or no ",
                             flags.owner.role),
                kExitFailure);
  }
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    return Fail(flags,
                absl::StrCat("no ", flags.owner.role, " answers at ", flags.socket, ": ",
                             status.error_message()),
                kExitFailure);
  }
  if (!status.ok()) {
    return Fail(flags,
                absl::StrCat("the ", flags.owner.role, " at ", flags.socket, ": ",
                             FromGrpc(status).ToString()),
                kExitFailure);
  }
  std::fputs(Format(response, flags.output.output()).c_str(), stdout);
  return kExitOk;
}

}  // namespace

void AddLogLevelCommand(CLI::App& parent, Run& run, LogOwner owner) {
  CLI::App* command = parent.add_subcommand(
      "log-level", absl::StrCat("Show or set from which level on lines are in the log of the ",
                                owner.role, " that runs here"));
  auto flags = std::make_shared<LogLevelFlags>();
  flags->socket = owner.socket;
  flags->owner = std::move(owner);
  command
      ->add_option("level", flags->level,
                   absl::StrCat(absl::StrJoin(LogLevelNames(), ", "),
                                "; without one the level is shown, and stays"))
      ->check(IsLogLevel());
  command->add_option("--for", flags->time,
                      "After which the level goes back to what it was (10m, 24h at most); without "
                      "it the level stays until it is set again, or the process ends");
  command
      ->add_option("--socket", flags->socket,
                   absl::StrCat("The ", flags->owner.role, "'s Unix socket"))
      ->capture_default_str();
  AddOutputFlags(*command, {"text", "json", "yaml"}, flags->output);
  command->callback([flags, &run] { run = [flags] { return LogLevel(*flags); }; });
}

void AddLogLevelCommand(CLI::App& app, Run& run) {
  AddLogLevelCommand(app, run,
                     {.command = "log-level",
                      .role = "agent",
                      .socket = kDefaultSocket,
                      .ask = [](const std::string& socket, const v1::LogLevelRequest& request,
                                v1::LogLevelResponse* response) {
                        return ConnectToAgent(socket)->LogLevel(AskContext().get(), request,
                                                                response);
                      }});
}

}  // namespace fairlead
