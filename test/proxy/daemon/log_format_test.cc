#include "proxy/daemon/log_format.h"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <sstream>
#include <string>

#include "watcher/log_object.h"

namespace fairlead {
namespace {

TEST_CASE("a message is an object in a line, whatever is in it") {
  struct Row {
    std::string name;
    spdlog::level::level_enum level;
    std::string message;
    std::string line;
  };
  const std::string time = R"({"time":"2023-11-14T22:13:20.250Z",)";
  const std::vector<Row> rows = {
      {"words", spdlog::level::info, "hello", R"("level":"info","message":"hello"})"},
      {"quotes and lines", spdlog::level::warn, "a \"b\"\nc",
       R"("level":"warning","message":"a \"b\"\nc"})"},
      {"no UTF-8", spdlog::level::err, "a\xff",
       "\"level\":\"error\",\"message\":\"a\xef\xbf\xbd\"}"},
      {"nothing", spdlog::level::debug, "", R"("level":"debug","message":""})"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto formatter = MakeJsonLogFormatter()->clone();
    spdlog::memory_buf_t line;
    const spdlog::log_clock::time_point at{std::chrono::milliseconds(1'700'000'000'250)};
    formatter->format(spdlog::details::log_msg(at, {}, "fairlead", row.level, row.message), line);
    CHECK(std::string(line.data(), line.size()) == time + row.line + "\n");
  }
}

// The default logger, into a text, as long as this is there.
class CapturedLog {
 public:
  CapturedLog() : before_(spdlog::default_logger()) {
    auto logger = std::make_shared<spdlog::logger>(
        "captured", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_));
    spdlog::set_default_logger(std::move(logger));
  }
  ~CapturedLog() { spdlog::set_default_logger(before_); }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;

  std::string Take() {
    std::string text = text_.str();
    text_.str("");
    return text;
  }

 private:
  const std::shared_ptr<spdlog::logger> before_;
  std::ostringstream text_;
};

TEST_CASE("what a line is about is a field of its own in JSON, and in the line everywhere") {
  CapturedLog log;
  const std::string line = "Service shop/cart: {} no \"port\"";
  spdlog::set_pattern("%l: %v");
  LogAbout(spdlog::level::warn, "Service shop/cart", line);
  CHECK(log.Take() == "warning: Service shop/cart: {} no \"port\"\n");
  LogAbout(spdlog::level::debug, "Service shop/cart", line);
  CHECK(log.Take().empty());

  spdlog::set_formatter(MakeJsonLogFormatter());
  LogAbout(spdlog::level::warn, "Service shop/cart", line);
  const std::string about = log.Take();
  CHECK(about.substr(about.find(",\"level\"")) ==
        R"(,"level":"warning","object":"Service shop/cart",)"
        R"("message":"Service shop/cart: {} no \"port\""})"
        "\n");
  LogAbout(spdlog::level::err, "", "nothing");
  const std::string nothing = log.Take();
  CHECK(nothing.substr(nothing.find(",\"level\"")) == R"(,"level":"error","message":"nothing"})"
                                                      "\n");
}

}  // namespace
}  // namespace fairlead
