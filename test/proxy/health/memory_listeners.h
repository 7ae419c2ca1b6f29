// Listeners in memory, for tests.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "proxy/health/http.h"

namespace fairlead {

// Lets listen where the kernel would, with HttpServer's codes. Thread-compatible.
class MemoryListeners : public HttpListeners {
 public:
  // `addresses` are those of the machine.
  explicit MemoryListeners(std::set<IpAddress> addresses) : addresses_(std::move(addresses)) {}

  absl::StatusOr<uint16_t> Listen(const IpAddress& address, uint16_t port,
                                  HttpHandler handler) override;
  void Close(const IpAddress& address, uint16_t port) override;

  // Addresses come and go; listeners stay, as the kernel's do.
  void SetAddresses(std::set<IpAddress> addresses) { addresses_ = std::move(addresses); }
  // Another process listens, and ends.
  void Take(const IpAddress& address, uint16_t port);
  void Free(const IpAddress& address, uint16_t port);

  // What a client gets; UNAVAILABLE where nobody listens.
  absl::StatusOr<HttpResponse> Ask(const IpAddress& address, uint16_t port,
                                   const std::string& path) const;

  // What was called since it was last asked: "listen 10.0.0.1:30000", "close 10.0.0.1:30000".
  std::vector<std::string> TakeCalls() { return std::exchange(calls_, {}); }

  // "10.0.0.1:30000", of this process.
  std::vector<std::string> Open() const;

 private:
  using Place = std::pair<IpAddress, uint16_t>;

  // Whether somebody is in the way of a listener there.
  bool IsTaken(const IpAddress& address, uint16_t port) const;

  std::set<IpAddress> addresses_;
  std::map<Place, HttpHandler> listeners_;
  std::set<Place> foreign_;
  std::vector<std::string> calls_;
};

}  // namespace fairlead
