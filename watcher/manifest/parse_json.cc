#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "watcher/manifest/parse.h"

namespace fairlead::manifest {
namespace {

// Where a parser is in the text. The line lags by one character, because a parser has read one past
// the end of a number when it reports it.
struct Cursor {
  absl::string_view text;
  size_t position = 0;
  int line = 1;

  bool AtEnd() const { return position >= text.size(); }
  void Advance() {
    if (position > 0 && text[position - 1] == '\n') ++line;
    ++position;
  }
};

// Input iterator over a cursor that others look at.
class CursorIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CursorIterator() = default;
  explicit CursorIterator(Cursor* cursor) : cursor_(cursor) {}

  reference operator*() const { return cursor_->text[cursor_->position]; }
  CursorIterator& operator++() {
    cursor_->Advance();
    return *this;
  }
  CursorIterator operator++(int) {
    CursorIterator before = *this;
    cursor_->Advance();
    return before;
  }
  bool operator==(const CursorIterator& other) const { return AtEnd() == other.AtEnd(); }
  bool operator!=(const CursorIterator& other) const { return !(*this == other); }

 private:
  bool AtEnd() const { return cursor_ == nullptr || cursor_->AtEnd(); }

  Cursor* cursor_ = nullptr;
};

// Hands the parser's events to a builder; a false ends the parse.
class SaxHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit SaxHandler(const Cursor& cursor) : cursor_(cursor) {}

  bool null() override { return builder.Null(cursor_.line, 0); }
  bool boolean(bool value) override { return Plain(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return Plain(absl::StrCat(value)); }
  bool number_unsigned(number_unsigned_t value) override { return Plain(absl::StrCat(value)); }
  bool number_float(number_float_t, const string_t& text) override { return Plain(text); }
  bool string(string_t& text) override {
    return builder.Scalar(cursor_.line, 0, std::move(text), /*quoted=*/true);
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return builder.StartMap(cursor_.line, 0); }
  bool key(string_t& text) override { return string(text); }
  bool end_object() override { return builder.End(); }
  bool start_array(size_t) override { return builder.StartList(cursor_.line, 0); }
  bool end_array() override { return builder.End(); }
  bool parse_error(size_t, const std::string&,
                   const nlohmann::detail::exception& exception) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: what is wrong".
    const absl::string_view what = exception.what();
    const size_t column = what.find("column ");
    const size_t colon = column == what.npos ? what.npos : what.find(": ", column);
    error = std::string(colon == what.npos ? what : what.substr(colon + 2));
    return false;
  }

  DocumentBuilder builder;
  std::string error;

 private:
  bool Plain(std::string text) {
    return builder.Scalar(cursor_.line, 0, std::move(text), /*quoted=*/false);
  }

  const Cursor& cursor_;
};

// Blanks and, since people paste them together, YAML's document markers.
void SkipBetweenDocuments(Cursor* cursor) {
  while (!cursor->AtEnd()) {
    const char c = cursor->text[cursor->position];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      cursor->Advance();
    } else if (absl::StartsWith(cursor->text.substr(cursor->position), "---\n")) {
      for (int i = 0; i < 3; ++i) cursor->Advance();
    } else {
      return;
    }
  }
}

}  // namespace

void ParseJsonStream(absl::string_view text, ParsedText* parsed) {
  Cursor cursor{.text = text};
  for (;;) {
    SkipBetweenDocuments(&cursor);
    if (cursor.AtEnd()) return;
    if (parsed->documents.size() >= kMaxDocuments) {
      parsed->faults.push_back(
          {cursor.line, absl::StrCat("more than ", kMaxDocuments, " documents")});
      return;
    }
    SaxHandler handler(cursor);
    const bool ok =
        nlohmann::json::sax_parse(CursorIterator(&cursor), CursorIterator(), &handler,
                                  nlohmann::json::input_format_t::json, /*strict=*/false);
    if (!ok) {
      const DocumentBuilder& builder = handler.builder;
      parsed->faults.push_back(builder.error().empty()
                                   ? ParseFault{cursor.line, "is not valid JSON: " + handler.error}
                                   : ParseFault{builder.error_line(), builder.error()});
      return;
    }
    Document document = handler.builder.Take();
    if (document.root->kind != Value::Kind::kNull) parsed->documents.push_back(std::move(document));
  }
}

}  // namespace fairlead::manifest
