#include "test/lab/http_client.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "test/lab/socket_address.h"

namespace fairlead::lab {
namespace {

Response Failed(Outcome outcome, absl::string_view what) {
  Response response;
  response.outcome = outcome;
  response.error = std::string(what);
  return response;
}

// What errno means to a client.
Response FailedWith(int error, absl::string_view what) {
  Outcome outcome = Outcome::kError;
  switch (error) {
    case ECONNREFUSED:
      outcome = Outcome::kRefused;
      break;
    case ETIMEDOUT:
      outcome = Outcome::kTimeout;
      break;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
      outcome = Outcome::kReset;
      break;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EACCES:  // administratively prohibited, or a route of type prohibit
      outcome = Outcome::kUnreachable;
      break;
  }
  return Failed(outcome, absl::StrCat(what, ": ", std::strerror(error)));
}

Response Succeeded() {
  Response response;
  response.outcome = Outcome::kOk;
  return response;
}

// Waits until the socket is ready for `events`; false at the deadline.
bool Await(int socket, short events, absl::Time deadline) {
  while (true) {
    const absl::Duration left =
        absl::Ceil(std::max(deadline - absl::Now(), absl::ZeroDuration()), absl::Milliseconds(1));
    pollfd ready = {socket, events, 0};
    const int count = ::poll(&ready, 1, static_cast<int>(absl::ToInt64Milliseconds(left)));
    if (count > 0) return true;
    if (count == 0) return false;
    if (errno != EINTR) return false;
  }
}

// Parses "name=NAME client=ADDRESS:PORT".
Response ParseAnswer(absl::string_view line) {
  Response response = Failed(Outcome::kError, absl::StrCat("not a responder's answer: ", line));
  absl::string_view rest = absl::StripSuffix(line, "\n");
  if (!absl::ConsumePrefix(&rest, "name=")) return response;
  const size_t blank = rest.find(" client=");
  const size_t colon = rest.rfind(':');
  if (blank == absl::string_view::npos || colon == absl::string_view::npos || colon < blank) {
    return response;
  }
  absl::string_view address = rest.substr(blank + 8, colon - blank - 8);
  absl::ConsumePrefix(&address, "[");
  absl::ConsumeSuffix(&address, "]");
  if (!absl::SimpleAtoi(rest.substr(colon + 1), &response.client_port)) return response;
  response.outcome = Outcome::kOk;
  response.error.clear();
  response.name = std::string(rest.substr(0, blank));
  response.client_address = std::string(address);
  return response;
}

// Makes a connected socket in the calling thread's namespace. On kOk it is in `socket`, on anything
// else there is none.
Response Connect(absl::string_view address, int port, const RequestOptions& options,
                 absl::Time deadline, int& socket) {
  const absl::StatusOr<SocketAddress> peer = ParseSocketAddress(address, port);
  if (!peer.ok()) return Failed(Outcome::kError, peer.status().message());
  const bool datagrams = options.transport == Transport::kUdp;
  const int made = ::socket(peer->family(),
                            (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
                            options.transport == Transport::kSctp ? IPPROTO_SCTP : 0);
  if (made < 0) return FailedWith(errno, "socket");
  absl::Cleanup close_socket = [made] { ::close(made); };

  if (!options.source_address.empty() || options.source_port != 0) {
    const std::string any = peer->family() == AF_INET ? "0.0.0.0" : "::";
    const absl::StatusOr<SocketAddress> source = ParseSocketAddress(
        options.source_address.empty() ? any : options.source_address, options.source_port);
    if (!source.ok()) return Failed(Outcome::kError, source.status().message());
    const int yes = 1;
    ::setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (::bind(made, source->get(), source->size) != 0) return FailedWith(errno, "bind");
  }
  if (::connect(made, peer->get(), peer->size) != 0) {
    if (errno != EINPROGRESS) return FailedWith(errno, "connect");
    if (!Await(made, POLLOUT, deadline)) return Failed(Outcome::kTimeout, "connect: timed out");
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(made, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return FailedWith(error, "connect");
  }
  std::move(close_socket).Cancel();
  socket = made;
  return Succeeded();
}

Response SendRequest(int socket, absl::string_view path, bool last) {
  const std::string request = absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: lab\r\n",
                                           last ? "Connection: close\r\n" : "", "\r\n");
  // A request fits the send buffer.
  if (::send(socket, request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    return FailedWith(errno, "send");
  }
  return Succeeded();
}

// Takes one answer from the front of `unread`; false if it is not complete yet.
bool TakeAnswer(std::string& unread, Response& response) {
  const size_t head = unread.find("\r\n\r\n");
  if (head == std::string::npos) return false;
  constexpr absl::string_view kLength = "Content-Length: ";
  const size_t at = absl::string_view(unread).find(kLength);
  size_t length = 0;
  if (at < head) {
    const absl::string_view value = absl::string_view(unread).substr(at + kLength.size());
    if (!absl::SimpleAtoi(value.substr(0, value.find('\r')), &length)) length = 0;
  }
  if (unread.size() < head + 4 + length) return false;
  response = ParseAnswer(absl::string_view(unread).substr(head + 4, length));
  unread.erase(0, head + 4 + length);
  return true;
}

Response ReadAnswer(int socket, std::string& unread, absl::Time deadline) {
  Response response;
  while (!TakeAnswer(unread, response)) {
    if (!Await(socket, POLLIN, deadline)) return Failed(Outcome::kTimeout, "no answer in time");
    char data[4096];
    const ssize_t size = ::recv(socket, data, sizeof(data), 0);
    if (size < 0 && errno == EAGAIN) continue;
    if (size < 0) return FailedWith(errno, "receive");
    if (size == 0) return Failed(Outcome::kReset, "closed before the answer");
    unread.append(data, static_cast<size_t>(size));
  }
  return response;
}

}  // namespace

absl::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kTimeout:
      return "timeout";
    case Outcome::kReset:
      return "reset";
    case Outcome::kUnreachable:
      return "unreachable";
    case Outcome::kError:
      return "error";
  }
  return "unknown";
}

std::ostream& operator<<(std::ostream& out, Outcome outcome) { return out << OutcomeName(outcome); }

std::ostream& operator<<(std::ostream& out, const Response& response) {
  if (!response.ok()) return out << response.outcome << " (" << response.error << ")";
  return out << response.name << " (client " << response.client_address << ":"
             << response.client_port << ")";
}

Response Get(const NetNamespace& net, absl::string_view address, int port,
             const RequestOptions& options) {
  return net.Run([&] { return GetHere(address, port, options); });
}

Response AskUdp(const NetNamespace& net, absl::string_view address, int port,
                const RequestOptions& options) {
  return net.Run([&] { return AskUdpHere(address, port, options); });
}

Response GetHere(absl::string_view address, int port, const RequestOptions& options) {
  const absl::Time start = absl::Now();
  const absl::Time deadline = start + options.timeout;
  int socket = -1;
  Response response = Connect(address, port, options, deadline, socket);
  if (response.ok()) {
    const absl::Cleanup close_socket = [socket] { ::close(socket); };
    response = SendRequest(socket, options.path, true);
    std::string unread;
    if (response.ok()) response = ReadAnswer(socket, unread, deadline);
  }
  response.latency = absl::Now() - start;
  return response;
}

Response AskUdpHere(absl::string_view address, int port, const RequestOptions& options) {
  const absl::Time start = absl::Now();
  const absl::Time deadline = start + options.timeout;
  RequestOptions with_udp = options;
  with_udp.transport = Transport::kUdp;
  int socket = -1;
  Response response = Connect(address, port, with_udp, deadline, socket);
  if (!response.ok()) return response;
  const absl::Cleanup close_socket = [socket] { ::close(socket); };
  char data[2048] = "hello";
  if (::send(socket, data, std::strlen(data), MSG_NOSIGNAL) < 0) return FailedWith(errno, "send");
  if (!Await(socket, POLLIN, deadline)) return Failed(Outcome::kTimeout, "no answer in time");
  const ssize_t size = ::recv(socket, data, sizeof(data), 0);
  if (size < 0) return FailedWith(errno, "receive");
  response = ParseAnswer(absl::string_view(data, static_cast<size_t>(size)));
  response.latency = absl::Now() - start;
  return response;
}

LongConnection::LongConnection(const NetNamespace& net, absl::string_view address, int port,
                               const RequestOptions& options) {
  const absl::Time start = absl::Now();
  connected_ =
      net.Run([&] { return Connect(address, port, options, start + options.timeout, socket_); });
  connected_.latency = absl::Now() - start;
}

LongConnection::~LongConnection() { Close(); }

LongConnection::LongConnection(LongConnection&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)),
      unread_(std::move(other.unread_)),
      connected_(std::move(other.connected_)) {}

