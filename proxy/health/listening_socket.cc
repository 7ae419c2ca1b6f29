#include "proxy/health/listening_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

// Connections that the kernel has taken in and the server has not; the kernel's own limit,
// net.core.somaxconn, is 4096.
constexpr int kBacklog = 128;

absl::StatusCode CodeFromErrno(int error) {
  switch (error) {
    case EADDRINUSE:
      return absl::StatusCode::kAlreadyExists;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
      return absl::StatusCode::kUnavailable;
    case EACCES:
    case EPERM:
      return absl::StatusCode::kPermissionDenied;
    case EINVAL:
      return absl::StatusCode::kInvalidArgument;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return absl::StatusCode::kResourceExhausted;
    default:
      return absl::StatusCode::kInternal;
  }
}

// Returns the size that is used.
socklen_t FillSocketAddress(const IpAddress& address, uint16_t port, sockaddr_storage* filled) {
  *filled = {};
  const absl::string_view bytes = address.bytes();
  if (address.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(*filled);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    memcpy(&v4.sin_addr, bytes.data(), bytes.size());
    return sizeof(v4);
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(*filled);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  memcpy(&v6.sin6_addr, bytes.data(), bytes.size());
  return sizeof(v6);
}

// The port is at the same place in both families' addresses.
uint16_t PortOf(const sockaddr_storage& address) {
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

bool SetOption(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

}  // namespace

absl::StatusOr<ListeningSocket> ListeningSocket::Open(const IpAddress& address, uint16_t port,
                                                      const ListenOptions& options) {
  const std::string context = absl::StrCat("cannot listen on ", FormatAddressPort(address, port));
  if (options.dual_stack && (address.is_v4() || !address.IsUnspecified())) {
    return absl::InvalidArgumentError(absl::StrCat(context, ": only [::] can be of both families"));
  }
  const auto failure = [&context] {
    const int error = errno;
    return absl::Status(CodeFromErrno(error), absl::StrCat(context, ": ", strerror(error)));
  };

  ListeningSocket socket(::socket(address.is_v4() ? AF_INET : AF_INET6,
                                  SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (socket.fd_ < 0) return failure();
  // Connections of an agent before this one, which the kernel still remembers, are no hindrance.
  if (!SetOption(socket.fd_, SOL_SOCKET, SO_REUSEADDR, 1)) return failure();
  if (!address.is_v4() &&
      !SetOption(socket.fd_, IPPROTO_IPV6, IPV6_V6ONLY, options.dual_stack ? 0 : 1)) {
    return failure();
  }
  sockaddr_storage name;
  socklen_t size = FillSocketAddress(address, port, &name);
  if (bind(socket.fd_, reinterpret_cast<const sockaddr*>(&name), size) != 0) return failure();
  if (listen(socket.fd_, kBacklog) != 0) return failure();
  if (getsockname(socket.fd_, reinterpret_cast<sockaddr*>(&name), &size) != 0) return failure();
  socket.port_ = PortOf(name);
  return socket;
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), port_(other.port_) {}

ListeningSocket::~ListeningSocket() {
  if (fd_ >= 0) close(fd_);
}

int ListeningSocket::Release() { return std::exchange(fd_, -1); }

}  // namespace fairlead
