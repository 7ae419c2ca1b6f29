// From the bytes of a file to its documents.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "watcher/manifest/value.h"

namespace fairlead::manifest {

// Larger files are refused before they are read.
inline constexpr size_t kMaxFileBytes = 32 << 20;
// Documents of one file.
inline constexpr size_t kMaxDocuments = 100'000;

// Why a document, or the file as a whole, could not be parsed.
struct ParseFault {
  int line = 0;
  std::string message;

  friend bool operator==(const ParseFault&, const ParseFault&) = default;
};

struct ParsedText {
  std::vector<Document> documents;  // In the text's order; none is empty.
  std::vector<ParseFault> faults;
};

// Parses YAML, or a stream of JSON objects where the text begins with a brace, whatever the file is
// called; `prefer_json` decides which of the two complains about a text that is neither. A YAML
// document that is malformed does not spoil the others. Never fails otherwise: what is wrong is in
// the faults. Pure.
ParsedText ParseDocuments(absl::string_view text, bool prefer_json);

// The two parsers behind it, which append to `parsed`. The text is valid UTF-8 without a BOM and
// with \n for line ends; its first line is number `first_line`.
void ParseYamlDocument(const std::string& text, int first_line, ParsedText* parsed);
void ParseJsonStream(absl::string_view text, ParsedText* parsed);

}  // namespace fairlead::manifest
