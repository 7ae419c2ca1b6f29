// What the tests of the checks share.
#pragma once

#include <catch2/catch.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proxy/doctor/finding.h"

namespace fairlead {

inline std::ostream& operator<<(std::ostream& out, const Finding& finding) {
  return out << std::string(FormatSeverity(finding.severity)) << " " << finding.check << ": "
             << finding.message << " | " << finding.evidence << " | " << finding.fix;
}

// The one finding of the check.
inline Finding Only(const std::vector<Finding>& findings, const std::string& check) {
  std::vector<Finding> found;
  for (const Finding& finding : findings) {
    if (finding.check == check) found.push_back(finding);
  }
  INFO("findings of " << check);
  REQUIRE(found.size() == 1);
  return found.front();
}

// "error agent.answers" of each that is not ok, in order.
inline std::vector<std::string> Complaints(const std::vector<Finding>& findings) {
  std::vector<std::string> complaints;
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::kOk) continue;
    complaints.push_back(absl::StrCat(FormatSeverity(finding.severity), " ", finding.check));
  }
  return complaints;
}

}  // namespace fairlead
