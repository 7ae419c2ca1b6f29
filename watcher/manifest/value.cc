#include "watcher/manifest/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace fairlead::manifest {
namespace {

// strtoull would take signs, blanks and a prefix of the text.
bool ParseDigits(absl::string_view digits, int base, uint64_t* number) {
  if (digits.empty()) return false;
  uint64_t result = 0;
  for (char c : digits) {
    int digit = absl::ascii_isdigit(c)    ? c - '0'
                : absl::ascii_isxdigit(c) ? absl::ascii_tolower(c) - 'a' + 10
                                          : base;
    if (digit >= base) return false;
    if (result > (std::numeric_limits<uint64_t>::max() - digit) / base) return false;
    result = result * base + digit;
  }
  *number = result;
  return true;
}

bool IsFloat(absl::string_view text) {
  double number;
  if (text.empty() || !(absl::ascii_isdigit(text[0]) || text.find_first_of("+-.") == 0)) {
    return false;
  }
  if (text.find_first_not_of("0123456789.eE+-") != absl::string_view::npos) {
    return text == ".inf" || text == "-.inf" || text == "+.inf" || text == ".nan";
  }
  return absl::SimpleAtod(text, &number);
}

}  // namespace

bool ParseInteger(absl::string_view text, int64_t* number) {
  const std::string plain = absl::StrReplaceAll(text, {{"_", ""}});
  absl::string_view digits = plain;
  bool negative = false;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) {
    negative = digits[0] == '-';
    digits.remove_prefix(1);
  }
  uint64_t magnitude = 0;
  bool ok = false;
  if (digits.size() > 1 && digits[0] == '0') {
    const char letter = absl::ascii_tolower(digits[1]);
    ok = letter == 'x'   ? ParseDigits(digits.substr(2), 16, &magnitude)
         : letter == 'b' ? ParseDigits(digits.substr(2), 2, &magnitude)
         : letter == 'o' ? ParseDigits(digits.substr(2), 8, &magnitude)
                         : ParseDigits(digits.substr(1), 8, &magnitude);
  } else {
    ok = ParseDigits(digits, 10, &magnitude);
  }
  if (!ok && IsFloat(plain)) {  // 80.0 is the number 80 once it is JSON.
    double value;
    if (!absl::SimpleAtod(plain, &value) || std::trunc(value) != value || std::abs(value) > 1e15) {
      return false;
    }
    *number = static_cast<int64_t>(value);
    return true;
  }
  if (!ok || magnitude > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
  *number = negative ? -static_cast<int64_t>(magnitude) : static_cast<int64_t>(magnitude);
  return true;
}

bool ParseBool(absl::string_view text, bool* value) {
  for (absl::string_view word :
       {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}) {
    if (text == word) return *value = true;
  }
  for (absl::string_view word :
       {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}) {
    if (text == word) {
      *value = false;
      return true;
    }
  }
  return false;
}

const Value* Value::Find(absl::string_view key) const {
  for (const auto& [name, value] : fields) {
    if (name == key) return value;
  }
  return nullptr;
}

ScalarType Value::Type() const {
  if (quoted) return ScalarType::kString;
  bool truth;
  if (ParseBool(text, &truth)) return ScalarType::kBool;
  int64_t number;
  if (ParseInteger(text, &number)) return ScalarType::kInteger;
  return IsFloat(text) ? ScalarType::kFloat : ScalarType::kString;
}

bool DocumentBuilder::Fail(int line, std::string message) {
  if (error_.empty()) {
    error_ = std::move(message);
    error_line_ = line;
  }
  return false;
}

Value* DocumentBuilder::Make(Value::Kind kind, int line) {
  if (!error_.empty()) return nullptr;
  if (document_.values.size() >= kMaxValues) {
    Fail(line, absl::StrCat("holds more than ", kMaxValues, " values"));
    return nullptr;
  }
  Value& value = document_.values.emplace_back();
  value.kind = kind;
  value.line = line;
  return &value;
}

bool DocumentBuilder::Scalar(int line, uint64_t anchor, std::string text, bool quoted) {
  Value* value = Make(Value::Kind::kScalar, line);
  if (value == nullptr) return false;
  value->text = std::move(text);
  value->quoted = quoted;
  if (anchor != 0) anchors_[anchor] = value;
  return Place(value, line);
}

