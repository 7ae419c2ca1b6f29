#include "proxy/daemon/log_format.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>

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

}  // namespace
}  // namespace fairlead
