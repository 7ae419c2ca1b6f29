// The same cases over listeners in memory and over the kernel's.
#include <catch2/catch.hpp>
#include <memory>

#include "proxy/health/http_server.h"
#include "test/proxy/health/http_client.h"
#include "test/proxy/health/memory_listeners.h"

namespace fairlead {
namespace {

const IpAddress kAny4;
const IpAddress kAny6 = IpAddress::Parse("::").value();
const IpAddress kLocal = IpAddress::Parse("127.0.0.1").value();
const IpAddress kOtherLocal = IpAddress::Parse("127.0.0.2").value();
const IpAddress kLocal6 = IpAddress::Parse("::1").value();
// Of a range that is for documents.
const IpAddress kNowhere = IpAddress::Parse("192.0.2.1").value();

HttpHandler Say(const std::string& body) {
  return [body](const HttpRequest&) { return HttpResponse{200, {}, body}; };
}

// Listeners, and what a client is told by them.
struct Subject {
  std::unique_ptr<HttpListeners> listeners;
  std::function<absl::StatusOr<HttpResponse>(const IpAddress&, uint16_t)> ask;

  std::string Hear(const IpAddress& address, uint16_t port) const {
    const absl::StatusOr<HttpResponse> response = ask(address, port);
    return response.ok() ? response->body : absl::StatusCodeToString(response.status().code());
  }
};

Subject MakeSubject(const std::string& kind) {
  if (kind == "kernel") {
    return {HttpServer::Start().value(),
            [](const IpAddress& address, uint16_t port) { return Ask(address, port, "/"); }};
  }
  auto memory =
      std::make_unique<MemoryListeners>(std::set<IpAddress>{kLocal, kOtherLocal, kLocal6});
  const MemoryListeners* const asked = memory.get();
  return {std::move(memory), [asked](const IpAddress& address, uint16_t port) {
            return asked->Ask(address, port, "/");
          }};
}

TEST_CASE("a port is served from Listen to Close, and then free again") {
  const std::string kind = GENERATE("memory", "kernel");
  CAPTURE(kind);
  const Subject subject = MakeSubject(kind);
  const uint16_t port = subject.listeners->Listen(kLocal, 0, Say("first")).value();
  CHECK(port != 0);
  CHECK(subject.Hear(kLocal, port) == "first");
  CHECK(subject.Hear(kOtherLocal, port) == "UNAVAILABLE");
  subject.listeners->Close(kLocal, port);
  CHECK(subject.Hear(kLocal, port) == "UNAVAILABLE");
  CHECK(subject.listeners->Listen(kLocal, port, Say("second")).value() == port);
  CHECK(subject.Hear(kLocal, port) == "second");
}

TEST_CASE("one port has a handler for each address") {
  const std::string kind = GENERATE("memory", "kernel");
  CAPTURE(kind);
  const Subject subject = MakeSubject(kind);
  const uint16_t port = subject.listeners->Listen(kLocal, 0, Say("first")).value();
  CHECK(subject.listeners->Listen(kOtherLocal, port, Say("second")).value() == port);
  CHECK(subject.Hear(kLocal, port) == "first");
  CHECK(subject.Hear(kOtherLocal, port) == "second");
  subject.listeners->Close(kLocal, port);
  CHECK(subject.Hear(kLocal, port) == "UNAVAILABLE");
  CHECK(subject.Hear(kOtherLocal, port) == "second");
}

TEST_CASE("an unspecified address is all addresses of its family") {
  const std::string kind = GENERATE("memory", "kernel");
  CAPTURE(kind);
  if (kind == "kernel" && SkipWithoutIpv6()) return;
  const Subject subject = MakeSubject(kind);
  const uint16_t port = subject.listeners->Listen(kAny4, 0, Say("IPv4")).value();
  CHECK(subject.listeners->Listen(kAny6, port, Say("IPv6")).value() == port);
  CHECK(subject.Hear(kLocal, port) == "IPv4");
  CHECK(subject.Hear(kOtherLocal, port) == "IPv4");
  CHECK(subject.Hear(kLocal6, port) == "IPv6");
}

TEST_CASE("Listen tells why not, and leaves the listener that is there alone") {
  struct Case {
    std::string name;
    IpAddress there;
    IpAddress asked;
    absl::StatusCode code;
    std::string reason;
  };
  const Case c = GENERATE(values<Case>({
      {"the same address", kLocal, kLocal, absl::StatusCode::kAlreadyExists,
       "Address already in use"},
      {"one of all", kAny4, kLocal, absl::StatusCode::kAlreadyExists, "Address already in use"},
      {"all with one there", kLocal, kAny4, absl::StatusCode::kAlreadyExists,
       "Address already in use"},
      {"one of all, IPv6", kAny6, kLocal6, absl::StatusCode::kAlreadyExists,
       "Address already in use"},
      {"not this machine's", kLocal, kNowhere, absl::StatusCode::kUnavailable,
       "Cannot assign requested address"},
  }));
  const std::string kind = GENERATE("memory", "kernel");
  CAPTURE(c.name, kind);
  if (!c.asked.is_v4() && kind == "kernel" && SkipWithoutIpv6()) return;
  const Subject subject = MakeSubject(kind);
  const uint16_t port = subject.listeners->Listen(c.there, 0, Say("first")).value();
  CHECK(subject.listeners->Listen(c.asked, port, Say("second")).status() ==
        absl::Status(c.code,
                     "cannot listen on " + FormatAddressPort(c.asked, port) + ": " + c.reason));
  CHECK(subject.Hear(c.there.is_v4() ? kLocal : kLocal6, port) == "first");
}

TEST_CASE("the closing of what is not open changes nothing") {
  const std::string kind = GENERATE("memory", "kernel");
  CAPTURE(kind);
  const Subject subject = MakeSubject(kind);
  const uint16_t port = subject.listeners->Listen(kLocal, 0, Say("here")).value();
  subject.listeners->Close(kOtherLocal, port);
  subject.listeners->Close(kAny4, port);
  CHECK(subject.Hear(kLocal, port) == "here");
}

}  // namespace
}  // namespace fairlead
