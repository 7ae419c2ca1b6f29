#include "proxy/cli/table.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fairlead {
namespace {

constexpr char kCut[] = "…";

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

// Select Graphic Rendition of ECMA-48.
absl::string_view Escape(Tone tone) {
  switch (tone) {
    case Tone::kPlain:
      return "";
    case Tone::kGood:
      return "\033[32m";
    case Tone::kWarning:
      return "\033[33m";
    case Tone::kBad:
      return "\033[31m";
    case Tone::kFaint:
      return "\033[2m";
  }
  return "";
}

constexpr char kBold[] = "\033[1m";
constexpr char kReset[] = "\033[0m";

// What a name from elsewhere holds is not to reach the terminal as a command.
std::string Printable(std::string text) {
  for (char& byte : text) {
    const auto value = static_cast<unsigned char>(byte);
    if (value < 0x20 || value == 0x7f) byte = '?';
  }
  return text;
}

// `text` in at most `width` characters, of which there is one at least.
std::string Cut(std::string text, size_t width) {
  if (DisplayWidth(text) <= width) return text;
  size_t end = 0;
  for (size_t shown = 0; end < text.size(); ++end) {
    if (!IsContinuation(text[end]) && ++shown == width) break;
  }
  return absl::StrCat(text.substr(0, end), kCut);
}

}  // namespace

Table::Table(std::vector<Column> columns, bool color)
    : columns_(std::move(columns)), color_(color), widths_(columns_.size()) {
  for (size_t i = 0; i < columns_.size(); ++i) widths_[i] = DisplayWidth(columns_[i].header);
}

void Table::AddRow(std::vector<Cell> cells) {
  cells.resize(columns_.size(), Cell(""));
  for (size_t i = 0; i < cells.size(); ++i) {
    Cell& cell = cells[i];
    cell.text = cell.text.empty() ? "-" : Printable(std::move(cell.text));
    if (columns_[i].max_width > 0) cell.text = Cut(std::move(cell.text), columns_[i].max_width);
    widths_[i] = std::max(widths_[i], DisplayWidth(cell.text));
  }
  rows_.push_back(std::move(cells));
}

std::string Table::Take() {
  std::string text;
  if (!headers_given_) {
    headers_given_ = true;
    std::vector<Cell> headers;
    headers.reserve(columns_.size());
    for (const Column& column : columns_) headers.emplace_back(column.header);
    if (color_) text += kBold;
    AppendLine(headers, &text);
    if (color_) text.insert(text.size() - 1, kReset);
  }
  for (const std::vector<Cell>& row : rows_) AppendLine(row, &text);
  rows_.clear();
  return text;
}

void Table::AppendLine(const std::vector<Cell>& cells, std::string* out) const {
  for (size_t i = 0; i < cells.size(); ++i) {
    const Cell& cell = cells[i];
    const std::string blanks(widths_[i] - DisplayWidth(cell.text), ' ');
    const bool right = columns_[i].alignment == Alignment::kRight;
    if (i > 0) *out += "  ";
    if (right) *out += blanks;
    const absl::string_view escape = color_ ? Escape(cell.tone) : "";
    absl::StrAppend(out, escape, cell.text, escape.empty() ? "" : kReset);
    if (!right && i + 1 < cells.size()) *out += blanks;
  }
  *out += '\n';
}

size_t DisplayWidth(absl::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return !IsContinuation(byte); }));
}

bool WantsColor(bool is_terminal, const char* no_color, const char* term) {
  if (!is_terminal || (no_color != nullptr && *no_color != '\0')) return false;
  return term != nullptr && *term != '\0' && absl::string_view(term) != "dumb";
}

bool StdoutWantsColor() {
  return WantsColor(isatty(STDOUT_FILENO) == 1, std::getenv("NO_COLOR"), std::getenv("TERM"));
}

}  // namespace fairlead
