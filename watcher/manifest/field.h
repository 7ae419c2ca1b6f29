// Reads typed values out of a document and remembers what was wrong with them, and where.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "watcher/manifest/problem.h"
#include "watcher/manifest/value.h"

namespace fairlead::manifest {

// Further problems of one object are counted, not listed.
inline constexpr int kMaxProblemsPerObject = 10;

// What was found wrong with one object.
class Findings {
 public:
  explicit Findings(std::string file) : file_(std::move(file)) {}

  void set_object(std::string object) { object_ = std::move(object); }
  const std::string& object() const { return object_; }

  void Add(Severity severity, int line, std::string field, std::string message);

  bool failed() const { return errors_ > 0; }
  // Errors first counted, then listed; each names the object as it is known by now.
  std::vector<Problem> Take();

 private:
  const std::string file_;
  std::string object_;
  std::vector<Problem> problems_;
  int errors_ = 0;
  int left_out_ = 0;
};

// A value with its path, which may be absent. Reading one of the wrong type is an error in the
// findings and then reads as absent. Null is absent, as it is for the API server. Refers to the
// document and the findings.
class Field {
 public:
  Field(const Value* value, Findings* findings) : Field(value, "", 0, findings) {}

  bool present() const { return value_ != nullptr && value_->kind != Value::Kind::kNull; }
  // Only of one that was given a value.
  const Value& value() const { return *value_; }
  int line() const { return line_; }
  const std::string& path() const { return path_; }

  // The field of a map; absent where this is absent or no map.
  Field Get(absl::string_view key) const;
  // The items of a list; empty where this is absent or no list.
  std::vector<Field> Items() const;
  bool IsEmptyList() const {
    return present() && value_->kind == Value::Kind::kList && value_->items.empty();
  }
  // A map from strings to strings.
  std::map<std::string, std::string> StringMap() const;

  std::optional<std::string> String() const;
  std::optional<bool> Bool() const;
  std::optional<int64_t> Integer() const;
  // RFC 3339.
  std::optional<absl::Time> Time() const;
  // Whether it is a scalar that is not a string; for the fields that may be either.
  bool IsNumber() const;
  // Whether it is a map. Reports it where it is there and is none, or gives a key twice; to be
  // asked once of every map before its fields are read.
  bool IsMap() const;

  void Error(std::string message) const { Add(Severity::kError, std::move(message)); }
  void Warn(std::string message) const { Add(Severity::kWarning, std::move(message)); }

 private:
  Field(const Value* value, std::string path, int line, Findings* findings);

  void Add(Severity severity, std::string message) const;
  void WrongType(absl::string_view wanted) const;

  const Value* value_;
  std::string path_;
  int line_;  // Of the value, or of the nearest map around it that is there.
  Findings* findings_;
};

// "the string \"80\"", "the number 80", "a list": a value as a message names it, shortened.
std::string DescribeValue(const Value& value);

// Text of the input as a message quotes it, shortened.
std::string Quote(absl::string_view text);

}  // namespace fairlead::manifest
