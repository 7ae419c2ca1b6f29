// The program's version.
#pragma once

namespace fairlead {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace fairlead
