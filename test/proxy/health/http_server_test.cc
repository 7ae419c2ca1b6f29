#include "proxy/health/http_server.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "test/proxy/health/http_client.h"

namespace fairlead {
namespace {

const IpAddress kLocal = IpAddress::Parse("127.0.0.1").value();
const IpAddress kLocal6 = IpAddress::Parse("::1").value();
const IpAddress kAny6 = IpAddress::Parse("::").value();
// Long enough for what must not come to come if it does.
constexpr absl::Duration kShortly = absl::Milliseconds(100);
// An unfinished request.
constexpr char kHalf[] = "GET / HTTP/1.1\r\nHost: te";
constexpr char kRest[] = "st\r\n\r\n";

HttpResponse SayHello(const HttpRequest&) { return {200, {}, "hello"}; }

// What SayHello's listener says to one who asks.
const HttpResponse kHello = {200, {{"Connection", "close"}, {"Content-Length", "5"}}, "hello"};

std::string AskRaw(uint16_t port, const std::string& request) {
  HttpClient client = HttpClient::Connect(kLocal, port).value();
  client.Send(request);
  return client.ReadToEnd().value();
}

TEST_CASE("a handler's answer goes out as it is") {
  const auto server = HttpServer::Start().value();
  const HttpResponse answer = {503, {{"Content-Type", "text/plain"}, {"X-Weight", "3"}}, "a\nb"};
  const uint16_t port =
      server->Listen(kLocal, 0, [answer](const HttpRequest&) { return answer; }).value();
  CHECK(Ask(kLocal, port, "/").value() == HttpResponse{503,
                                                       {{"Connection", "close"},
                                                        {"Content-Type", "text/plain"},
                                                        {"X-Weight", "3"},
                                                        {"Content-Length", "3"}},
                                                       "a\nb"});
}

TEST_CASE("a handler sees method and path") {
  struct Case {
    std::string name;
    std::string request;
    HttpRequest seen;
  };
  const Case c = GENERATE(values<Case>({
      {"the root", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", {"GET", "/"}},
      {"HEAD", "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n", {"HEAD", "/healthz"}},
      {"a query", "GET /livez?verbose=1 HTTP/1.1\r\nHost: a\r\n\r\n", {"GET", "/livez"}},
      {"an encoded path", "GET /a%20b HTTP/1.1\r\nHost: a\r\n\r\n", {"GET", "/a b"}},
      {"HTTP/1.0", "GET /old HTTP/1.0\r\n\r\n", {"GET", "/old"}},
      {"a body that nobody wants",
       "GET /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
       {"GET", "/body"}},
  }));
  CAPTURE(c.name);
  const auto server = HttpServer::Start().value();
  std::vector<HttpRequest> seen;
  const uint16_t port = server
                            ->Listen(kLocal, 0,
                                     [&seen](const HttpRequest& request) {
                                       seen.push_back(request);
                                       return HttpResponse{204, {}, ""};
                                     })
                            .value();
  CHECK(ParseAnswer(AskRaw(port, c.request)).value().status == 204);
  server->Close(kLocal, port);
  CHECK(seen == std::vector{c.seen});
}

TEST_CASE("a HEAD gets what a GET would, without the body") {
  const auto server = HttpServer::Start().value();
  const uint16_t port = server->Listen(kLocal, 0, SayHello).value();
  CHECK(Ask(kLocal, port, "/", "HEAD").value() == HttpResponse{200, kHello.headers, ""});
}

TEST_CASE("other methods are refused, and no handler is asked") {
  const std::string request = GENERATE(values<std::string>({
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
      "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
      "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
      "get / HTTP/1.1\r\nHost: a\r\n\r\n",
  }));
  CAPTURE(request);
  const auto server = HttpServer::Start().value();
  std::atomic<int> calls = 0;
  const uint16_t port = server
                            ->Listen(kLocal, 0,
                                     [&calls](const HttpRequest& asked) {
                                       ++calls;
                                       return SayHello(asked);
                                     })
                            .value();
  CHECK(ParseAnswer(AskRaw(port, request)).value() ==
        HttpResponse{
            405, {{"Connection", "close"}, {"Allow", "GET, HEAD"}, {"Content-Length", "0"}}, ""});
  CHECK(calls == 0);
}

TEST_CASE("an answer that HTTP cannot express ends the connection") {
  const HttpResponse answer = GENERATE(values<HttpResponse>({
      {200, {{"X-Name", "a\r\nX-Other: b"}}, ""},
      {200, {{"", "value"}}, ""},
      {99, {}, ""},
      {1000, {}, ""},
  }));
  CAPTURE(answer.status);
  const auto server = HttpServer::Start().value();
  const uint16_t port =
      server->Listen(kLocal, 0, [answer](const HttpRequest&) { return answer; }).value();
  CHECK(AskRaw(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") == "");
}

TEST_CASE("a request may come in pieces") {
  const auto server = HttpServer::Start().value();
  const uint16_t port = server->Listen(kLocal, 0, SayHello).value();
  HttpClient client = HttpClient::Connect(kLocal, port).value();
  client.Send(kHalf);
  // The server has seen the half when it has answered somebody who came later.
  CHECK(Ask(kLocal, port, "/").value() == kHello);
  client.Send(kRest);
  CHECK(ParseAnswer(client.ReadToEnd().value()).value() == kHello);
}

TEST_CASE("what is not HTTP is no request") {
  const auto server = HttpServer::Start().value();
  std::atomic<int> calls = 0;
  const uint16_t port = server
                            ->Listen(kLocal, 0,
                                     [&calls](const HttpRequest& asked) {
                                       ++calls;
                                       return SayHello(asked);
                                     })
                            .value();
  AskRaw(port, std::string("\x16\x03\x01\x02\x00\x01\r\n\r\n", 10));
  CHECK(calls == 0);
  CHECK(Ask(kLocal, port, "/").value() == kHello);
}

TEST_CASE("a request larger than a connection's memory is refused") {
  const auto server = HttpServer::Start({.memory_per_connection = 4096}).value();
  const uint16_t port = server->Listen(kLocal, 0, SayHello).value();
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\nX-Fill: ";
  CHECK(ParseAnswer(AskRaw(port, start + std::string(2000, 'x') + "\r\n\r\n")).value() == kHello);
  CHECK(ParseAnswer(AskRaw(port, start + std::string(8000, 'x') + "\r\n\r\n")).value().status ==
        431);
}

TEST_CASE("a connection beyond the limit waits until another one ends") {
  const auto server = HttpServer::Start({.connections_per_listener = 2}).value();
  const uint16_t port = server->Listen(kLocal, 0, SayHello).value();
  const uint16_t other_port = server->Listen(kLocal, 0, SayHello).value();
  auto first = std::make_unique<HttpClient>(HttpClient::Connect(kLocal, port).value());
  first->Send(kHalf);
  HttpClient second = HttpClient::Connect(kLocal, port).value();
  second.Send(kHalf);
  HttpClient third = HttpClient::Connect(kLocal, port).value();
  third.Send(std::string(kHalf) + kRest);
  CHECK(third.ReadToEnd(kShortly).status().code() == absl::StatusCode::kDeadlineExceeded);
  // The limit is the listener's own.
  CHECK(Ask(kLocal, other_port, "/").value() == kHello);
  first.reset();
  CHECK(ParseAnswer(third.ReadToEnd().value()).value() == kHello);
  second.Send(kRest);
  CHECK(ParseAnswer(second.ReadToEnd().value()).value() == kHello);
}

TEST_CASE("all clients of a full listener are answered") {
  const auto server = HttpServer::Start({.connections_per_listener = 1}).value();
  const uint16_t port = server->Listen(kLocal, 0, SayHello).value();
  std::vector<HttpClient> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(HttpClient::Connect(kLocal, port).value());
  for (HttpClient& client : clients) client.Send(std::string(kHalf) + kRest);
  for (HttpClient& client : clients) {
    CHECK(ParseAnswer(client.ReadToEnd().value()).value() == kHello);
  }
}

TEST_CASE("a connection on which nothing comes is ended") {
  const auto server = HttpServer::Start({.connection_timeout = absl::Milliseconds(1)}).value();
  const uint16_t port = server->Listen(kLocal, 0, SayHello).value();
  HttpClient client = HttpClient::Connect(kLocal, port).value();
  client.Send(kHalf);
  CHECK(client.ReadToEnd().ok());
}

TEST_CASE("listeners have a limit, and one that is closed makes room") {
  const auto server = HttpServer::Start({.listeners = 2}).value();
  const uint16_t first = server->Listen(kLocal, 0, SayHello).value();
  const uint16_t second = server->Listen(kLocal, 0, SayHello).value();
  CHECK(server->Listen(kLocal, 0, SayHello).status().code() ==
        absl::StatusCode::kResourceExhausted);
  server->Close(kLocal, first);
  const uint16_t third = server->Listen(kLocal, 0, SayHello).value();
  CHECK(Ask(kLocal, second, "/").value() == kHello);
  CHECK(Ask(kLocal, third, "/").value() == kHello);
}

TEST_CASE("Close ends connections that are open") {
  const auto server = HttpServer::Start().value();
  const uint16_t port = server->Listen(kLocal, 0, SayHello).value();
  HttpClient client = HttpClient::Connect(kLocal, port).value();
  client.Send(kHalf);
  CHECK(Ask(kLocal, port, "/").value() == kHello);
  server->Close(kLocal, port);
  CHECK(client.ReadToEnd().value() == "");
}

TEST_CASE("Close returns when no handler runs any more") {
  const auto server = HttpServer::Start().value();
  std::promise<void> entered, closed;
  std::future<void> is_closed = closed.get_future();
  std::atomic<bool> waited = false;
  const uint16_t port =
      server
          ->Listen(kLocal, 0,
                   [&](const HttpRequest& request) {
                     entered.set_value();
                     waited = is_closed.wait_for(absl::ToChronoMilliseconds(kShortly)) ==
                              std::future_status::timeout;
                     return SayHello(request);
                   })
          .value();
  HttpClient client = HttpClient::Connect(kLocal, port).value();
  client.Send(std::string(kHalf) + kRest);
  entered.get_future().wait();
  server->Close(kLocal, port);
  CHECK(waited);
  closed.set_value();
}

TEST_CASE("a server that goes takes its listeners along") {
  auto server = HttpServer::Start().value();
  const uint16_t port = server->Listen(kLocal, 0, SayHello).value();
  server.reset();
  CHECK(HttpClient::Connect(kLocal, port).status().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("the unspecified IPv6 address is of both families only where that is asked for") {
  const bool dual_stack = GENERATE(false, true);
  CAPTURE(dual_stack);
  if (SkipWithoutIpv6()) return;
  const auto server = HttpServer::Start().value();
  const uint16_t port = server->Listen(kAny6, 0, SayHello, {.dual_stack = dual_stack}).value();
  CHECK(Ask(kLocal6, port, "/").value() == kHello);
  CHECK(Ask(kLocal, port, "/").ok() == dual_stack);
}

TEST_CASE("no other address is of both families") {
  const IpAddress address = GENERATE(values<IpAddress>({IpAddress(), kLocal, kLocal6}));
  CAPTURE(address.Format());
  const auto server = HttpServer::Start().value();
  CHECK(server->Listen(address, 0, SayHello, {.dual_stack = true}).status() ==
        absl::InvalidArgumentError("cannot listen on " + FormatAddressPort(address, 0) +
                                   ": only [::] can be of both families"));
}

TEST_CASE("an address without the zone it needs cannot be listened on") {
  const auto server = HttpServer::Start().value();
  CHECK(server->Listen(IpAddress::Parse("fe80::1").value(), 0, SayHello).status() ==
        absl::InvalidArgumentError("cannot listen on [fe80::1]:0: Invalid argument"));
}

TEST_CASE("listeners come and go from many threads, while clients ask") {
  const auto server = HttpServer::Start().value();
  const uint16_t steady = server->Listen(kLocal, 0, SayHello).value();
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 25; ++round) {
        const uint16_t port = server->Listen(kLocal, 0, SayHello).value();
        if (Ask(kLocal, port, "/").value() != kHello) ++wrong;
        if (Ask(kLocal, steady, "/").value() != kHello) ++wrong;
        server->Close(kLocal, port);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace fairlead
