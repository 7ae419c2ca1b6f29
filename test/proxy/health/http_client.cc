#include "test/proxy/health/http_client.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "proxy/health/listening_socket.h"

namespace fairlead {

absl::StatusOr<HttpClient> HttpClient::Connect(const IpAddress& address, uint16_t port) {
  HttpClient client(
      socket(address.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
  if (client.fd_ < 0) return absl::ErrnoToStatus(errno, "socket");
  sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(port)};
  sockaddr_in6 v6{.sin6_family = AF_INET6, .sin6_port = htons(port)};
  memcpy(address.is_v4() ? static_cast<void*>(&v4.sin_addr) : &v6.sin6_addr, address.bytes().data(),
         address.bytes().size());
  const int result = address.is_v4()
                         ? connect(client.fd_, reinterpret_cast<sockaddr*>(&v4), sizeof(v4))
                         : connect(client.fd_, reinterpret_cast<sockaddr*>(&v6), sizeof(v6));
  if (result != 0) {
    return absl::UnavailableError(
        absl::StrCat(FormatAddressPort(address, port), ": ", strerror(errno)));
  }
  return client;
}

HttpClient::HttpClient(HttpClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

HttpClient::~HttpClient() {
  if (fd_ >= 0) close(fd_);
}

void HttpClient::Send(absl::string_view text) {
  // What the server does not want to hear shows in what it answers.
  while (!text.empty()) {
    const ssize_t sent = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0) return;
    text.remove_prefix(static_cast<size_t>(sent));
  }
}

absl::StatusOr<std::string> HttpClient::ReadToEnd(absl::Duration patience) {
  const timeval timeout = absl::ToTimeval(patience);
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  std::string text;
  std::array<char, 4096> buffer;
  while (true) {
    const ssize_t size = recv(fd_, buffer.data(), buffer.size(), 0);
    if (size > 0) {
      text.append(buffer.data(), static_cast<size_t>(size));
    } else if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return absl::DeadlineExceededError(absl::StrCat("no end after: ", text));
    } else {
      // A reset is an end too.
      return text;
    }
  }
}

bool SkipWithoutIpv6() {
  const IpAddress loopback = IpAddress::Parse("::1").value();
  if (ListeningSocket::Open(loopback, 0, ListenOptions()).ok()) return false;
  WARN("skipped: this machine has no ::1");
  SUCCEED();
  return true;
}

absl::StatusOr<HttpResponse> ParseAnswer(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits("\r\n\r\n", 1));
  const std::vector<absl::string_view> lines = absl::StrSplit(parts.first, "\r\n");
  const std::vector<absl::string_view> status = absl::StrSplit(lines[0], ' ');
  HttpResponse response;
  if (status.size() < 2 || status[0] != "HTTP/1.1" ||
      !absl::SimpleAtoi(status[1], &response.status)) {
    return absl::InvalidArgumentError(absl::StrCat("not an answer: \"", text, "\""));
  }
  for (size_t i = 1; i < lines.size(); ++i) {
    std::pair<std::string, std::string> header = absl::StrSplit(lines[i], absl::MaxSplits(": ", 1));
    if (header.first != "Date") response.headers.push_back(std::move(header));
  }
  response.body = std::string(parts.second);
  return response;
}

absl::StatusOr<HttpResponse> Ask(const IpAddress& address, uint16_t port, absl::string_view path,
                                 absl::string_view method) {
  absl::StatusOr<HttpClient> client = HttpClient::Connect(address, port);
  if (!client.ok()) return client.status();
  client->Send(absl::StrCat(method, " ", path, " HTTP/1.1\r\nHost: test\r\n\r\n"));
  absl::StatusOr<std::string> text = client->ReadToEnd();
  if (!text.ok()) return text.status();
  return ParseAnswer(*text);
}

}  // namespace fairlead