LongConnection& LongConnection::operator=(LongConnection&& other) noexcept {
  if (this == &other) return *this;
  Close();
  socket_ = std::exchange(other.socket_, -1);
  unread_ = std::move(other.unread_);
  connected_ = std::move(other.connected_);
  return *this;
}

int LongConnection::local_port() const {
  sockaddr_in6 local = {};
  socklen_t size = sizeof(local);
  if (::getsockname(socket_, reinterpret_cast<sockaddr*>(&local), &size) != 0) return 0;
  return ntohs(local.sin6_port);  // at the same place in both families
}

Response LongConnection::Send(absl::string_view path) {
  if (socket_ < 0) return Failed(Outcome::kError, "not connected");
  return SendRequest(socket_, path, false);
}

Response LongConnection::Read(absl::Duration timeout) {
  if (socket_ < 0) return Failed(Outcome::kError, "not connected");
  const absl::Time start = absl::Now();
  Response response = ReadAnswer(socket_, unread_, start + timeout);
  response.latency = absl::Now() - start;
  return response;
}

Response LongConnection::Ask(absl::string_view path, absl::Duration timeout) {
  const Response sent = Send(path);
  return sent.ok() ? Read(timeout) : sent;
}

bool LongConnection::broken() const {
  if (socket_ < 0) return true;
  char byte = 0;
  const ssize_t size = ::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return size == 0 || (size < 0 && errno != EAGAIN);
}

void LongConnection::Close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

void LongConnection::Reset() {
  const linger now = {1, 0};
  if (socket_ >= 0) ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  Close();
}

}  // namespace fairlead::lab
