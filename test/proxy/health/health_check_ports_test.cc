#include "proxy/health/health_check_ports.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "proxy/health/http_server.h"
#include "test/proxy/health/http_client.h"
#include "test/proxy/health/memory_listeners.h"

namespace fairlead {
namespace {

const IpAddress kNode = IpAddress::Parse("10.0.0.1").value();
const IpAddress kNode6 = IpAddress::Parse("fd00::1").value();
const IpAddress kSecond = IpAddress::Parse("10.0.0.2").value();
const ObjectName kCart = {"shop", "cart"};
const ObjectName kApi = {"shop", "api"};
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

using Strings = std::vector<std::string>;

HealthCheckPorts::Endpoints Both(int count) {
  return {{IpFamily::kIpv4, count}, {IpFamily::kIpv6, count}};
}

// Ports over listeners in memory.
struct TestPorts {
  MemoryListeners listeners{{kNode, kNode6, kSecond}};
  bool healthy = true;
  HealthCheckPorts ports{listeners, [this] { return healthy; }};

  // Of the answer: "shop/cart 2", or "refused".
  std::string Hear(const IpAddress& address, uint16_t port) const {
    const absl::StatusOr<HttpResponse> response = listeners.Ask(address, port, "/any/path");
    if (!response.ok()) return "refused";
    for (const ObjectName& name : {kCart, kApi}) {
      for (int count = 0; count < 10; ++count) {
        if (*response == AnswerHealthCheck(name, count, healthy)) {
          return name.Format() + " " + std::to_string(count);
        }
      }
    }
    return response->body;
  }
};

TEST_CASE("the answer is that of kube-proxy") {
  struct Case {
    std::string name;
    int endpoints;
    bool healthy;
    int status;
  };
  const Case c = GENERATE(values<Case>({
      {"endpoints", 2, true, 200},
      {"one endpoint", 1, true, 200},
      {"none", 0, true, 503},
      {"an agent that is late", 2, false, 503},
      {"neither", 0, false, 503},
  }));
  CAPTURE(c.name);
  const std::string count = std::to_string(c.endpoints);
  CHECK(AnswerHealthCheck(kCart, c.endpoints, c.healthy) ==
        HttpResponse{c.status,
                     {{"Content-Type", "application/json"},
                      {"X-Content-Type-Options", "nosniff"},
                      {"X-Load-Balancing-Endpoint-Weight", count}},
                     "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"cart\"\n"
                     "\t},\n\t\"localEndpoints\": " +
                         count + ",\n\t\"serviceProxyHealthy\": " + (c.healthy ? "true" : "false") +
                         "\n}"});
}

TEST_CASE("names are escaped") {
  const HttpResponse response = AnswerHealthCheck({"a\"b", "c\\\xff"}, 0, true);
  CHECK(response.body.find(R"("namespace": "a\"b")") != std::string::npos);
  CHECK(response.body.find("\"name\": \"c\\\\\xEF\xBF\xBD\"") != std::string::npos);
}

TEST_CASE("a Service's port is served on every address until the Service goes") {
  TestPorts test;
  test.ports.SetAddresses({kNode, kNode6});
  test.ports.SetService(kCart, 30000, Both(2));
  CHECK(test.listeners.Open() == Strings{"10.0.0.1:30000", "[fd00::1]:30000"});
  CHECK(test.Hear(kNode, 30000) == "shop/cart 2");
  CHECK(test.Hear(kNode6, 30000) == "shop/cart 2");
  CHECK(test.Hear(kSecond, 30000) == "refused");
  test.ports.RemoveService(kCart);
  CHECK(test.listeners.Open() == Strings{});
  test.ports.RemoveService(kCart);
  CHECK(test.ports.NextRetry() == absl::InfiniteFuture());
}

TEST_CASE("each family has a number of its own") {
  TestPorts test;
  test.ports.SetAddresses({kNode, kNode6});
  test.ports.SetService(kCart, 30000, {{IpFamily::kIpv4, 2}, {IpFamily::kIpv6, 1}});
  CHECK(test.Hear(kNode, 30000) == "shop/cart 2");
  CHECK(test.Hear(kNode6, 30000) == "shop/cart 1");
  test.ports.SetService(kCart, 30000, {{IpFamily::kIpv4, 2}});
  CHECK(test.Hear(kNode6, 30000) == "shop/cart 0");
}

TEST_CASE("a changed number only changes the answer") {
  TestPorts test;
  test.ports.SetAddresses({kNode});
  test.ports.SetService(kCart, 30000, Both(2));
  test.listeners.TakeCalls();
  test.ports.SetService(kCart, 30000, Both(0));
  CHECK(test.Hear(kNode, 30000) == "shop/cart 0");
  CHECK(test.listeners.TakeCalls() == Strings{});
}

TEST_CASE("the agent's health is that of the moment of asking") {
  TestPorts test;
  test.ports.SetAddresses({kNode});
  test.ports.SetService(kCart, 30000, Both(2));
  CHECK(test.listeners.Ask(kNode, 30000, "/").value().status == 200);
  test.healthy = false;
  CHECK(test.listeners.Ask(kNode, 30000, "/").value().status == 503);
}

TEST_CASE("a changed port is closed and the new one opened") {
  TestPorts test;
  test.ports.SetAddresses({kNode});
  test.ports.SetService(kCart, 30000, Both(2));
  test.listeners.TakeCalls();
  test.ports.SetService(kCart, 30001, Both(2));
  CHECK(test.listeners.TakeCalls() == Strings{"close 10.0.0.1:30000", "listen 10.0.0.1:30001"});
  test.ports.SetService(kCart, 0, Both(2));
  CHECK(test.listeners.Open() == Strings{});
}

TEST_CASE("of the addresses only what differs is opened and closed") {
  TestPorts test;
  test.ports.SetService(kCart, 30000, Both(2));
  CHECK(test.listeners.TakeCalls() == Strings{});
  test.ports.SetAddresses({kNode, kNode6, kNode});
  CHECK(test.listeners.TakeCalls() == Strings{"listen 10.0.0.1:30000", "listen [fd00::1]:30000"});
  test.ports.SetAddresses({kSecond, kNode6});
  CHECK(test.listeners.TakeCalls() == Strings{"close 10.0.0.1:30000", "listen 10.0.0.2:30000"});
  // One address at a time is given way to all of them.
  test.ports.SetAddresses({IpAddress()});
  CHECK(test.listeners.Open() == Strings{"0.0.0.0:30000"});
  CHECK(test.ports.Problems() == Strings{});
  test.ports.SetAddresses({});
  CHECK(test.listeners.Open() == Strings{});
}

TEST_CASE("a port that is taken is a problem, and tried again until it is free") {
  TestPorts test;
  test.listeners.Take(kNode, 30000);
  test.ports.SetAddresses({kNode, kSecond});
  test.ports.SetService(kCart, 30000, Both(2));
  CHECK(test.listeners.Open() == Strings{"10.0.0.2:30000"});
  const Strings problem = {
      "Service shop/cart, healthCheckNodePort: cannot listen on 10.0.0.1:30000: Address already "
      "in use"};
  CHECK(test.ports.Problems() == problem);

  CHECK(test.ports.NextRetry() == absl::InfinitePast());
  test.ports.Retry(kStart);
  CHECK(test.ports.Problems() == problem);
  const absl::Time second = test.ports.NextRetry();
  CHECK(second == kStart + 2 * kFirstRetry);
  test.listeners.TakeCalls();
  test.ports.Retry(second - absl::Nanoseconds(1));
  CHECK(test.listeners.TakeCalls() == Strings{});
  test.ports.Retry(second);
  CHECK(test.listeners.TakeCalls() == Strings{"listen 10.0.0.1:30000"});
  CHECK(test.ports.NextRetry() == second + 4 * kFirstRetry);

  test.listeners.Free(kNode, 30000);
  test.ports.Retry(test.ports.NextRetry());
  CHECK(test.Hear(kNode, 30000) == "shop/cart 2");
  CHECK(test.ports.Problems() == Strings{});
  CHECK(test.ports.NextRetry() == absl::InfiniteFuture());
}

TEST_CASE("an address that is not there yet is listened on when it has come") {
  TestPorts test;
  test.listeners.SetAddresses({});
  test.ports.SetAddresses({kNode});
  test.ports.SetService(kCart, 30000, Both(2));
  CHECK(test.ports.Problems() ==
        Strings{"Service shop/cart, healthCheckNodePort: cannot listen on 10.0.0.1:30000: Cannot "
                "assign requested address"});
  test.listeners.SetAddresses({kNode});
  test.ports.Retry(kStart);
  CHECK(test.Hear(kNode, 30000) == "shop/cart 2");
}

TEST_CASE("what is no longer wanted is not tried again") {
  struct Case {
    std::string name;
    std::function<void(HealthCheckPorts&)> change;
  };
  const Case c = GENERATE(values<Case>({
      {"the Service goes", [](HealthCheckPorts& ports) { ports.RemoveService(kCart); }},
      {"its port changes",
       [](HealthCheckPorts& ports) { ports.SetService(kCart, 30001, Both(2)); }},
      {"the address goes", [](HealthCheckPorts& ports) { ports.SetAddresses({kSecond}); }},
  }));
  CAPTURE(c.name);
  TestPorts test;
  test.listeners.Take(kNode, 30000);
  test.ports.SetAddresses({kNode});
  test.ports.SetService(kCart, 30000, Both(2));
  REQUIRE(test.ports.Problems().size() == 1);
  c.change(test.ports);
  CHECK(test.ports.Problems() == Strings{});
  CHECK(test.ports.NextRetry() == absl::InfiniteFuture());
}

TEST_CASE("of two Services with one port the first by name has it, whichever came first") {
  const bool cart_first = GENERATE(true, false);
  CAPTURE(cart_first);
  TestPorts test;
  test.ports.SetAddresses({kNode});
  test.ports.SetService(cart_first ? kCart : kApi, 30000, Both(cart_first ? 2 : 3));
  test.ports.SetService(cart_first ? kApi : kCart, 30000, Both(cart_first ? 3 : 2));
  CHECK(test.Hear(kNode, 30000) == "shop/api 3");
  CHECK(test.ports.Problems() ==
        Strings{"Service shop/cart, healthCheckNodePort: port 30000 belongs to Service shop/api, "
                "whose name sorts first"});
  // It is a matter of the objects; time does not mend it.
  CHECK(test.ports.NextRetry() == absl::InfiniteFuture());
  // The loser's number is kept for when it takes over.
  test.ports.SetService(kCart, 30000, Both(4));
  CHECK(test.Hear(kNode, 30000) == "shop/api 3");
  test.ports.RemoveService(kApi);
  CHECK(test.Hear(kNode, 30000) == "shop/cart 4");
  CHECK(test.ports.Problems() == Strings{});
}

TEST_CASE("a Service that lost is no hindrance when it goes") {
  TestPorts test;
  test.ports.SetAddresses({kNode});
  test.ports.SetService(kApi, 30000, Both(3));
  test.ports.SetService(kCart, 30000, Both(2));
  test.listeners.TakeCalls();
  test.ports.SetService(kCart, 30001, Both(2));
  CHECK(test.Hear(kNode, 30000) == "shop/api 3");
  CHECK(test.Hear(kNode, 30001) == "shop/cart 2");
  CHECK(test.ports.Problems() == Strings{});
  CHECK(test.listeners.TakeCalls() == Strings{"listen 10.0.0.1:30001"});
}

TEST_CASE("what cannot be listened on is the problem of the Service that has the port") {
  TestPorts test;
  test.listeners.Take(kNode, 30000);
  test.ports.SetAddresses({kNode});
  test.ports.SetService(kCart, 30000, Both(2));
  test.ports.SetService(kApi, 30000, Both(3));
  CHECK(test.ports.Problems() ==
        Strings{"Service shop/api, healthCheckNodePort: cannot listen on 10.0.0.1:30000: Address "
                "already in use",
                "Service shop/cart, healthCheckNodePort: port 30000 belongs to Service shop/api, "
                "whose name sorts first"});
}

TEST_CASE("everything is closed at the end") {
  MemoryListeners listeners({kNode});
  {
    HealthCheckPorts ports(listeners, [] { return true; });
    ports.SetAddresses({kNode});
    ports.SetService(kCart, 30000, Both(2));
    ports.SetService(kApi, 30001, Both(2));
    CHECK(listeners.Open().size() == 2);
  }
  CHECK(listeners.Open() == Strings{});
}

const IpAddress kLocal = IpAddress::Parse("127.0.0.1").value();

// A port that was free a moment ago.
uint16_t FreePort() { return ListeningSocket::Open(kLocal, 0, ListenOptions()).value().port(); }

TEST_CASE("over the kernel's listeners a load balancer gets its answer") {
  const auto server = HttpServer::Start().value();
  HealthCheckPorts ports(*server, [] { return true; });
  const uint16_t port = FreePort();
  ports.SetAddresses({kLocal});
  ports.SetService(kCart, port, Both(1));
  REQUIRE(ports.Problems() == Strings{});
  const absl::StatusOr<HttpResponse> response = Ask(kLocal, port, "/healthz");
  REQUIRE(response.ok());
  const HttpResponse answer = AnswerHealthCheck(kCart, 1, true);
  CHECK(response->status == 200);
  CHECK(response->body == answer.body);
  CHECK(response->headers == std::vector<std::pair<std::string, std::string>>{
                                 {"Connection", "close"},
                                 {"Content-Type", "application/json"},
                                 {"X-Content-Type-Options", "nosniff"},
                                 {"X-Load-Balancing-Endpoint-Weight", "1"},
                                 {"Content-Length", std::to_string(answer.body.size())}});
  ports.RemoveService(kCart);
  CHECK(HttpClient::Connect(kLocal, port).status().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("over the kernel's listeners a port that another has is taken over when it is free") {
  const auto server = HttpServer::Start().value();
  HealthCheckPorts ports(*server, [] { return true; });
  absl::StatusOr<ListeningSocket> other = ListeningSocket::Open(kLocal, 0, ListenOptions());
  REQUIRE(other.ok());
  const uint16_t port = other->port();
  ports.SetAddresses({kLocal});
  ports.SetService(kCart, port, Both(1));
  CHECK(ports.Problems() == Strings{"Service shop/cart, healthCheckNodePort: cannot listen on " +
                                    FormatAddressPort(kLocal, port) + ": Address already in use"});
  other = absl::CancelledError();
  ports.Retry(kStart);
  CHECK(ports.Problems() == Strings{});
  CHECK(Ask(kLocal, port, "/").value().status == 200);
}

TEST_CASE("answers are of one Service while the loop changes what they say") {
  const auto server = HttpServer::Start().value();
  std::atomic<bool> healthy = true;
  HealthCheckPorts ports(*server, [&healthy] { return healthy.load(); });
  const uint16_t port = FreePort();
  ports.SetAddresses({kLocal});
  ports.SetService(kCart, port, Both(1));
  REQUIRE(ports.Problems() == Strings{});
  std::atomic<int> wrong = 0;
  std::thread client([&] {
    const std::set<std::string> right = {AnswerHealthCheck(kCart, 1, true).body,
                                         AnswerHealthCheck(kApi, 2, true).body};
    for (int i = 0; i < 100; ++i) {
      if (!right.contains(Ask(kLocal, port, "/").value().body)) ++wrong;
    }
  });
  for (int i = 0; i < 500; ++i) {
    ports.SetService(kApi, port, Both(2));
    ports.RemoveService(kApi);
  }
  client.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace fairlead
