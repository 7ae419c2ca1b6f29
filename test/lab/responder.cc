#include "test/lab/responder.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "test/lab/socket_address.h"

namespace fairlead::lab {
namespace {

constexpr Responder::Id kWakeId = 0;  // servers and connections start at 1
constexpr int kBacklog = 1024;
constexpr int kEventsAtOnce = 64;

std::string FormatAnswer(absl::string_view name, absl::string_view client) {
  return absl::StrCat("name=", name, " client=", client, "\n");
}

// The delay that the request's first line asks for.
absl::Duration ParseDelay(absl::string_view request) {
  const absl::string_view line = request.substr(0, request.find('\r'));
  const size_t at = line.find("ms=");
  if (at == absl::string_view::npos) return absl::ZeroDuration();
  const absl::string_view rest = line.substr(at + 3);
  int64_t milliseconds = 0;
  const absl::string_view digits = rest.substr(0, rest.find_first_not_of("0123456789"));
  if (!absl::SimpleAtoi(digits, &milliseconds)) return absl::ZeroDuration();
  return absl::Milliseconds(milliseconds);
}

absl::StatusOr<int> OpenSocket(int port, Transport transport) {
  const bool datagrams = transport == Transport::kUdp;
  const int socket =
      ::socket(AF_INET6, (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
               transport == Transport::kSctp ? IPPROTO_SCTP : 0);
  if (socket < 0) return absl::ErrnoToStatus(errno, "socket");
  const int no = 0;
  const int yes = 1;
  ::setsockopt(socket, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
  if (!datagrams) ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (datagrams) ::setsockopt(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, &yes, sizeof(yes));
  sockaddr_in6 any = {};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(static_cast<uint16_t>(port));
  if (::bind(socket, reinterpret_cast<sockaddr*>(&any), sizeof(any)) != 0 ||
      (!datagrams && ::listen(socket, kBacklog) != 0)) {
    const int error = errno;
    ::close(socket);
    return absl::ErrnoToStatus(error, absl::StrCat("listen on port ", port));
  }
  return socket;
}

}  // namespace

Responder::Responder()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  {
    absl::MutexLock lock(&mutex_);
    Watch(kWakeId, wake_);
  }
  thread_ = std::thread([this] { Loop(); });
}

Responder::~Responder() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  ::eventfd_write(wake_, 1);
  thread_.join();
  absl::MutexLock lock(&mutex_);
  while (!connections_.empty()) Close(connections_.begin()->first, true);
  for (auto& [id, server] : servers_) CloseServerSocket(server);
  ::close(wake_);
  ::close(epoll_);
}

absl::StatusOr<Responder::Id> Responder::AddHttp(const NetNamespace& net, int port,
                                                 absl::string_view name, Transport transport) {
  return Add(net, port, name, transport);
}

absl::StatusOr<Responder::Id> Responder::AddUdp(const NetNamespace& net, int port,
                                                absl::string_view name) {
  return Add(net, port, name, Transport::kUdp);
}

absl::StatusOr<Responder::Id> Responder::Add(const NetNamespace& net, int port,
                                             absl::string_view name, Transport transport) {
  const absl::StatusOr<int> socket = net.Run([&] { return OpenSocket(port, transport); });
  if (!socket.ok()) {
    return absl::Status(socket.status().code(),
                        absl::StrCat(net.name(), ": ", socket.status().message()));
  }
  absl::MutexLock lock(&mutex_);
  const Id id = ++last_id_;
  servers_[id] = Server{.name = std::string(name), .transport = transport, .socket = *socket};
  Watch(id, *socket);
  return id;
}

void Responder::StopAccepting(Id id) {
  absl::MutexLock lock(&mutex_);
  const auto server = servers_.find(id);
  if (server != servers_.end()) CloseServerSocket(server->second);
}

void Responder::Remove(Id id) {
  absl::MutexLock lock(&mutex_);
  const auto server = servers_.find(id);
  if (server == servers_.end()) return;
  CloseServerSocket(server->second);
  servers_.erase(server);
  std::vector<Id> orphans;
  for (const auto& [connection_id, connection] : connections_) {
    if (connection.server == id) orphans.push_back(connection_id);
  }
  for (const Id orphan : orphans) Close(orphan, true);
}

int64_t Responder::Answered(Id id) const {
  absl::MutexLock lock(&mutex_);
  const auto server = servers_.find(id);
  return server == servers_.end() ? 0 : server->second.answered;
}

int64_t Responder::OpenConnections(Id id) const {
  absl::MutexLock lock(&mutex_);
  return std::count_if(connections_.begin(), connections_.end(),
                       [id](const auto& entry) { return entry.second.server == id; });
}

void Responder::Loop() {
  epoll_event events[kEventsAtOnce];
  int timeout_ms = -1;
  while (true) {
    const int count = ::epoll_wait(epoll_, events, kEventsAtOnce, timeout_ms);
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    for (int i = 0; i < count; ++i) HandleEvent(events[i].data.u64);
    const absl::Time now = absl::Now();
    AnswerDelayed(now);
    timeout_ms = -1;
    if (!delayed_.empty()) {
      const absl::Duration left = absl::Ceil(delayed_.begin()->first - now, absl::Milliseconds(1));
      timeout_ms = static_cast<int>(absl::ToInt64Milliseconds(left));
    }
  }
}

void Responder::Watch(Id id, int socket) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = id;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
}

