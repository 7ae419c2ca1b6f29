// What a program exports, and what docs/metrics.md says of it, as values that can be compared.
#pragma once

#include <map>
#include <set>
#include <string>

#include "absl/strings/string_view.h"

namespace fairlead::lab {

struct Family {
  std::string type;
  std::set<std::string> labels;  // Without `le`.

  friend bool operator==(const Family&, const Family&) = default;
};
std::ostream& operator<<(std::ostream& out, const Family& family);

using Families = std::map<std::string, Family>;

// Of Prometheus's text format. A family without series has no labels.
Families ParseExported(absl::string_view text);

// The rows of the tables under the heading, "| `name` | type | `label`, `label` | … |"; "-" is no
// label.
Families ParseDocumented(absl::string_view markdown, absl::string_view heading);

}  // namespace fairlead::lab
