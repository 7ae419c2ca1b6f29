// One document of YAML or JSON as a tree, with lines; how it is built, within limits.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace fairlead::manifest {

// Containers within containers. Kubernetes allows about as many in its own objects.
inline constexpr int kMaxNesting = 100;
// Values of one document, both as written and with every alias expanded, so that a few lines of
// nested aliases do not become a day's work.
inline constexpr uint64_t kMaxValues = 2'000'000;

enum class ScalarType : uint8_t { kString, kInteger, kFloat, kBool };

// A value of a document. With aliases the tree is a graph without cycles.
struct Value {
  enum class Kind : uint8_t { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  bool quoted = false;          // A string, whatever it looks like.
  bool duplicate_keys = false;  // Of a map: `text` was given twice; the first one is kept.
  int line = 0;                 // From 1.
  uint64_t weight = 1;          // Values in it, aliases expanded.
  std::string text;             // Of a scalar.
  std::vector<const Value*> items;
  std::vector<std::pair<std::string, const Value*>> fields;

  // nullptr where the map has no such key.
  const Value* Find(absl::string_view key) const;
  // Of a scalar: what YAML 1.1 takes it for, as the API server's clients do.
  ScalarType Type() const;
};

// The integer that a plain scalar stands for: decimal, 0x, 0o, 0b, leading 0 for octal,
// underscores, and decimals without a fraction. False where it is none, or does not fit.
bool ParseInteger(absl::string_view text, int64_t* number);

// The boolean that a plain scalar stands for in YAML 1.1; false where it is none.
bool ParseBool(absl::string_view text, bool* value);

// The values of one document. They live as long as it does; moving it leaves them where they are.
struct Document {
  Document() = default;
  Document(Document&&) = default;
  Document& operator=(Document&&) = default;

  std::deque<Value> values;
  const Value* root = nullptr;
};

// Builds a document from a parser's events; merge keys are merged. After a limit or a fault every
// event returns false, and error() says why.
class DocumentBuilder {
 public:
  // An anchor of 0 is none.
  bool Scalar(int line, uint64_t anchor, std::string text, bool quoted);
  bool Null(int line, uint64_t anchor);
  bool Alias(int line, uint64_t anchor);
  bool StartList(int line, uint64_t anchor) { return Start(Value::Kind::kList, line, anchor); }
  bool StartMap(int line, uint64_t anchor) { return Start(Value::Kind::kMap, line, anchor); }
  bool End();

  // What was built; the builder is empty afterwards.
  Document Take();

  const std::string& error() const { return error_; }
  int error_line() const { return error_line_; }

 private:
  struct Open {
    Value* value;
    uint64_t anchor;
    bool has_key = false;
    bool key_quoted = false;
    std::string key;
    std::vector<const Value*> merges;
  };

  bool Start(Value::Kind kind, int line, uint64_t anchor);
  // nullptr at the limit.
  Value* Make(Value::Kind kind, int line);
  // Puts a finished value where it belongs: key, field, item or root.
  bool Place(const Value* value, int line);
  bool PlaceInMap(Open& open, const Value* value, int line);
  bool Merge(Open& open, int line);
  bool Fail(int line, std::string message);

  Document document_;
  std::vector<Open> open_;
  absl::flat_hash_map<uint64_t, const Value*> anchors_;  // nullptr while it is open.
  std::string error_;
  int error_line_ = 0;
};

}  // namespace fairlead::manifest