bool DocumentBuilder::Null(int line, uint64_t anchor) {
  const Value* value = Make(Value::Kind::kNull, line);
  if (value == nullptr) return false;
  if (anchor != 0) anchors_[anchor] = value;
  return Place(value, line);
}

bool DocumentBuilder::Alias(int line, uint64_t anchor) {
  if (!error_.empty()) return false;
  auto it = anchors_.find(anchor);
  if (it == anchors_.end()) return Fail(line, "refers to an anchor that is not there");
  if (it->second == nullptr) return Fail(line, "refers to an anchor from within itself");
  return Place(it->second, line);
}

bool DocumentBuilder::Start(Value::Kind kind, int line, uint64_t anchor) {
  Value* value = Make(kind, line);
  if (value == nullptr) return false;
  if (open_.size() >= kMaxNesting) {
    return Fail(line, absl::StrCat("is nested more than ", kMaxNesting, " deep"));
  }
  if (anchor != 0) anchors_[anchor] = nullptr;
  open_.push_back({.value = value, .anchor = anchor});
  return true;
}

bool DocumentBuilder::End() {
  if (!error_.empty() || open_.empty()) return false;
  Open open = std::move(open_.back());
  open_.pop_back();
  const int line = open.value->line;
  if (open.value->kind == Value::Kind::kMap && !Merge(open, line)) return false;
  if (open.anchor != 0) anchors_[open.anchor] = open.value;
  return Place(open.value, line);
}

bool DocumentBuilder::Place(const Value* value, int line) {
  if (open_.empty()) {
    document_.root = value;
    return true;
  }
  Open& open = open_.back();
  if (open.value->kind == Value::Kind::kMap) return PlaceInMap(open, value, line);
  open.value->items.push_back(value);
  open.value->weight += value->weight;
  if (open.value->weight > kMaxValues) {
    return Fail(line, absl::StrCat("expands to more than ", kMaxValues, " values"));
  }
  return true;
}

bool DocumentBuilder::PlaceInMap(Open& open, const Value* value, int line) {
  if (!open.has_key) {
    if (value->kind == Value::Kind::kList || value->kind == Value::Kind::kMap) {
      return Fail(line, "has a list or a map for a key");
    }
    open.has_key = true;
    open.key = value->text;
    open.key_quoted = value->quoted;
    return true;
  }
  open.has_key = false;
  if (open.key == "<<" && !open.key_quoted) {
    if (value->kind == Value::Kind::kList) {
      open.merges.insert(open.merges.end(), value->items.begin(), value->items.end());
    } else {
      open.merges.push_back(value);
    }
  } else {
    open.value->fields.emplace_back(std::move(open.key), value);
    open.value->weight += value->weight;
  }
  if (open.value->weight > kMaxValues || open.merges.size() > kMaxValues) {
    return Fail(line, absl::StrCat("expands to more than ", kMaxValues, " values"));
  }
  return true;
}

// Also drops the later ones of duplicate keys, once for the whole map.
bool DocumentBuilder::Merge(Open& open, int line) {
  Value& map = *open.value;
  if (map.fields.size() < 2 && open.merges.empty()) return true;
  absl::flat_hash_set<std::string> seen;
  seen.reserve(map.fields.size());
  const auto last = std::remove_if(map.fields.begin(), map.fields.end(), [&](const auto& field) {
    if (seen.insert(field.first).second) return false;
    if (!map.duplicate_keys) map.text = field.first;
    return map.duplicate_keys = true;
  });
  map.fields.erase(last, map.fields.end());
  uint64_t looked_at = 0;
  for (const Value* merged : open.merges) {
    if (merged->kind != Value::Kind::kMap) return Fail(merged->line, "merges what is not a map");
    // Reading a merged map costs, whether or not it adds a key.
    looked_at += merged->fields.size() + 1;
    for (const auto& [key, value] : merged->fields) {
      if (!seen.insert(key).second) continue;
      map.fields.emplace_back(key, value);
      map.weight += value->weight;
    }
    if (map.weight > kMaxValues || looked_at > kMaxValues) {
      return Fail(line, absl::StrCat("expands to more than ", kMaxValues, " values"));
    }
  }
  map.weight += looked_at;
  return true;
}

Document DocumentBuilder::Take() {
  Document result = std::move(document_);
  *this = DocumentBuilder();
  return result;
}

}  // namespace fairlead::manifest
