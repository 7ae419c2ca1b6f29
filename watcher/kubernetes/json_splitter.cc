#include "watcher/kubernetes/json_splitter.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace fairlead::kubernetes {
namespace {

// Of a text that is no JSON, repeated in messages.
constexpr size_t kMaxQuoted = 60;

void SkipBlanks(absl::string_view* piece) {
  size_t i = 0;
  while (i < piece->size() &&
         absl::string_view(" \t\r\n").find((*piece)[i]) != absl::string_view::npos) {
    ++i;
  }
  piece->remove_prefix(i);
}

absl::Status Unexpected(absl::string_view piece) {
  return absl::InvalidArgumentError(absl::StrCat("not JSON as it should be: \"",
                                                 absl::Utf8SafeCEscape(piece.substr(0, kMaxQuoted)),
                                                 piece.size() > kMaxQuoted ? "...\"" : "\""));
}

absl::Status Stopped() { return absl::CancelledError("ended by its reader"); }

}  // namespace

size_t ObjectCollector::Scan(absl::string_view piece) {
  size_t i = 0;
  while (i < piece.size()) {
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
        ++i;
        continue;
      }
      while (i < piece.size() && piece[i] != '"' && piece[i] != '\\') ++i;
      if (i == piece.size()) break;
      if (piece[i] == '"') {
        in_string_ = false;
      } else {
        escaped_ = true;
      }
      ++i;
      continue;
    }
    switch (piece[i++]) {
      case '"':
        in_string_ = true;
        break;
      case '{':
      case '[':
        ++depth_;
        break;
      case '}':
      case ']':
        if (--depth_ == 0) return i;
        break;
    }
  }
  return i;
}

ObjectCollector::Result ObjectCollector::Take(absl::string_view* piece, absl::string_view* object) {
  if (!open()) buffer_.clear();
  const absl::string_view part = piece->substr(0, Scan(*piece));
  piece->remove_prefix(part.size());
  if (buffer_.size() + part.size() > max_bytes_) return Result::kTooLarge;
  if (!open() && buffer_.empty()) {
    *object = part;
    return Result::kDone;
  }
  absl::StrAppend(&buffer_, part);
  if (open()) return Result::kMore;
  *object = buffer_;
  return Result::kDone;
}

absl::Status StreamSplitter::Feed(absl::string_view piece, JsonSink sink) {
  for (;;) {
    if (!object_.open()) {
      SkipBlanks(&piece);
      if (piece.empty()) return absl::OkStatus();
      if (piece[0] != '{') return Unexpected(piece);
    }
    if (piece.empty()) return absl::OkStatus();
    absl::string_view object;
    switch (object_.Take(&piece, &object)) {
      case ObjectCollector::Result::kMore:
        return absl::OkStatus();
      case ObjectCollector::Result::kTooLarge:
        return absl::InvalidArgumentError("an event is larger than any object can be");
      case ObjectCollector::Result::kDone:
        break;
    }
    if (!sink(object)) return Stopped();
  }
}

absl::Status StreamSplitter::Finish() const {
  return object_.open() ? absl::InvalidArgumentError("it ends in the middle of an event")
                        : absl::OkStatus();
}

absl::Status PageSplitter::Feed(absl::string_view piece, JsonSink sink) {
  bytes_ += piece.size();
  if (bytes_ > max_page_bytes_) {
    return absl::InvalidArgumentError(
        absl::StrCat("a page is larger than ", max_page_bytes_, " bytes"));
  }
  while (!piece.empty()) {
    absl::Status status;
    switch (place_) {
      case Place::kBefore:
        SkipBlanks(&piece);
        if (piece.empty()) break;
        if (piece[0] != '{') return Unexpected(piece);
        place_ = Place::kEnvelope;
        break;
      case Place::kEnvelope:
        status = FeedEnvelope(&piece);
        break;
      case Place::kItems:
        status = FeedItems(&piece, sink);
        break;
      case Place::kAfter:
        SkipBlanks(&piece);
        if (!piece.empty()) return Unexpected(piece);
        break;
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status PageSplitter::FeedEnvelope(absl::string_view* piece) {
  while (!piece->empty() && place_ == Place::kEnvelope) {
    const char c = piece->front();
    piece->remove_prefix(1);
    if (envelope_.size() >= kMaxEnvelopeBytes) {
      return absl::InvalidArgumentError("a page holds too much beside its items");
    }
    envelope_ += c;
    ReadEnvelope(c);
  }
  return absl::OkStatus();
}

void PageSplitter::ReadEnvelope(char c) {
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      return;
    }
    if (depth_ == 1) text_ += c;
    return;
  }
  switch (c) {
    case '"':
      in_string_ = true;
      if (depth_ == 1) {
        text_.clear();
        is_key_ = false;
      }
      break;
    case ':':
      if (depth_ == 1) is_key_ = true;
      break;
    case '[':
      if (depth_ == 1 && is_key_ && text_ == "items") place_ = Place::kItems;
      ++depth_;
      break;
    case '{':
      ++depth_;
      break;
    case ']':
    case '}':
      if (--depth_ == 0) place_ = Place::kAfter;
      break;
  }
}

absl::Status PageSplitter::FeedItems(absl::string_view* piece, JsonSink sink) {
  while (!piece->empty()) {
    if (!object_.open()) {
      SkipBlanks(piece);
      if (piece->empty()) break;
      if (piece->front() == ',') {
        piece->remove_prefix(1);
        continue;
      }
      if (piece->front() == ']') {  // Which is the envelope's.
        place_ = Place::kEnvelope;
        break;
      }
      if (piece->front() != '{') return Unexpected(*piece);
    }
    absl::string_view object;
    switch (object_.Take(piece, &object)) {
      case ObjectCollector::Result::kMore:
        break;
      case ObjectCollector::Result::kTooLarge:
        return absl::InvalidArgumentError("an item is larger than any object can be");
      case ObjectCollector::Result::kDone:
        if (!sink(object)) return Stopped();
        break;
    }
  }
  return absl::OkStatus();
}

absl::Status PageSplitter::Finish() const {
  return place_ == Place::kAfter ? absl::OkStatus()
                                 : absl::InvalidArgumentError("it ends in the middle of a page");
}

}  // namespace fairlead::kubernetes
