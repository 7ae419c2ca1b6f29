// Scripts by which shells complete the command line.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "proxy/cli/command_shape.h"

namespace fairlead {

// Commands, flags, the values that a flag can have, and files where it names one. Pure.
std::string BashCompletion(const CommandShape& program);
std::string ZshCompletion(const CommandShape& program);
std::string FishCompletion(const CommandShape& program);

}  // namespace fairlead
