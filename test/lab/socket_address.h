// Socket addresses from and to text.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead::lab {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// InvalidArgument for what is neither an IPv4 nor an IPv6 address.
absl::StatusOr<SocketAddress> ParseSocketAddress(absl::string_view address, int port);

// "10.0.0.1:80", "[fd00::1]:80"; an IPv4 address in an IPv6 one is written as IPv4.
std::string FormatSocketAddress(const sockaddr_in6& address);

}  // namespace fairlead::lab
