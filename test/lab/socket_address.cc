#include "test/lab/socket_address.h"

#include <arpa/inet.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fairlead::lab {

absl::StatusOr<SocketAddress> ParseSocketAddress(absl::string_view address, int port) {
  const std::string text(address);
  SocketAddress result;
  sockaddr_in v4 = {};
  sockaddr_in6 v6 = {};
  if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<uint16_t>(port));
    std::memcpy(&result.storage, &v4, sizeof(v4));
    result.size = sizeof(v4);
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<uint16_t>(port));
    std::memcpy(&result.storage, &v6, sizeof(v6));
    result.size = sizeof(v6);
  } else {
    return absl::InvalidArgumentError(absl::StrCat("not an address: '", address, "'"));
  }
  return result;
}

std::string FormatSocketAddress(const sockaddr_in6& address) {
  char text[INET6_ADDRSTRLEN] = {};
  const int port = ntohs(address.sin6_port);
  if (IN6_IS_ADDR_V4MAPPED(&address.sin6_addr)) {
    ::inet_ntop(AF_INET, &address.sin6_addr.s6_addr[12], text, sizeof(text));
    return absl::StrCat(text, ":", port);
  }
  ::inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof(text));
  return absl::StrCat("[", text, "]:", port);
}

}  // namespace fairlead::lab
