// Cuts what an API server sends into the JSON texts of single objects, as it arrives.
#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace fairlead::kubernetes {

// Text of one object, or event of a watch. etcd refuses values of more than 1.5 MiB by default.
inline constexpr size_t kMaxObjectBytes = 8 << 20;
// What a page of a list holds beside its items.
inline constexpr size_t kMaxEnvelopeBytes = 1 << 20;
// A page of a list: 500 objects of the largest size that etcd takes.
inline constexpr size_t kMaxPageBytes = size_t{1} << 30;

// Takes the text of an object, which is valid during the call; false ends the splitting.
using JsonSink = absl::FunctionRef<bool(absl::string_view text)>;

// The text of one object, put together from pieces. Looks for its end only: whether it is JSON is
// for a parser to say. Thread-compatible.
class ObjectCollector {
 public:
  enum class Result : uint8_t { kMore, kDone, kTooLarge };

  explicit ObjectCollector(size_t max_bytes) : max_bytes_(max_bytes) {}

  // An object has begun and not ended.
  bool open() const { return depth_ > 0; }
  // Takes the object's part from the front of `piece`, which begins with the object's brace if none
  // is open. kDone: `object` is its text, valid until the next call.
  Result Take(absl::string_view* piece, absl::string_view* object);

 private:
  // The length of what belongs to the object.
  size_t Scan(absl::string_view piece);

  const size_t max_bytes_;
  int64_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
  std::string buffer_;
};

// Splits a stream of objects with nothing but blanks between them: a watch. INVALID_ARGUMENT from
// any function: it is none. Thread-compatible.
class StreamSplitter {
 public:
  explicit StreamSplitter(size_t max_object_bytes = kMaxObjectBytes) : object_(max_object_bytes) {}

  // CANCELLED if the sink ended it.
  absl::Status Feed(absl::string_view piece, JsonSink sink);
  // Whether the stream may end here.
  absl::Status Finish() const;

 private:
  ObjectCollector object_;
};

// Splits an object with a list "items" of objects, wherever it stands: a page of a list. Statuses
// as above. Thread-compatible.
class PageSplitter {
 public:
  explicit PageSplitter(size_t max_object_bytes = kMaxObjectBytes,
                        size_t max_page_bytes = kMaxPageBytes)
      : object_(max_object_bytes), max_page_bytes_(max_page_bytes) {}

  absl::Status Feed(absl::string_view piece, JsonSink sink);
  absl::Status Finish() const;

  // The page without its items, once Finish is OK.
  const std::string& envelope() const { return envelope_; }

 private:
  enum class Place : uint8_t { kBefore, kEnvelope, kItems, kAfter };

  absl::Status FeedEnvelope(absl::string_view* piece);
  void ReadEnvelope(char c);
  absl::Status FeedItems(absl::string_view* piece, JsonSink sink);

  ObjectCollector object_;
  const size_t max_page_bytes_;
  size_t bytes_ = 0;
  Place place_ = Place::kBefore;
  std::string envelope_;
  // Of the envelope.
  int64_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
  // The last string among the envelope's own fields, and whether a colon followed it.
  std::string text_;
  bool is_key_ = false;
};

}  // namespace fairlead::kubernetes
