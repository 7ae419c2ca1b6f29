#include "test/kubernetes/relay.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "absl/status/status.h"

namespace fairlead::lab {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Passes on what there is; false at the end of either side.
bool Copy(int from, int to) {
  std::array<char, 65536> buffer;
  const ssize_t size = ::recv(from, buffer.data(), buffer.size(), 0);
  if (size <= 0) return false;
  for (ssize_t sent = 0; sent < size;) {
    const ssize_t count =
        ::send(to, buffer.data() + sent, static_cast<size_t>(size - sent), MSG_NOSIGNAL);
    if (count < 0) return false;
    sent += count;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Relay>> Relay::Start(int target_port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  sockaddr_in address = Loopback(0);
  socklen_t length = sizeof(address);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::listen(listener, SOMAXCONN) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    const int error = errno;
    ::close(listener);
    ::close(wake);
    return absl::ErrnoToStatus(error, "relay");
  }
  std::unique_ptr<Relay> relay(new Relay(listener, wake, ntohs(address.sin_port), target_port));
  relay->thread_ = std::thread([raw = relay.get()] { raw->Run(); });
  return relay;
}

Relay::~Relay() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  Wake();
  thread_.join();
  for (const Pipe& pipe : pipes_) Close(pipe);
  ::close(listener_);
  ::close(wake_);
}

void Relay::Cut() {
  {
    const std::lock_guard lock(mutex_);
    cut_ = true;
    ++changes_;
    for (const Pipe& pipe : pipes_) Close(pipe);
    pipes_.clear();
  }
  Wake();
}

void Relay::Freeze() {
  {
    const std::lock_guard lock(mutex_);
    ++changes_;
    for (Pipe& pipe : pipes_) pipe.frozen = true;
  }
  Wake();
}

void Relay::Resume() {
  const std::lock_guard lock(mutex_);
  cut_ = false;
}

int64_t Relay::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_;
}

void Relay::Wake() const {
  const uint64_t one = 1;
  // It can only fail where it is awake already.
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof(one));
}

void Relay::Close(const Pipe& pipe) {
  ::close(pipe.client);
  ::close(pipe.server);
}

void Relay::Accept() {
  Pipe pipe;
  pipe.client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (pipe.client < 0) return;
  if (!cut_) {
    pipe.server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(target_port_);
    if (::connect(pipe.server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      pipes_.push_back(pipe);
      ++connections_;
      return;
    }
  }
  Close(pipe);
}

void Relay::Run() {
  for (;;) {
    std::vector<pollfd> files = {{listener_, POLLIN, 0}, {wake_, POLLIN, 0}};
    int64_t changes = 0;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      changes = changes_;
      for (const Pipe& pipe : pipes_) {
        if (pipe.frozen) continue;
        files.push_back({pipe.client, POLLIN, 0});
        files.push_back({pipe.server, POLLIN, 0});
      }
    }
    if (::poll(files.data(), files.size(), -1) < 0) continue;

    const std::lock_guard lock(mutex_);
    uint64_t count = 0;
    if (files[1].revents != 0 && ::read(wake_, &count, sizeof(count)) < 0) continue;
    if (changes != changes_) continue;
    if (files[0].revents != 0) Accept();
    size_t i = 2;
    for (auto pipe = pipes_.begin(); pipe != pipes_.end() && i < files.size();) {
      if (pipe->frozen) {
        ++pipe;
        continue;
      }
      const bool open = (files[i].revents == 0 || Copy(pipe->client, pipe->server)) &&
                        (files[i + 1].revents == 0 || Copy(pipe->server, pipe->client));
      i += 2;
      if (!open) Close(*pipe);
      pipe = open ? std::next(pipe) : pipes_.erase(pipe);
    }
  }
}

}  // namespace fairlead::lab
