#include "test/bench/packets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <latch>
#include <mutex>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "test/bench/need.h"

namespace fairlead::bench {
namespace {

constexpr size_t kChunkBytes = 128 << 10;
constexpr int kBacklog = 1024;
// Longer than a SYN that is sent again takes: such a one shows as latency, not as an error.
constexpr timeval kPatience = {.tv_sec = 10, .tv_usec = 0};

// What an event is about: a socket, and whether it is one of the echo's.
uint64_t TagOf(int socket, bool echo) {
  return static_cast<uint64_t>(socket) << 1 | (echo ? 1 : 0);
}

sockaddr_in AddressOf(const std::string& address, int port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(static_cast<uint16_t>(port));
  Need(inet_pton(AF_INET, address.c_str(), &result.sin_addr) == 1, address);
  return result;
}

void NeedErrno(bool condition, const char* what) {
  if (!condition) Need(false, absl::StrCat(what, ": ", std::strerror(errno)));
}

int Listen(int type, int port) {
  const int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const sockaddr_in any = AddressOf("0.0.0.0", port);
  NeedErrno(fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof(any)) == 0, "bind");
  NeedErrno(type != SOCK_STREAM || listen(fd, kBacklog) == 0, "listen");
  return fd;
}

// A blocking socket of the calling thread's namespace, connected.
class Client {
 public:
  Client(int type, const std::string& address, int port)
      : socket_(socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    const sockaddr_in peer = AddressOf(address, port);
    // The destructor does not run for what fails here.
    absl::Cleanup close_socket = [this] { close(socket_); };
    NeedErrno(setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience)) == 0 &&
                  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience)) == 0,
              "setsockopt");
    NeedErrno(connect(socket_, reinterpret_cast<const sockaddr*>(&peer), sizeof(peer)) == 0,
              "connect");
    std::move(close_socket).Cancel();
  }
  ~Client() { close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // A request and its answer.
  void Ask() {
    std::array<char, kMessageBytes> message{};
    NeedErrno(send(socket_, message.data(), message.size(), MSG_NOSIGNAL) ==
                  static_cast<ssize_t>(message.size()),
              "send");
    NeedErrno(recv(socket_, message.data(), message.size(), MSG_WAITALL) ==
                  static_cast<ssize_t>(message.size()),
              "receive");
  }

  // Until the other end has read all of it.
  void Pour(int64_t bytes) {
    const std::vector<char> chunk(kChunkBytes);
    while (bytes > 0) {
      const size_t size = std::min<size_t>(chunk.size(), static_cast<size_t>(bytes));
      const ssize_t sent = send(socket_, chunk.data(), size, MSG_NOSIGNAL);
      NeedErrno(sent > 0, "send");
      bytes -= sent;
    }
    shutdown(socket_, SHUT_WR);
    char none = 0;
    NeedErrno(recv(socket_, &none, 1, 0) == 0, "receive the end");
  }

 private:
  const int socket_;
};

std::vector<double> TimeEach(int count, const std::function<void()>& work) {
  std::vector<double> times;
  times.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    const absl::Time start = absl::Now();
    work();
    times.push_back(absl::ToDoubleMicroseconds(absl::Now() - start));
  }
  return times;
}

// Runs `work` in so many threads in the target's namespace, all begun together. The first failure
// of a thread is thrown.
absl::Duration TimeTogether(const PacketTarget& target, int threads,
                            const std::function<void()>& work) {
  std::latch ready(threads + 1);
  std::mutex mutex;
  std::string failure;
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&] {
      target.net->Run([&] {
        ready.arrive_and_wait();
        try {
          work();
        } catch (const std::runtime_error& error) {
          const std::lock_guard lock(mutex);
          failure = error.what();
        }
      });
    });
  }
  ready.arrive_and_wait();
  const absl::Time start = absl::Now();
  for (std::thread& thread : running) thread.join();
  const absl::Duration taken = absl::Now() - start;
  Need(failure.empty(), failure);
  return taken;
}

}  // namespace

