// Versions as text and as a document.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "proxy/cli/output.h"

namespace fairlead {

// The package of the wire contracts in proto/: what one version of it says, all others understand.
inline constexpr char kProtocolVersion[] = "fairlead.v1";

// Each is empty where it is not known, or there is none.
struct Versions {
  std::string program;
  std::string agent;
  std::string kernel;
  std::string ipvs;
};

// "1.2.1" of "IP Virtual Server version 1.2.1 (size=4096)"; empty of what has none.
std::string ParseIpvsVersion(absl::string_view title);

// A line for each: a word, a blank, the version or "-".
std::string FormatVersionsText(const Versions& versions);

// {"version", "protocol", "agent", "kernel", "ipvs"}, each null where it is empty, as JSON or YAML.
std::string FormatVersionsDocument(const Versions& versions, Output output);

}  // namespace fairlead
