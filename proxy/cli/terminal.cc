#include "proxy/cli/terminal.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

// Last, and without what it would define.
#define NCURSES_NOMACROS
#include <curses.h>

namespace fairlead {
namespace {

// Pairs of colours; 0 is the terminal's own.
constexpr int16_t kYellow = 1;
constexpr int16_t kRed = 2;

void SetAttributes(const TopLine& line, bool color) {
  attr_t attributes = line.highlighted ? A_REVERSE : A_NORMAL;
  int16_t pair = 0;
  if (line.tone == Tone::kFaint) attributes |= A_DIM;
  if (line.tone == Tone::kWarning && color) pair = kYellow;
  if (line.tone == Tone::kBad && color) pair = kRed;
  if (line.tone == Tone::kBad && !color) attributes |= A_BOLD;
  wattr_set(stdscr, attributes, pair, nullptr);
}

}  // namespace

Terminal::Terminal() {
  initscr();
  cbreak();
  noecho();
  keypad(stdscr, TRUE);
  // A lone escape is a key soon enough.
  set_escdelay(50);
  curs_set(0);
  if (has_colors() && WantsColor(true, std::getenv("NO_COLOR"), std::getenv("TERM"))) {
    start_color();
    use_default_colors();
    init_pair(kYellow, COLOR_YELLOW, -1);
    init_pair(kRed, COLOR_RED, -1);
    color_ = true;
  }
}

Terminal::~Terminal() { endwin(); }

TopScreen Terminal::Size() {
  return {.width = static_cast<size_t>(COLS), .height = static_cast<size_t>(LINES)};
}

void Terminal::Draw(const std::vector<TopLine>& lines) const {
  erase();
  for (size_t i = 0; i < lines.size(); ++i) {
    SetAttributes(lines[i], color_);
    mvaddstr(static_cast<int>(i), 0, lines[i].text.c_str());
  }
  refresh();
}

std::optional<std::pair<TopKey, char>> Terminal::ReadKey(absl::Duration patience) {
  timeout(static_cast<int>(std::max<int64_t>(0, absl::ToInt64Milliseconds(patience))));
  const int key = getch();
  switch (key) {
    case ERR:
    case KEY_RESIZE:
      return std::nullopt;
    case KEY_UP:
      return {{TopKey::kUp, 0}};
    case KEY_DOWN:
      return {{TopKey::kDown, 0}};
    case KEY_PPAGE:
      return {{TopKey::kPageUp, 0}};
    case KEY_NPAGE:
      return {{TopKey::kPageDown, 0}};
    case KEY_HOME:
      return {{TopKey::kHome, 0}};
    case KEY_BACKSPACE:
    case 127:
    case '\b':
      return {{TopKey::kBackspace, 0}};
    case 27:
      return {{TopKey::kEscape, 0}};
    case KEY_ENTER:
    case '\n':
    case '\r':
      return {{TopKey::kEnter, 0}};
    default:
      if (key < 0 || key > 127) return std::nullopt;
      return {{TopKey::kCharacter, static_cast<char>(key)}};
  }
}

}  // namespace fairlead
