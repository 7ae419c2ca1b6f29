// Log lines that are about an object.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fairlead {

inline std::string FileObject(absl::string_view path) { return absl::StrCat("file ", path); }

// Logs `line`, which names the object; where the log is JSON, the object is a field of its own,
// too. "Service shop/cart", "Node n1", "file /etc/fairlead/shop.yaml"; empty: there is none.
inline void LogAbout(spdlog::level::level_enum level, const std::string& object,
                     absl::string_view line) {
  // A place in the source is all that spdlog carries beside a message. One without a line is none.
  spdlog::default_logger_raw()->log(spdlog::source_loc{object.c_str(), 0, ""}, level,
                                    spdlog::string_view_t(line.data(), line.size()));
}

// What a message is about, for formatters; empty: it is not said.
inline absl::string_view ObjectOf(const spdlog::details::log_msg& message) {
  const spdlog::source_loc& place = message.source;
  return place.line != 0 || place.filename == nullptr ? "" : place.filename;
}

}  // namespace fairlead
