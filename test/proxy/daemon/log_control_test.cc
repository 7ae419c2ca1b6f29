#include "proxy/daemon/log_control.h"

#include <spdlog/sinks/base_sink.h>

#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fairlead/v1/inspect.pb.h"
#include "proxy/daemon/log_rpc.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

using Lines = std::vector<std::string>;

const absl::Time kNoon =
    absl::FromCivil(absl::CivilSecond(2026, 11, 21, 12, 0, 0), absl::LocalTimeZone());

// Keeps "LEVEL: MESSAGE" of each line.
class KeepingSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  Lines lines() {
    const std::lock_guard lock(kept_mutex_);
    return lines_;
  }
  // Whether there are so many within ten seconds.
  bool Await(size_t count) {
    std::unique_lock lock(kept_mutex_);
    return more_.wait_for(lock, std::chrono::seconds(10), [&] { return lines_.size() >= count; });
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const auto level = spdlog::level::to_string_view(message.level);
    const std::lock_guard lock(kept_mutex_);
    lines_.push_back(std::string(level.data(), level.size()) + ": " +
                     std::string(message.payload.data(), message.payload.size()));
    more_.notify_all();
  }
  void flush_() override {}

 private:
  std::mutex kept_mutex_;
  std::condition_variable more_;
  Lines lines_;
};

struct Log {
  std::shared_ptr<KeepingSink> sink = std::make_shared<KeepingSink>();
  std::shared_ptr<spdlog::logger> logger = std::make_shared<spdlog::logger>("test", sink);
  absl::Time now = kNoon;
  LogControl control{logger, [this] { return now; }};
};

TEST_CASE("a level that is set is that of the log, and is told there") {
  Log log;
  CHECK(log.control.Get() == LogLevelState{.level = "info", .then = std::nullopt});
  const LogLevelState debug{.level = "debug", .then = std::nullopt};
  CHECK(log.control.Set("debug", std::nullopt).value() == debug);
  CHECK(log.control.Get() == debug);
  log.logger->debug("shown");
  REQUIRE(log.control.Set("error", std::nullopt).ok());
  log.logger->warn("not shown");
  // What nobody would see is not told.
  REQUIRE(log.control.Set("warning", std::nullopt).ok());
  REQUIRE(log.control.Set("info", std::nullopt).ok());
  CHECK(log.sink->lines() == Lines{"info: log level: debug", "debug: shown",
                                   "info: log level: error", "info: log level: info"});
}

TEST_CASE("a level for a time goes back to the one that was set to stay") {
  Log log;
  REQUIRE(log.control.Set("warning", std::nullopt).ok());
  REQUIRE(log.control.Set("debug", absl::Minutes(30)).ok());
  log.now += absl::Minutes(10);
  const LogLevelState longer{.level = "info",
                             .then = LogLevelState::Return{kNoon + absl::Hours(1), "warning"}};
  CHECK(log.control.Set("info", absl::Minutes(50)).value() == longer);
  CHECK(log.control.Get() == longer);
  const LogLevelState stays{.level = "error", .then = std::nullopt};
  CHECK(log.control.Set("error", std::nullopt).value() == stays);
  CHECK(log.control.Get() == stays);
  CHECK(log.sink->lines() ==
        Lines{"info: log level: warning", "info: log level: debug, until 12:30:00",
              "info: log level: info, until 13:00:00", "info: log level: error"});
}

TEST_CASE("when its time has come the level goes back by itself") {
  Log log;
  REQUIRE(log.control.Set("debug", absl::Milliseconds(1)).ok());
  REQUIRE(log.sink->Await(2));
  CHECK(log.sink->lines().back() == "info: log level: info again");
  CHECK(log.control.Get() == LogLevelState{.level = "info", .then = std::nullopt});
  // And another time.
  REQUIRE(log.control.Set("debug", absl::Milliseconds(1)).ok());
  REQUIRE(log.sink->Await(4));
  CHECK(log.control.Get().level == "info");
}

TEST_CASE("a level or a time that is none is refused, and changes nothing") {
  struct Row {
    std::string name;
    std::string level;
    std::optional<absl::Duration> time;
    std::string message;
  };
  const std::string times = "the level has to go back after more than 0 and at most 24h, not ";
  const std::vector<Row> rows = {
      {"misspelt", "debgu", std::nullopt, "\"debgu\" is none of debug, info, warning, error"},
      {"spdlog's own", "trace", std::nullopt, "\"trace\" is none of debug, info, warning, error"},
      {"upper case", "DEBUG", std::nullopt, "\"DEBUG\" is none of debug, info, warning, error"},
      {"empty", "", std::nullopt, "\"\" is none of debug, info, warning, error"},
      {"no time", "debug", absl::ZeroDuration(), times + "0"},
      {"a time that was", "debug", -absl::Seconds(1), times + "-1s"},
      {"too long", "debug", kMaxLogLevelTime + absl::Seconds(1), times + "24h1s"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Log log;
    CHECK(log.control.Set(row.level, row.time).status() == absl::InvalidArgumentError(row.message));
    CHECK(log.control.Get() == LogLevelState{.level = "info", .then = std::nullopt});
    CHECK(log.sink->lines().empty());
  }
  CHECK(Log().control.Set("debug", kMaxLogLevelTime).ok());
}

TEST_CASE("a time of another day is told with its date") {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const absl::Time now = absl::FromCivil(absl::CivilSecond(2026, 11, 21, 23, 30, 0), utc);
  const auto until = [&](absl::Duration time) {
    return FormatLogLevel({.level = "debug", .then = LogLevelState::Return{now + time, "info"}},
                          now, utc);
  };
  CHECK(until(absl::Minutes(10)) == "debug, until 23:40:00");
  CHECK(until(absl::Minutes(40)) == "debug, until 2026-11-22 00:10:00");
  CHECK(FormatLogLevel({.level = "debug", .then = std::nullopt}, now, utc) == "debug");
}

TEST_CASE("whoever asks over a socket is told the level, and when it goes back") {
  Log log;
  v1::LogLevelRequest request;
  v1::LogLevelResponse response;
  REQUIRE(AnswerLogLevel(log.control, request, response).ok());
  CHECK(response.ShortDebugString() == "level: \"info\"");

  request.set_level("debug");
  EncodeDuration(absl::Minutes(10), request.mutable_revert_after());
  REQUIRE(AnswerLogLevel(log.control, request, response).ok());
  request.Clear();
  v1::LogLevelResponse asked;
  REQUIRE(AnswerLogLevel(log.control, request, asked).ok());
  for (const v1::LogLevelResponse* answer : {&response, &asked}) {
    CHECK(answer->level() == "debug");
    CHECK(DecodeTime(answer->until()) == kNoon + absl::Minutes(10));
    CHECK(answer->then() == "info");
  }

  EncodeDuration(absl::Minutes(10), request.mutable_revert_after());
  const grpc::Status no_level = AnswerLogLevel(log.control, request, asked);
  CHECK(no_level.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(no_level.error_message() == "revert_after: goes with a level");
  request.set_level("loud");
  const grpc::Status loud = AnswerLogLevel(log.control, request, asked);
  CHECK(loud.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(loud.error_message() == "\"loud\" is none of debug, info, warning, error");
}

}  // namespace
}  // namespace fairlead
