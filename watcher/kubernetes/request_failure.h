// Why a request to the API server was of no use.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace fairlead::kubernetes {

// Longest wait that the API server may ask for.
inline constexpr absl::Duration kMaxRetryAfter = absl::Minutes(1);

struct RequestFailure {
  // What is to be done differs.
  enum class Kind : uint8_t {
    kGone,          // HTTP 410: what was asked for is too old.
    kUnauthorized,  // HTTP 401.
    kRefused,       // The request itself is not to its liking: HTTP 400 and the like.
    kServer,        // The API server answers, but not as it should.
    kUnavailable,   // It does not answer, or we cannot ask; HTTP 403, 404, 429 and 503 too.
  };

  Kind kind = Kind::kUnavailable;
  // Failures of the same cause are the same trouble: "HTTP 403", "curl 7".
  std::string cause;
  // What failed, at which URL, with which credential.
  std::string message;
  // What the API server asks for, at most kMaxRetryAfter.
  std::optional<absl::Duration> retry_after;
};

// The kind of an HTTP status other than 200; of an ERROR event's code too.
RequestFailure::Kind KindOfStatus(int code);

// "HTTP 403 (services is forbidden: …)"; the body is a Status, or shortened.
std::string DescribeAnswer(int code, absl::string_view body);

}  // namespace fairlead::kubernetes
