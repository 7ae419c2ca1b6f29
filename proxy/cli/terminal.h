// A whole screen, by curses, whose macros are in nobody else's way here.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "proxy/cli/top_view.h"

namespace fairlead {

// The terminal, taken over from its construction to its end; one at a time. Thread-compatible.
class Terminal {
 public:
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // As the window is now.
  static TopScreen Size();

  void Draw(const std::vector<TopLine>& lines) const;

  // Waits for a key; unset after `patience` without one, or where the window has another size.
  static std::optional<std::pair<TopKey, char>> ReadKey(absl::Duration patience);

 private:
  bool color_ = false;
};

}  // namespace fairlead
