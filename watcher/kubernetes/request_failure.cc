#include "watcher/kubernetes/request_failure.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "watcher/kubernetes/object_decoder.h"

namespace fairlead::kubernetes {
namespace {

// Of the API server's words, or of a body that is not its own.
constexpr size_t kMaxMessage = 300;

// One line.
std::string Shorten(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  std::string line(text.substr(0, kMaxMessage));
  std::replace_if(
      line.begin(), line.end(), [](char c) { return absl::ascii_iscntrl(c); }, ' ');
  if (text.size() > kMaxMessage) absl::StrAppend(&line, "...");
  return line;
}

}  // namespace

RequestFailure::Kind KindOfStatus(int code) {
  switch (code) {
    case 410:
      return RequestFailure::Kind::kGone;
    case 401:
      return RequestFailure::Kind::kUnauthorized;
    case 400:
    case 405:
    case 422:
      return RequestFailure::Kind::kRefused;
    case 403:
    case 404:
    case 429:
    case 503:
      return RequestFailure::Kind::kUnavailable;
    default:
      return RequestFailure::Kind::kServer;
  }
}

std::string DescribeAnswer(int code, absl::string_view body) {
  const std::optional<ErrorStatus> status = ParseErrorStatus(body);
  const std::string message = Shorten(status.has_value() ? status->message : body);
  return message.empty() ? absl::StrCat("HTTP ", code)
                         : absl::StrCat("HTTP ", code, " (", message, ")");
}

}  // namespace fairlead::kubernetes
