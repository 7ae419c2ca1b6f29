// Times in the commands' JSON.
#pragma once

#include <string>

#include "absl/time/time.h"

namespace fairlead {

// RFC 3339, in UTC and with milliseconds.
inline std::string FormatJsonTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

}  // namespace fairlead