void Responder::HandleEvent(Id id) {
  if (id == kWakeId) {
    eventfd_t value = 0;
    ::eventfd_read(wake_, &value);
    return;
  }
  // What was removed since the event was seen is in neither table.
  if (const auto server = servers_.find(id); server != servers_.end()) {
    if (server->second.socket < 0) return;
    if (server->second.transport == Transport::kUdp) {
      AnswerDatagrams(server->second);
    } else {
      Accept(id, server->second);
    }
  } else if (connections_.contains(id)) {
    Read(id);
  }
}

void Responder::Accept(Id id, const Server& server) {
  while (true) {
    sockaddr_in6 client = {};
    socklen_t size = sizeof(client);
    const int socket = ::accept4(server.socket, reinterpret_cast<sockaddr*>(&client), &size,
                                 SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0) return;
    if (connections_.size() >= kMaxConnections) {
      ::close(socket);
      continue;
    }
    const Id connection_id = ++last_id_;
    connections_[connection_id] = Connection{
        .server = id, .socket = socket, .client = FormatSocketAddress(client), .request = {}};
    Watch(connection_id, socket);
  }
}

void Responder::AnswerDatagrams(Server& server) {
  while (true) {
    sockaddr_in6 client = {};
    char data[2048];
    iovec part = {data, sizeof(data)};
    alignas(cmsghdr) char control[256];
    msghdr message = {};
    message.msg_name = &client;
    message.msg_namelen = sizeof(client);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    if (::recvmsg(server.socket, &message, 0) < 0) return;
    // The control data says to which address it came; sent back, it says from which to answer. The
    // interface is left to routing.
    for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr;
         item = CMSG_NXTHDR(&message, item)) {
      if (item->cmsg_level != IPPROTO_IPV6 || item->cmsg_type != IPV6_PKTINFO) continue;
      reinterpret_cast<in6_pktinfo*>(CMSG_DATA(item))->ipi6_ifindex = 0;
    }
    std::string answer = FormatAnswer(server.name, FormatSocketAddress(client));
    part = {answer.data(), answer.size()};
    if (::sendmsg(server.socket, &message, MSG_NOSIGNAL) >= 0) ++server.answered;
  }
}

void Responder::Read(Id id) {
  Connection& connection = connections_.at(id);
  char data[4096];
  ssize_t size = 0;
  while ((size = ::read(connection.socket, data, sizeof(data))) > 0) {
    connection.request.append(data, static_cast<size_t>(size));
    if (connection.request.size() > kMaxRequestBytes) return Close(id, true);
  }
  if (size == 0 || errno != EAGAIN) return Close(id, false);
  HandleRequests(id);
}

void Responder::HandleRequests(Id id) {
  while (true) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || found->second.delayed) return;
    if (!absl::StrContains(found->second.request, "\r\n\r\n")) return;
    const absl::Duration delay = ParseDelay(found->second.request);
    if (delay > absl::ZeroDuration()) {
      found->second.delayed = true;
      delayed_.emplace(absl::Now() + delay, id);
      return;
    }
    Answer(id);
  }
}

void Responder::Answer(Id id) {
  Connection& connection = connections_.at(id);
  const size_t end = connection.request.find("\r\n\r\n") + 4;
  const std::string request = connection.request.substr(0, end);
  connection.request.erase(0, end);
  connection.delayed = false;

  const auto server = servers_.find(connection.server);
  if (server == servers_.end()) return Close(id, true);
  const std::string body = FormatAnswer(server->second.name, connection.client);
  const bool last = absl::StrContains(request, "Connection: close\r\n");
  const std::string answer =
      absl::StrCat("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ", body.size(),
                   last ? "\r\nConnection: close" : "", "\r\n\r\n", body);
  // An answer always fits the send buffer: the client has read the one before.
  if (::send(connection.socket, answer.data(), answer.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(answer.size())) {
    return Close(id, true);
  }
  ++server->second.answered;
  if (last) Close(id, false);
}

void Responder::AnswerDelayed(absl::Time now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const Id id = delayed_.begin()->second;
    delayed_.erase(delayed_.begin());
    if (!connections_.contains(id)) continue;
    Answer(id);
    HandleRequests(id);
  }
}

void Responder::Close(Id id, bool reset) {
  const auto found = connections_.find(id);
  if (reset) {
    const linger now = {1, 0};
    ::setsockopt(found->second.socket, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  ::close(found->second.socket);
  connections_.erase(found);
}

void Responder::CloseServerSocket(Server& server) {
  if (server.socket >= 0) ::close(server.socket);
  server.socket = -1;
}

}  // namespace fairlead::lab