PacketServer::PacketServer(const lab::NetNamespace& net)
    : net_(net),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      end_(eventfd(0, EFD_CLOEXEC)),
      buffer_(kChunkBytes) {
  net_.Run([&] {
    echo_ = Listen(SOCK_STREAM, kEchoPort);
    sink_ = Listen(SOCK_STREAM, kSinkPort);
    datagrams_ = Listen(SOCK_DGRAM, kEchoPort);
  });
  for (const int fd : {echo_, sink_, datagrams_, end_}) {
    epoll_event event{.events = EPOLLIN, .data = {.u64 = TagOf(fd, fd == echo_)}};
    NeedErrno(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
  }
  thread_ = std::thread([this] { Serve(); });
}

PacketServer::~PacketServer() {
  eventfd_write(end_, 1);
  thread_.join();
  for (const int fd : {echo_, sink_, datagrams_, end_, epoll_}) close(fd);
}

void PacketServer::Serve() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const auto fd = static_cast<int>(events[static_cast<size_t>(i)].data.u64 >> 1);
      const bool echo = (events[static_cast<size_t>(i)].data.u64 & 1) != 0;
      if (fd == end_) return;
      if (fd == echo_ || fd == sink_) {
        Accept(fd, echo);
      } else if (fd == datagrams_) {
        sockaddr_in client{};
        socklen_t size = sizeof(client);
        const ssize_t got = recvfrom(fd, buffer_.data(), buffer_.size(), 0,
                                     reinterpret_cast<sockaddr*>(&client), &size);
        // A client whose answer is lost finds that out itself.
        if (got > 0) {
          (void)sendto(fd, buffer_.data(), static_cast<size_t>(got), 0,
                       reinterpret_cast<sockaddr*>(&client), size);
        }
      } else {
        Read(fd, echo);
      }
    }
  }
}

void PacketServer::Accept(int listener, bool echo) {
  const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  epoll_event event{.events = EPOLLIN, .data = {.u64 = TagOf(fd, echo)}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
}

void PacketServer::Read(int socket, bool echo) {
  const ssize_t got = recv(socket, buffer_.data(), buffer_.size(), 0);
  if (got > 0) {
    // As much as a client asks for fits into the socket's buffer.
    if (echo) (void)send(socket, buffer_.data(), static_cast<size_t>(got), MSG_NOSIGNAL);
    return;
  }
  if (got < 0 && errno == EAGAIN) return;
  close(socket);
}

std::vector<double> TimeConnections(const PacketTarget& target, int count) {
  return target.net->Run([&] {
    return TimeEach(count, [&] { Client(SOCK_STREAM, target.address, target.echo_port).Ask(); });
  });
}

double ConnectionRate(const PacketTarget& target, int clients, int count_each) {
  const absl::Duration taken = TimeTogether(target, clients, [&] {
    for (int i = 0; i < count_each; ++i) {
      Client(SOCK_STREAM, target.address, target.echo_port).Ask();
    }
  });
  return clients * count_each / absl::ToDoubleSeconds(taken);
}

std::vector<double> TimeRequests(const PacketTarget& target, int count) {
  return target.net->Run([&] {
    Client client(SOCK_STREAM, target.address, target.echo_port);
    client.Ask();
    return TimeEach(count, [&] { client.Ask(); });
  });
}

std::vector<double> TimeDatagrams(const PacketTarget& target, int count) {
  return target.net->Run([&] {
    return TimeEach(count, [&] { Client(SOCK_DGRAM, target.address, target.echo_port).Ask(); });
  });
}

double Throughput(const PacketTarget& target, int connections, int64_t bytes_each) {
  const absl::Duration taken = TimeTogether(target, connections, [&] {
    Client(SOCK_STREAM, target.address, target.sink_port).Pour(bytes_each);
  });
  return static_cast<double>(connections) * static_cast<double>(bytes_each) / 1e6 /
         absl::ToDoubleSeconds(taken);
}

}  // namespace fairlead::bench
