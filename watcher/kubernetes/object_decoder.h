// From the API's JSON to the objects of the model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "watcher/kubernetes/json_splitter.h"
#include "watcher/kubernetes/resource.h"
#include "watcher/manifest/problem.h"
#include "watcher/model.h"

namespace fairlead::kubernetes {

// An object as a list or an event holds it.
struct DecodedObject {
  ObjectId id;
  std::string resource_version;
  // nullopt: invalid, or of no interest to the rules.
  std::optional<Object> object;
  bool invalid = false;
  // Of a slice: annotation endpoints.kubernetes.io/last-change-trigger-time.
  std::optional<absl::Time> trigger_time;
  // Errors of an invalid object, warnings of another.
  std::vector<Problem> problems;
};

// What the API server says of an error: a v1 Status.
struct ErrorStatus {
  int code = 0;  // 0: not said.
  std::string message;

  friend bool operator==(const ErrorStatus&, const ErrorStatus&) = default;
};

// nullopt: the text is no v1 Status.
std::optional<ErrorStatus> ParseErrorStatus(absl::string_view text);

struct WatchEvent {
  enum class Type : uint8_t { kUpsert, kRemove, kBookmark, kError };

  Type type = Type::kBookmark;
  // Of a bookmark its resource version alone, of a removal its id too.
  DecodedObject object;
  ErrorStatus error;
};

// One event of a watch. INVALID_ARGUMENT: it is none, or of another kind of object. Pure.
absl::StatusOr<WatchEvent> DecodeWatchEvent(const Resource& resource, absl::string_view text);

// The end of a page of a list.
struct PageEnd {
  std::string resource_version;
  std::string continue_token;  // Empty: it was the last one.

  friend bool operator==(const PageEnd&, const PageEnd&) = default;
};

// Decodes a page of a list piece by piece. INVALID_ARGUMENT from any function: it is no such page,
// and what came of it is to be forgotten. Thread-compatible.
class PageDecoder {
 public:
  using Sink = absl::FunctionRef<void(DecodedObject object)>;

  explicit PageDecoder(const Resource& resource) : resource_(resource) {}

  absl::Status Feed(absl::string_view piece, Sink sink);
  absl::StatusOr<PageEnd> Finish() const;

 private:
  const Resource& resource_;
  PageSplitter splitter_;
};

}  // namespace fairlead::kubernetes
