#include "watcher/manifest/parse.h"

#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace fairlead::manifest {
namespace {

// Length of the well-formed UTF-8 sequence that the text begins with; 0 if there is none.
size_t SequenceLength(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xc2 && lead < 0xe0   ? 2
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Over-long forms, surrogates and what is beyond U+10FFFF (RFC 3629).
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) >= 0xa0) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) >= 0x90) return 0;
  return length;
}

// Control characters are not allowed in YAML, and a NUL is what a half-written file holds after a
// crash.
bool CheckText(absl::string_view text, ParseFault* fault) {
  fault->line = 1;
  for (size_t i = 0; i < text.size();) {
    const size_t length = SequenceLength(text.substr(i));
    if (length == 0) {
      fault->message = absl::StrCat("is not UTF-8 (byte ", i, ")");
      return false;
    }
    const auto c = static_cast<uint8_t>(text[i]);
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
      fault->message = absl::StrCat("holds a control character (byte ", i, ")");
      return false;
    }
    if (c == '\n') ++fault->line;
    i += length;
  }
  return true;
}

bool IsDocumentStart(absl::string_view line) {
  return absl::StartsWith(line, "---") &&
         (line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\n');
}

// Blank lines, comments, directives and markers, with nothing of a document among them.
bool IsBlankLine(absl::string_view line) {
  const size_t first = line.find_first_not_of(" \t\r\n");
  if (first == absl::string_view::npos || line[first] == '#') return true;
  return line[0] == '%' || line == "...\n" || line == "..." || line == "---\n" || line == "---";
}

// A line that begins with --- starts a document wherever it stands (YAML 1.2, 9.1.2), so the text
// can be cut there before anything is parsed, and a fault stays within its document.
void ParseYamlStream(absl::string_view text, ParsedText* parsed) {
  std::string document;
  bool blank = true;
  int first_line = 1;
  int line_number = 0;
  size_t count = 0;
  const auto flush = [&] {
    if (!blank && ++count <= kMaxDocuments) ParseYamlDocument(document, first_line, parsed);
    document.clear();
    blank = true;
    first_line = line_number;
  };
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const absl::string_view line = text.substr(0, end == text.npos ? text.size() : end + 1);
    text.remove_prefix(line.size());
    ++line_number;
    if (IsDocumentStart(line)) flush();
    // Directives before the marker belong to no document's content, and none of them is needed.
    if (blank && IsBlankLine(line) && line[0] == '%') {
      document += '\n';
      continue;
    }
    blank = blank && IsBlankLine(line);
    absl::StrAppend(&document, line);
  }
  flush();
  if (count > kMaxDocuments) {
    parsed->faults.push_back(
        {line_number, absl::StrCat("more than ", kMaxDocuments, " documents")});
  }
}

}  // namespace

ParsedText ParseDocuments(absl::string_view text, bool prefer_json) {
  ParsedText parsed;
  ParseFault fault;
  if (text.size() > kMaxFileBytes) {
    parsed.faults.push_back({0, absl::StrCat("is larger than ", kMaxFileBytes >> 20, " MiB")});
    return parsed;
  }
  if (!CheckText(text, &fault)) {
    parsed.faults.push_back(std::move(fault));
    return parsed;
  }
  if (absl::StartsWith(text, "\xef\xbb\xbf")) text.remove_prefix(3);
  const std::string unix_text = absl::StrReplaceAll(text, {{"\r\n", "\n"}});
  const size_t first = unix_text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return parsed;
  if (unix_text[first] == '{' || prefer_json) {
    ParseJsonStream(unix_text, &parsed);
    if (parsed.faults.empty() || prefer_json) return parsed;
    parsed = ParsedText();  // It may be YAML in flow style.
  }
  ParseYamlStream(unix_text, &parsed);
  return parsed;
}

}  // namespace fairlead::manifest
