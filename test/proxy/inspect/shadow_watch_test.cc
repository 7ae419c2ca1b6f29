#include "proxy/inspect/shadow_watch.h"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>
#include <future>
#include <sstream>

#include "scene.h"

namespace fairlead::testing {
namespace {

Difference Weight(const std::string& pod, int weight) {
  return {.kind = DriftKind::kRealServer,
          .object = pod + " of TCP 10.96.0.1:80",
          .service = "shop/cart:http",
          .group = "TCP 10.96.0.1:80",
          .context = "",
          .wanted = {"-w 1"},
          .found = {"-w " + std::to_string(weight)}};
}

Difference Missing(const std::string& object, const Lines& lines) {
  return {.kind = DriftKind::kVirtualServer,
          .object = object,
          .service = "",
          .group = object,
          .context = "",
          .wanted = lines,
          .found = {}};
}

using Differences = std::vector<Difference>;
using Line = std::optional<std::string>;

TEST_CASE("the log tells what differs when that changes, and only then") {
  ShadowLog log;
  CHECK(log.Note(Differences{}) == Line("shadow: the kernel is as planned"));
  CHECK(log.Note(Differences{}) == std::nullopt);
  CHECK(log.Note(Differences{Weight("a", 7)}) ==
        Line("shadow: the kernel differs from the plan in 1 real server: a of TCP 10.96.0.1:80 of "
             "Service shop/cart:http: planned -w 1, found -w 7"));
  CHECK(log.Note(Differences{Weight("a", 7)}) == std::nullopt);
  CHECK(log.Note(Differences{Weight("a", 8)}).has_value());
  CHECK(log.Note(absl::UnavailableError("busy")) == Line("shadow: cannot compare: busy"));
  CHECK(log.Note(absl::UnavailableError("busy")) == std::nullopt);
  CHECK(log.Note(Differences{}) == Line("shadow: the kernel is as planned"));
}

TEST_CASE("of many differences the log counts all and shows a few") {
  ShadowLog log;
  CHECK(log.Note(Differences{Missing("TCP 10.96.0.2:80", {"A", "a", "b"}), Weight("a", 7),
                             Weight("b", 7), Weight("c", 7), Weight("d", 7)}) ==
        Line("shadow: the kernel differs from the plan in 1 virtual server, 4 real servers: "
             "TCP 10.96.0.2:80: planned A; a; …, found nothing | "
             "a of TCP 10.96.0.1:80 of Service shop/cart:http: planned -w 1, found -w 7 | "
             "b of TCP 10.96.0.1:80 of Service shop/cart:http: planned -w 1, found -w 7 | "
             "and 2 more, see `fairlead diff`"));
}

TEST_CASE("the watch compares again and again, publishes the numbers and ends at once") {
  std::ostringstream log;
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  spdlog::set_pattern("%l: %v");
  std::promise<void> fourth;
  int comparisons = 0;
  std::vector<std::map<DriftKind, size_t>> published;
  {
    ShadowWatch watch(
        {.compare = [&]() -> absl::StatusOr<Differences> {
           if (++comparisons == 4) fourth.set_value();
           if (comparisons == 1) return absl::FailedPreconditionError("nothing is planned yet");
           if (comparisons == 3) return absl::UnavailableError("busy");
           return Differences{Weight("a", comparisons)};
         },
         .publish = [&](const std::map<DriftKind, size_t>& counts) { published.push_back(counts); },
         .now = [] { return absl::UnixEpoch(); },
         .period = absl::Milliseconds(1)});
    REQUIRE(fourth.get_future().wait_for(std::chrono::seconds(60)) == std::future_status::ready);
  }
  CHECK(published.size() == static_cast<size_t>(comparisons) - 2);
  CHECK(published.front() == std::map<DriftKind, size_t>{{DriftKind::kRealServer, 1}});
  CHECK(log.str().find("nothing is planned yet") == std::string::npos);
  CHECK(log.str().find("warning: shadow: cannot compare: busy\n") != std::string::npos);
  {
    const ShadowWatch idle(
        {.compare = []() -> absl::StatusOr<Differences> { return Differences(); },
         .publish = [](const auto&) {},
         .period = absl::Hours(1)});
  }
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("none"));
}

}  // namespace
}  // namespace fairlead::testing
