// What `fairlead doctor` says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace fairlead {

enum class Severity : uint8_t {
  kOk,       // As it should be.
  kNote,     // Worth knowing; nothing has to be done.
  kWarning,  // It works, and will not always.
  kError,    // Some or all Services do not work, or nobody can tell.
};

// "ok", "note", "warning", "error".
absl::string_view FormatSeverity(Severity severity);

struct Finding {
  // What was looked at, "GROUP.NAME": "settings.net.ipv4.ip_forward". Stable: others may filter by
  // it.
  std::string check;
  Severity severity = Severity::kOk;
  std::string message;   // A sentence.
  std::string evidence;  // What was read, with numbers.
  std::string fix;       // A command, or what to change where; empty: nothing is to be done.

  friend bool operator==(const Finding&, const Finding&) = default;
};

// kOk if there are none.
Severity Worst(const std::vector<Finding>& findings);

// For people, by group; those that are kOk only with `all`.
std::string FormatFindingsText(const std::vector<Finding>& findings, bool all);
// All of them: {"worst": "note", "findings": [{"check", "severity", "message", "evidence",
// "fix"}]}.
std::string FormatFindingsJson(const std::vector<Finding>& findings);

}  // namespace fairlead
