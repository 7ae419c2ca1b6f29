#include "test/proxy/health/memory_listeners.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

// Where the kernel begins to look for a free one.
constexpr uint16_t kFirstEphemeralPort = 32768;

// Two sockets of one port are in each other's way if one address is the other's or all of them.
bool Collide(const IpAddress& a, const IpAddress& b) {
  return a.family() == b.family() && (a == b || a.IsUnspecified() || b.IsUnspecified());
}

}  // namespace

bool MemoryListeners::IsTaken(const IpAddress& address, uint16_t port) const {
  const auto in_the_way = [&](const Place& place) {
    return place.second == port && Collide(place.first, address);
  };
  return std::any_of(foreign_.begin(), foreign_.end(), in_the_way) ||
         std::any_of(listeners_.begin(), listeners_.end(),
                     [&](const auto& listener) { return in_the_way(listener.first); });
}

absl::StatusOr<uint16_t> MemoryListeners::Listen(const IpAddress& address, uint16_t port,
                                                 HttpHandler handler) {
  const std::string where = FormatAddressPort(address, port);
  calls_.push_back(absl::StrCat("listen ", where));
  if (!address.IsUnspecified() && !addresses_.contains(address)) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", where, ": Cannot assign requested address"));
  }
  if (port == 0) {
    for (port = kFirstEphemeralPort; IsTaken(address, port);) ++port;
  } else if (IsTaken(address, port)) {
    return absl::AlreadyExistsError(
        absl::StrCat("cannot listen on ", where, ": Address already in use"));
  }
  listeners_.emplace(Place(address, port), std::move(handler));
  return port;
}

void MemoryListeners::Close(const IpAddress& address, uint16_t port) {
  calls_.push_back(absl::StrCat("close ", FormatAddressPort(address, port)));
  listeners_.erase({address, port});
}

void MemoryListeners::Take(const IpAddress& address, uint16_t port) {
  foreign_.insert({address, port});
}

void MemoryListeners::Free(const IpAddress& address, uint16_t port) {
  foreign_.erase({address, port});
}

absl::StatusOr<HttpResponse> MemoryListeners::Ask(const IpAddress& address, uint16_t port,
                                                  const std::string& path) const {
  for (const auto& [place, handler] : listeners_) {
    if (place.second == port && Collide(place.first, address) && addresses_.contains(address)) {
      return handler({"GET", path});
    }
  }
  return absl::UnavailableError(
      absl::StrCat(FormatAddressPort(address, port), ": Connection refused"));
}

std::vector<std::string> MemoryListeners::Open() const {
  std::vector<std::string> open;
  for (const auto& [place, handler] : listeners_) {
    open.push_back(FormatAddressPort(place.first, place.second));
  }
  return open;
}

}  // namespace fairlead
