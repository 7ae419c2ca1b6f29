#include "test/feed/fault_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <utility>

namespace fairlead::feed_test {
namespace {

// Of each direction, read and not yet written: more than that waits in the sender.
constexpr size_t kMaxBuffered = 64 << 10;
// At a time, so that a low rate is not one long pause after another.
constexpr size_t kThrottledPiece = 512;

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void SetUp(int socket) {
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// -1 where nobody listens.
int Connect(int port) {
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return connection;
  }
  close(connection);
  return -1;
}

void Close(int socket, bool reset) {
  const linger abort = {.l_onoff = 1, .l_linger = 0};
  if (reset) setsockopt(socket, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
  close(socket);
}

}  // namespace

FaultProxy::FaultProxy(int target_port)
    : target_port_(target_port),
      listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  sockaddr_in address = Loopback(0);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);
  REQUIRE(bind(listener_, generic, length) == 0);
  REQUIRE(listen(listener_, SOMAXCONN) == 0);
  REQUIRE(getsockname(listener_, generic, &length) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Run(); });
}

FaultProxy::~FaultProxy() {
  Post([this] {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  });
  thread_.join();
  for (Connection& connection : connections_) CloseSockets(connection, /*reset=*/true);
  close(listener_);
  close(wake_);
}

size_t FaultProxy::accepted() const {
  std::lock_guard lock(mutex_);
  return accepted_;
}

void FaultProxy::SetFates(std::function<Fate()> fates) {
  Post([this, fates = std::move(fates)] { fates_ = fates; });
}

void FaultProxy::Refuse(bool refuse) {
  Post([this, refuse] { refuse_ = refuse; });
}

void FaultProxy::Change(const Fate& fate) {
  Post([this, fate] {
    for (Connection& connection : connections_) connection.fate = fate;
  });
}

void FaultProxy::Inflict(Fault fault) {
  Post([this, fault] {
    for (Connection& connection : connections_) Apply(connection, fault);
  });
}

void FaultProxy::Post(Command command) {
  {
    std::lock_guard lock(mutex_);
    commands_.push_back(std::move(command));
  }
  eventfd_write(wake_, 1);
}

void FaultProxy::Run() {
  while (true) {
    Wait();
    RunCommands();
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    Accept();
    for (Connection& connection : connections_) Serve(connection);
    connections_.remove_if([](const Connection& connection) { return connection.dead; });
  }
}

void FaultProxy::RunCommands() {
  eventfd_t ignored;
  eventfd_read(wake_, &ignored);
  std::vector<Command> commands;
  {
    std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const Command& command : commands) command();
}

bool FaultProxy::WantsRead(const Connection& connection, const Direction& direction) {
  return !direction.ended && (connection.closing || direction.buffered < kMaxBuffered);
}

bool FaultProxy::MayWrite(const Direction& direction, Clock::time_point now) {
  return !direction.chunks.empty() && direction.chunks.front().due <= now &&
         direction.next_write <= now;
}

void FaultProxy::Wait() {
  const Clock::time_point now = Clock::now();
  Clock::time_point next = now + std::chrono::hours(1);
  std::vector<pollfd> events = {{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
  for (const Connection& connection : connections_) {
    if (connection.frozen) continue;
    for (const Direction& direction : connection.directions) {
      if (WantsRead(connection, direction)) events.push_back({direction.from, POLLIN, 0});
      if (direction.chunks.empty()) continue;
      if (MayWrite(direction, now)) {
        events.push_back({direction.to, POLLOUT, 0});
      } else {
        next = std::min(next, std::max(direction.chunks.front().due, direction.next_write));
      }
    }
  }
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - now);
  poll(events.data(), events.size(), static_cast<int>(wait.count()));
}

void FaultProxy::Accept() {
  while (true) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    {
      std::lock_guard lock(mutex_);
      ++accepted_;
    }
    const int server = refuse_ ? -1 : Connect(target_port_);
    if (server < 0) {
      Close(client, /*reset=*/true);
      continue;
    }
    SetUp(client);
    SetUp(server);
    Connection& connection = connections_.emplace_back();
    connection.fate = fates_();
    connection.directions[0].from = connection.directions[1].to = client;
    connection.directions[0].to = connection.directions[1].from = server;
  }
}

void FaultProxy::Serve(Connection& connection) {
  if (connection.frozen || connection.dead) return;
  const Clock::time_point now = Clock::now();
  for (Direction& direction : connection.directions) {
    if (!Read(connection, direction) || !Write(connection, direction, now)) {
      CloseSockets(connection, /*reset=*/true);
      return;
    }
    if (connection.frozen || connection.dead) return;
  }
  const auto over = [](const Direction& direction) {
    return direction.ended && direction.chunks.empty();
  };
  if (over(connection.directions[0]) && over(connection.directions[1])) {
    CloseSockets(connection, /*reset=*/false);
  }
}

bool FaultProxy::Read(Connection& connection, Direction& direction) {
  if (!WantsRead(connection, direction)) return true;
  char buffer[16 << 10];
  const ssize_t length = recv(direction.from, buffer, sizeof(buffer), 0);
  if (length < 0) return errno == EAGAIN || errno == EINTR;
  if (length == 0) {
    direction.ended = true;
    return true;
  }
  if (connection.closing) return true;
  const auto size = static_cast<size_t>(length);
  direction.chunks.push_back({std::string(buffer, size), Clock::now() + connection.fate.delay});
  direction.buffered += size;
  return true;
}

bool FaultProxy::Write(Connection& connection, Direction& direction, Clock::time_point now) {
  Fate& fate = connection.fate;
  while (MayWrite(direction, now)) {
    std::string& bytes = direction.chunks.front().bytes;
    size_t size = std::min(bytes.size(), fate.bytes_until_fault);
    if (fate.rate > 0) size = std::min(size, kThrottledPiece);
    const ssize_t sent = send(direction.to, bytes.data(), size, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    const auto length = static_cast<size_t>(sent);
    bytes.erase(0, length);
    direction.buffered -= length;
    if (bytes.empty()) direction.chunks.pop_front();
    if (fate.rate > 0) {
      direction.next_write = now + std::chrono::microseconds(1'000'000 * length / fate.rate);
    }
    if (fate.bytes_until_fault != std::numeric_limits<size_t>::max()) {
      fate.bytes_until_fault -= length;
    }
    if (fate.bytes_until_fault == 0) {
      fate.bytes_until_fault = std::numeric_limits<size_t>::max();
      Apply(connection, fate.fault);
      return true;
    }
  }
  if (direction.ended && direction.chunks.empty() && !std::exchange(direction.told, true)) {
    shutdown(direction.to, SHUT_WR);
  }
  return true;
}

void FaultProxy::Apply(Connection& connection, Fault fault) {
  switch (fault) {
    case Fault::kReset:
      CloseSockets(connection, /*reset=*/true);
      return;
    case Fault::kClose:
      connection.closing = true;
      for (Direction& direction : connection.directions) {
        direction.chunks.clear();
        direction.told = true;
        shutdown(direction.to, SHUT_WR);
      }
      return;
    case Fault::kFreeze:
      connection.frozen = true;
      return;
  }
}

void FaultProxy::CloseSockets(Connection& connection, bool reset) {
  if (std::exchange(connection.dead, true)) return;
  for (const Direction& direction : connection.directions) Close(direction.from, reset);
}

}  // namespace fairlead::feed_test
