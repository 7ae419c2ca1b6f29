// What needs a network namespace, and so root.
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>

#include "proxy/health/http_server.h"
#include "test/proxy/health/http_client.h"
#include "test/proxy/kernel/network_namespace.h"

namespace fairlead {
namespace {

const IpAddress kLocal = IpAddress::Parse("127.0.0.1").value();

HttpResponse SayInside(const HttpRequest&) { return {200, {}, "inside"}; }
HttpResponse SayOutside(const HttpRequest&) { return {200, {}, "outside"}; }

bool SkipWithoutNamespaces() {
  if (CanUseNetworkNamespaces()) return false;
  WARN("skipped: needs root");
  SUCCEED();
  return true;
}

// The calling thread cannot bind privileged ports, for as long as this exists.
class WithoutPrivilegedPorts {
 public:
  WithoutPrivilegedPorts() {
    REQUIRE(syscall(SYS_capget, &header_, before_.data()) == 0);
    std::array<__user_cap_data_struct, 2> reduced = before_;
    reduced[0].effective &= ~(1U << CAP_NET_BIND_SERVICE);
    REQUIRE(syscall(SYS_capset, &header_, reduced.data()) == 0);
  }
  ~WithoutPrivilegedPorts() { syscall(SYS_capset, &header_, before_.data()); }

 private:
  __user_cap_header_struct header_ = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> before_;
};

TEST_CASE("a listener is in the network namespace of the thread that asked for it") {
  if (SkipWithoutNamespaces()) return;
  const auto server = HttpServer::Start().value();
  uint16_t port = 0;
  {
    NetworkNamespace inside;
    port = server->Listen(kLocal, 0, SayInside).value();
    CHECK(Ask(kLocal, port, "/").value().body == "inside");
  }
  CHECK(HttpClient::Connect(kLocal, port).status().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("an address and port is listened on once, whatever the namespace") {
  if (SkipWithoutNamespaces()) return;
  const auto server = HttpServer::Start().value();
  const uint16_t port = server->Listen(kLocal, 0, SayOutside).value();
  {
    NetworkNamespace inside;
    CHECK(server->Listen(kLocal, port, SayInside).status() ==
          absl::AlreadyExistsError("cannot listen on " + FormatAddressPort(kLocal, port) +
                                   ": this server listens there"));
  }
  CHECK(Ask(kLocal, port, "/").value().body == "outside");
}

TEST_CASE("a privileged port needs the privilege") {
  if (SkipWithoutNamespaces()) return;
  const auto server = HttpServer::Start().value();
  NetworkNamespace inside;
  {
    WithoutPrivilegedPorts reduced;
    CHECK(server->Listen(kLocal, 80, SayInside).status() ==
          absl::PermissionDeniedError("cannot listen on 127.0.0.1:80: Permission denied"));
  }
  CHECK(server->Listen(kLocal, 80, SayInside).value() == 80);
}

}  // namespace
}  // namespace fairlead
