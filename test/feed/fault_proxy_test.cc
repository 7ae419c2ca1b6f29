// The proxy itself: a fault that it does not make would be a test that cannot fail.
#include "test/feed/fault_proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <string>

namespace fairlead::feed_test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBoundMilliseconds = 20'000;

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// What a socket gives next: bytes, "EOF", "reset", or "nothing" for `milliseconds`.
std::string Receive(int socket, int milliseconds = kBoundMilliseconds) {
  pollfd event = {socket, POLLIN, 0};
  if (poll(&event, 1, milliseconds) == 0) return "nothing";
  char buffer[4096];
  const ssize_t length = recv(socket, buffer, sizeof(buffer), 0);
  if (length < 0) return errno == ECONNRESET ? "reset" : "error";
  return length == 0 ? "EOF" : std::string(buffer, static_cast<size_t>(length));
}

// A connection through a proxy, with both ends in hand.
class Line {
 public:
  Line() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), proxy_(Listen()) {}
  ~Line() {
    for (const int end : {listener_, client_, server_}) close(end);
  }

  FaultProxy& proxy() { return proxy_; }
  void Connect() {
    client_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(proxy_.port());
    REQUIRE(connect(client_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    server_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    REQUIRE(server_ >= 0);
  }
  int client() const { return client_; }
  int server() const { return server_; }
  void SendFromClient(const std::string& bytes) const {
    REQUIRE(send(client_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }

 private:
  int Listen() const {
    sockaddr_in address = Loopback(0);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof(address);
    REQUIRE(bind(listener_, generic, length) == 0);
    REQUIRE(listen(listener_, 8) == 0);
    REQUIRE(getsockname(listener_, generic, &length) == 0);
    return ntohs(address.sin_port);
  }

  const int listener_;
  FaultProxy proxy_;
  int client_ = -1;
  int server_ = -1;
};

TEST_CASE("Bytes and ends are carried both ways") {
  Line line;
  line.Connect();
  line.SendFromClient("hello");
  CHECK(Receive(line.server()) == "hello");
  REQUIRE(send(line.server(), "there", 5, 0) == 5);
  CHECK(Receive(line.client()) == "there");
  shutdown(line.client(), SHUT_WR);
  CHECK(Receive(line.server()) == "EOF");
  REQUIRE(send(line.server(), "more", 4, 0) == 4);
  CHECK(Receive(line.client()) == "more");
  shutdown(line.server(), SHUT_WR);
  CHECK(Receive(line.client()) == "EOF");
}

TEST_CASE("A fault by command is what both ends see") {
  Line line;
  line.Connect();
  line.SendFromClient("hello");
  REQUIRE(Receive(line.server()) == "hello");
  SECTION("reset") {
    line.proxy().Inflict(Fault::kReset);
    CHECK(Receive(line.server()) == "reset");
    CHECK(Receive(line.client()) == "reset");
  }
  SECTION("close") {
    line.proxy().Inflict(Fault::kClose);
    CHECK(Receive(line.server()) == "EOF");
    CHECK(Receive(line.client()) == "EOF");
  }
  SECTION("freeze") {
    line.proxy().Inflict(Fault::kFreeze);
    line.SendFromClient("lost");
    shutdown(line.client(), SHUT_WR);
    CHECK(Receive(line.server(), 50) == "nothing");
  }
}

TEST_CASE("A fault comes after the bytes that its fate allows") {
  Line line;
  line.proxy().SetFates([] { return Fate{.bytes_until_fault = 3, .fault = Fault::kReset}; });
  line.Connect();
  line.SendFromClient("hello");
  std::string received = Receive(line.server());
  // The reset may be faster than the reader.
  CHECK((received == "hel" || received == "reset"));
  if (received == "hel") received = Receive(line.server());
  CHECK(received == "reset");
}

TEST_CASE("Delayed bytes come later, and throttled ones slowly") {
  Line line;
  line.proxy().SetFates(
      [] { return Fate{.delay = std::chrono::milliseconds(60), .rate = 10'000}; });
  line.Connect();
  const Clock::time_point begin = Clock::now();
  line.SendFromClient(std::string(1'500, 'x'));
  size_t received = Receive(line.server()).size();
  CHECK(Clock::now() - begin >= std::chrono::milliseconds(60));
  while (received < 1'500) received += Receive(line.server()).size();
  CHECK(Clock::now() - begin >= std::chrono::milliseconds(150));
}

TEST_CASE("A refused connection is reset") {
  Line line;
  line.proxy().Refuse(true);
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(line.proxy().port());
  const int connected =
      connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  CHECK((connected == 0 ? Receive(client) : "reset") == "reset");
  close(client);
  CHECK(line.proxy().accepted() == 1);
}

}  // namespace
}  // namespace fairlead::feed_test
