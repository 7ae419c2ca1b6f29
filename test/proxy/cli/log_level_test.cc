// `log-level` of both roles, by the services that answer it.

#include <grpcpp/grpcpp.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proxy/agent/inspect_service.h"
#include "proxy/cli/command.h"
#include "proxy/watch/watch_service.h"
#include "run_command.h"
#include "watcher/feed/feed_server.h"
#include "watcher/feed/journal.h"

namespace fairlead::testing {
namespace {

// The default logger, into a text, as long as this is there.
struct CapturedLog {
  CapturedLog() {
    auto logger = std::make_shared<spdlog::logger>(
        "captured", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
    logger->set_pattern("%l: %v");
    spdlog::set_default_logger(std::move(logger));
  }
  ~CapturedLog() { spdlog::set_default_logger(before); }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;

  const std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
  std::ostringstream text;
};

// An agent or a watcher at a socket, as far as its log is concerned.
class TestOwner {
 public:
  explicit TestOwner(const std::string& command) : command_(command) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("unix:", socket()), grpc::InsecureServerCredentials());
    if (command == "log-level") {
      agent_ = std::make_unique<InspectService>(InspectEnvironment());
      builder.RegisterService(agent_.get());
    } else {
      feed_ = std::make_unique<FeedServer>(journal_, FeedServerOptions());
      watcher_ = std::make_unique<WatchService>(
          *feed_, journal_, [] { return std::vector<KubernetesResourceStatus>(); });
      builder.RegisterService(watcher_.get());
    }
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  ~TestOwner() {
    server_->Shutdown();
    if (feed_ != nullptr) feed_->Shutdown();
  }
  TestOwner(const TestOwner&) = delete;
  TestOwner& operator=(const TestOwner&) = delete;

  std::string socket() const { return folder_.File("log.sock"); }
  Outcome Run(const std::string& arguments) const {
    return RunCommand(absl::StrCat(command_, " --socket ", socket(), " ", arguments));
  }

 private:
  const std::string command_;
  const TemporaryFolder folder_;
  std::unique_ptr<InspectService> agent_;
  Journal journal_;
  std::unique_ptr<FeedServer> feed_;
  std::unique_ptr<WatchService> watcher_;
  std::unique_ptr<grpc::Server> server_;
};

const char* const kCommands[] = {"log-level", "watcher log-level"};

TEST_CASE("the level of a running process's log is shown and set") {
  for (const char* command : kCommands) {
    INFO(command);
    CapturedLog log;
    const TestOwner owner(command);
    CHECK(owner.Run("") == Outcome{kExitOk, "info\n", ""});
    CHECK(owner.Run("debug") == Outcome{kExitOk, "debug\n", ""});
    CHECK(spdlog::default_logger()->level() == spdlog::level::debug);
    CHECK(owner.Run("") == Outcome{kExitOk, "debug\n", ""});
    CHECK(owner.Run("-o json").out ==
          "{\n  \"level\": \"debug\",\n  \"until\": null,\n  \"then\": null\n}\n");

    const Outcome timed = owner.Run("error --for 1h");
    CHECK(timed.exit_code == kExitOk);
    CHECK(absl::StartsWith(timed.out, "error, until "));
    CHECK(owner.Run("").out == timed.out);
    const std::string document = owner.Run("-o yaml").out;
    CHECK(absl::StartsWith(document, "level: \"error\"\nuntil: \"20"));
    CHECK(absl::EndsWith(document, "then: \"debug\"\n"));
    CHECK(owner.Run("info") == Outcome{kExitOk, "info\n", ""});
    CHECK(log.text.str() == absl::StrCat("info: log level: debug\ninfo: log level: ", timed.out,
                                         "info: log level: info\n"));
  }
}

TEST_CASE("a level that is none is refused with those that there are, and the nearest") {
  const TestOwner owner("log-level");
  struct Row {
    std::string level;
    std::string message;
  };
  const std::vector<Row> rows = {
      {"debgu", "\"debgu\" is none of debug, info, warning, error: is debug meant?"},
      {"warn", "\"warn\" is none of debug, info, warning, error: is warning meant?"},
      {"critical", "\"critical\" is none of debug, info, warning, error"},
  };
  for (const Row& row : rows) {
    INFO(row.level);
    std::string message;
    try {
      owner.Run(row.level);
    } catch (const CLI::ValidationError& error) {
      message = error.what();
    }
    CHECK(message == absl::StrCat("level: ", row.message));
  }
}

TEST_CASE("a time after which a level goes back has to be one") {
  const TestOwner owner("log-level");
  struct Row {
    std::string arguments;
    std::string message;
  };
  const std::vector<Row> rows = {
      {"--for 10m", "--for: goes with a level"},
      {"debug --for 10", "--for: \"10\" is no duration such as 90s or 5m"},
      {"debug --for -10m", "--for: \"-10m\" is no duration such as 90s or 5m"},
      {"debug --for 0", "--for: \"0\" is not more than 0"},
      {"debug --for 25h", "--for: at most 24h; without it the level stays"},
  };
  for (const Row& row : rows) {
    INFO(row.arguments);
    CHECK(owner.Run(row.arguments) ==
          Outcome{kExitUsage, "", absl::StrCat("fairlead log-level: ", row.message, "\n")});
  }
  CHECK(owner.Run("").out == "info\n");
}

TEST_CASE("where nobody answers it is said who should") {
  for (const char* command : kCommands) {
    const Outcome outcome =
        RunCommand(absl::StrCat(command, " --socket /nowhere/fairlead.sock debug"));
    CHECK(outcome.exit_code == kExitFailure);
    CHECK(outcome.out.empty());
    CHECK(absl::StartsWith(outcome.err,
                           absl::StrCat("fairlead ", command, ": no ",
                                        absl::StartsWith(command, "watcher") ? "watcher" : "agent",
                                        " answers at /nowhere/fairlead.sock: ")));
  }
}

TEST_CASE("an agent of before an upgrade is told from one that is not there") {
  const TemporaryFolder folder;
  const std::string socket = folder.File("old.sock");
  v1::Inspect::Service old;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("unix:", socket), grpc::InsecureServerCredentials());
  builder.RegisterService(&old);
  const auto server = builder.BuildAndStart();
  CHECK(RunCommand(absl::StrCat("log-level --socket ", socket)) ==
        Outcome{kExitFailure, "",
                absl::StrCat("fairlead log-level: what answers at ", socket,
                             " knows of no log levels: it is of an older version, or no agent\n")});
}

}  // namespace
}  // namespace fairlead::testing
