// Tables for people and for scripts: columns under headers, aligned with blanks.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace fairlead {

// What a value says about its object, shown by colour where there is colour.
enum class Tone { kPlain, kGood, kWarning, kBad, kFaint };

struct Cell {
  // Numbers and texts alike; empty is shown as "-". Control characters are shown as "?".
  std::string text;
  Tone tone = Tone::kPlain;

  Cell(std::string value, Tone t = Tone::kPlain) : text(std::move(value)), tone(t) {}  // NOLINT
  Cell(const char* value, Tone t = Tone::kPlain) : text(value), tone(t) {}             // NOLINT
};

enum class Alignment { kLeft, kRight };

struct Column {
  // One word in upper case, with hyphens: "VIRTUAL-SERVER".
  std::string header;
  Alignment alignment = Alignment::kLeft;
  // A longer value is cut, which the last character of what is left shows: "…". 0: never.
  size_t max_width = 0;
};

// Rows under one line of headers, two blanks between columns and none at the end of a line.
// Thread-compatible.
class Table {
 public:
  // At least one column.
  Table(std::vector<Column> columns, bool color);

  // As many cells as there are columns.
  void AddRow(std::vector<Cell> cells);

  // Rows that Take has not given yet.
  size_t pending() const { return rows_.size(); }

  // The rows added since the last call, below the headers where it is the first. Columns are as
  // wide as the widest value so far, so that a long table can be had in parts: what is in one line
  // of an earlier part may be narrower, and nothing is cut.
  std::string Take();

 private:
  void AppendLine(const std::vector<Cell>& cells, std::string* out) const;

  const std::vector<Column> columns_;
  const bool color_;
  std::vector<size_t> widths_;
  std::vector<std::vector<Cell>> rows_;
  bool headers_given_ = false;
};

// How many characters a terminal shows for UTF-8 text without wide or combining ones.
size_t DisplayWidth(absl::string_view text);

// Colour is for terminals, and for those who have not declined it: `no_color` is the environment's
// NO_COLOR (any value but the empty one declines), `term` its TERM; nullptr where it has none.
bool WantsColor(bool is_terminal, const char* no_color, const char* term);

// The same for stdout of this process.
bool StdoutWantsColor();

}  // namespace fairlead
