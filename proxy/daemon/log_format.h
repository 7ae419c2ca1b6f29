// Lines of a log that programs read.
#pragma once

#include <spdlog/formatter.h>

#include <memory>

namespace fairlead {

// A JSON object in a line for each message: `time` (RFC 3339, UTC, milliseconds), `level` ("debug",
// "info", "warning", "error"), `object` where it is about one (see LogAbout), and `message`. What
// is no UTF-8 in them is replaced.
std::unique_ptr<spdlog::formatter> MakeJsonLogFormatter();

}  // namespace fairlead
