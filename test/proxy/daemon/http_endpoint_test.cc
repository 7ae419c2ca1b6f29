#include "proxy/daemon/http_endpoint.h"

#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proxy/health/listening_socket.h"
#include "test/proxy/health/http_client.h"

namespace fairlead {
namespace {

const IpAddress kLocal = IpAddress::Parse("127.0.0.1").value();
constexpr char kFlag[] = "--metrics-bind-address";

HttpResponse SayHello(const HttpRequest&) { return {200, {}, "hello"}; }

TEST_CASE("an address that can be had is served at once, without a word") {
  const auto server = HttpServer::Start().value();
  // A port that is free: it was somebody's a moment ago.
  const uint16_t port = ListeningSocket::Open(kLocal, 0, {})->port();
  std::vector<std::string> said;
  const auto say = [&said](const std::string& text) { said.push_back(text); };
  const HttpEndpoint endpoint(*server, {.flag = kFlag,
                                        .at = HttpAddress{kLocal, port},
                                        .handler = SayHello,
                                        .refused = say,
                                        .served = say});
  CHECK(endpoint.status().ok());
  CHECK(Ask(kLocal, port, "/")->body == "hello");
  CHECK(said.empty());
}

TEST_CASE("nowhere is no failure") {
  const auto server = HttpServer::Start().value();
  const HttpEndpoint endpoint(*server, {.flag = kFlag, .handler = SayHello});
  CHECK(endpoint.status().ok());
}

TEST_CASE("a port that somebody has is named once, and served when he is gone") {
  const auto server = HttpServer::Start().value();
  auto other = std::make_unique<ListeningSocket>(ListeningSocket::Open(kLocal, 0, {}).value());
  const uint16_t port = other->port();
  std::vector<std::string> refused;
  std::promise<std::string> served;
  const HttpEndpoint endpoint(*server,
                              {.flag = kFlag,
                               .at = HttpAddress{kLocal, port},
                               .handler = SayHello,
                               .refused = [&](const std::string& text) { refused.push_back(text); },
                               .served = [&](const std::string& text) { served.set_value(text); },
                               .retry = absl::Milliseconds(1)});
  CHECK(refused ==
        std::vector<std::string>{absl::StrCat(
            kFlag, ": cannot listen on 127.0.0.1:", port, ": Address already in use; `ss -ltnp ",
            "sport = :", port, "` says who has it; end that one, or choose another port with ",
            kFlag, ". It is tried again every 1ms, the rest goes on without it")});
  CHECK(absl::IsAlreadyExists(endpoint.status()));
  other.reset();
  std::future<std::string> text = served.get_future();
  REQUIRE(text.wait_for(std::chrono::seconds(60)) == std::future_status::ready);
  CHECK(text.get() == absl::StrCat(kFlag, ": 127.0.0.1:", port, " is served now"));
  CHECK(endpoint.status().ok());
  CHECK(Ask(kLocal, port, "/")->body == "hello");
  CHECK(refused.size() == 1);
}

TEST_CASE("what to do depends on why an address cannot be had") {
  struct Row {
    std::string name;
    std::string address;
    absl::StatusCode code;
    std::string says;
  };
  const std::vector<Row> rows = {
      {"not the node's", "192.0.2.77", absl::StatusCode::kUnavailable,
       "Cannot assign requested address; give the node this address, or choose another with "},
      {"of no device", "fe80::1", absl::StatusCode::kInvalidArgument,
       "Invalid argument; choose another address with "},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto server = HttpServer::Start().value();
    std::string refused;
    const HttpEndpoint endpoint(*server,
                                {.flag = kFlag,
                                 .at = HttpAddress{IpAddress::Parse(row.address).value(), 9000},
                                 .handler = SayHello,
                                 .refused = [&](const std::string& text) { refused = text; },
                                 .retry = absl::Hours(1)});
    CHECK(endpoint.status().code() == row.code);
    CHECK_THAT(refused, Catch::Matchers::Contains(row.says + kFlag));
    // It ends at once, though it has an hour to wait.
  }
}

}  // namespace
}  // namespace fairlead
