// TCP sockets that listen.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "ipvs/ip_address.h"

namespace fairlead {

struct ListenOptions {
  // Of the unspecified IPv6 address: IPv4 clients come in too. No other address can have it.
  bool dual_stack = false;
};

// Closed when it goes, unless it is released. Thread-compatible.
class ListeningSocket {
 public:
  // In the network namespace of the calling thread, non-blocking. Codes are those of
  // HttpListeners::Listen. INVALID_ARGUMENT for options that do not fit the address.
  static absl::StatusOr<ListeningSocket> Open(const IpAddress& address, uint16_t port,
                                              const ListenOptions& options);

  ListeningSocket(ListeningSocket&& other) noexcept;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket();

  int fd() const { return fd_; }
  uint16_t port() const { return port_; }  // Never 0.

  // The caller has the descriptor to close.
  int Release();

 private:
  explicit ListeningSocket(int fd) : fd_(fd) {}

  int fd_;
  uint16_t port_ = 0;
};

}  // namespace fairlead
