#include "watcher/manifest/field.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace fairlead::manifest {
namespace {

// Longest piece of the input that a message repeats.
constexpr size_t kMaxQuoted = 60;

std::string Shorten(absl::string_view text) {
  if (text.size() <= kMaxQuoted) return std::string(text);
  size_t end = kMaxQuoted;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;  // Whole characters.
  return absl::StrCat(text.substr(0, end), "...");
}

}  // namespace

std::string Quote(absl::string_view text) { return absl::StrCat("\"", Shorten(text), "\""); }

std::string DescribeValue(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kNull:
      return "null";
    case Value::Kind::kList:
      return "a list";
    case Value::Kind::kMap:
      return "a map";
    case Value::Kind::kScalar:
      break;
  }
  switch (value.Type()) {
    case ScalarType::kString:
      return absl::StrCat("the string ", Quote(value.text));
    case ScalarType::kBool:
      return absl::StrCat("the boolean ", value.text);
    case ScalarType::kInteger:
    case ScalarType::kFloat:
      break;
  }
  return absl::StrCat("the number ", Shorten(value.text));
}

void Findings::Add(Severity severity, int line, std::string field, std::string message) {
  if (severity == Severity::kError) ++errors_;
  for (const Problem& problem : problems_) {
    if (problem.field == field && problem.message == message) return;  // Read twice, said once.
  }
  if (problems_.size() >= kMaxProblemsPerObject) {
    ++left_out_;
    // The errors decide what happens to the object, so one of them is always among the listed.
    if (severity == Severity::kWarning || errors_ > 1) return;
    problems_.pop_back();
  }
  problems_.push_back({severity, file_, line, "", std::move(field), std::move(message)});
}

std::vector<Problem> Findings::Take() {
  for (Problem& problem : problems_) problem.object = object_;
  if (left_out_ > 0) {
    absl::StrAppend(&problems_.back().message, " (and ", left_out_, " more problems)");
    left_out_ = 0;
  }
  return std::exchange(problems_, {});
}

Field::Field(const Value* value, std::string path, int line, Findings* findings)
    : value_(value),
      path_(std::move(path)),
      line_(value != nullptr ? value->line : line),
      findings_(findings) {}

void Field::Add(Severity severity, std::string message) const {
  findings_->Add(severity, line_, path_, std::move(message));
}

void Field::WrongType(absl::string_view wanted) const {
  Error(absl::StrCat("is ", DescribeValue(*value_), ", not ", wanted));
}

bool Field::IsMap() const {
  if (!present()) return false;
  if (value_->kind != Value::Kind::kMap) {
    WrongType("a map");
    return false;
  }
  if (value_->duplicate_keys) Error(absl::StrCat("gives ", Quote(value_->text), " twice"));
  return true;
}

Field Field::Get(absl::string_view key) const {
  const Value* child = nullptr;
  if (present() && value_->kind == Value::Kind::kMap) child = value_->Find(key);
  return Field(child, path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key), line_,
               findings_);
}

std::vector<Field> Field::Items() const {
  std::vector<Field> items;
  if (!present()) return items;
  if (value_->kind != Value::Kind::kList) {
    WrongType("a list");
    return items;
  }
  items.reserve(value_->items.size());
  for (size_t i = 0; i < value_->items.size(); ++i) {
    items.push_back(Field(value_->items[i], absl::StrCat(path_, "[", i, "]"), line_, findings_));
  }
  return items;
}

std::map<std::string, std::string> Field::StringMap() const {
  std::map<std::string, std::string> map;
  if (!IsMap()) return map;
  for (const auto& [key, value] : value_->fields) {
    // Not "absent": the key is there, and the API server makes null the empty string.
    if (value->kind == Value::Kind::kNull) {
      map.emplace(key, "");
      continue;
    }
    const Field field(value, absl::StrCat(path_, "[", key, "]"), line_, findings_);
    if (std::optional<std::string> text = field.String()) map.emplace(key, *std::move(text));
  }
  return map;
}

std::optional<std::string> Field::String() const {
  if (!present()) return std::nullopt;
  if (value_->kind == Value::Kind::kScalar && value_->Type() == ScalarType::kString) {
    return value_->text;
  }
  WrongType("a string");
  return std::nullopt;
}

std::optional<bool> Field::Bool() const {
  bool truth;
  if (!present()) return std::nullopt;
  if (value_->kind == Value::Kind::kScalar && !value_->quoted && ParseBool(value_->text, &truth)) {
    return truth;
  }
  WrongType("true or false");
  return std::nullopt;
}

bool Field::IsNumber() const {
  if (!present() || value_->kind != Value::Kind::kScalar) return false;
  const ScalarType type = value_->Type();
  return type == ScalarType::kInteger || type == ScalarType::kFloat;
}

std::optional<int64_t> Field::Integer() const {
  int64_t number;
  if (!present()) return std::nullopt;
  if (value_->kind == Value::Kind::kScalar && !value_->quoted &&
      ParseInteger(value_->text, &number)) {
    return number;
  }
  WrongType("a whole number");
  return std::nullopt;
}

std::optional<absl::Time> Field::Time() const {
  const std::optional<std::string> text = String();
  if (!text.has_value()) return std::nullopt;
  absl::Time time;
  if (absl::ParseTime(absl::RFC3339_full, *text, &time, nullptr)) return time;
  Error(absl::StrCat(Quote(*text), " is not a time (RFC 3339)"));
  return std::nullopt;
}

}  // namespace fairlead::manifest
