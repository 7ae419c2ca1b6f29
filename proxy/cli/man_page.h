// Manual pages, from what --help says.
#pragma once

#include <map>
#include <string>

#include "proxy/cli/command_shape.h"

namespace fairlead {

// By file name, "fairlead-watcher-nodes.1": one page for the program and one for each command, in
// the language of man(7). Pure.
std::map<std::string, std::string> ManPages(const CommandShape& program,
                                            const std::string& version);

}  // namespace fairlead
