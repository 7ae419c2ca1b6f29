// An HTTP client for tests, which can also be a bad one.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "ipvs/ip_address.h"
#include "proxy/health/http.h"

namespace fairlead {

// One connection, from the network namespace of the thread that made it. Thread-compatible.
class HttpClient {
 public:
  // Longer than anything here takes.
  static constexpr absl::Duration kPatience = absl::Seconds(30);

  // UNAVAILABLE where nobody listens.
  static absl::StatusOr<HttpClient> Connect(const IpAddress& address, uint16_t port);

  HttpClient(HttpClient&& other) noexcept;
  HttpClient& operator=(HttpClient&&) = delete;
  ~HttpClient();

  void Send(absl::string_view text);
  // What comes until the server ends the connection. DEADLINE_EXCEEDED if it does not.
  absl::StatusOr<std::string> ReadToEnd(absl::Duration patience = kPatience);

 private:
  explicit HttpClient(int fd) : fd_(fd) {}

  int fd_;
};

// A whole request and its answer. The answer's headers are as they came, but for Date.
absl::StatusOr<HttpResponse> Ask(const IpAddress& address, uint16_t port, absl::string_view path,
                                 absl::string_view method = "GET");

// Whether this machine has no ::1; says so then.
bool SkipWithoutIpv6();

// INVALID_ARGUMENT for what is not an answer.
absl::StatusOr<HttpResponse> ParseAnswer(absl::string_view text);

}  // namespace fairlead
