// The constant part of Fairlead's firewall, as text for `nft`.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proxy/plan/marks.h"
#include "proxy/plan/pod_detector.h"

namespace fairlead {

// The table `inet` with this name is Fairlead's; no other is touched.
inline constexpr absl::string_view kTableName = "fairlead";

struct RulesetConfig {
  // In a family in which it detects none, elements of masquerade_outsiders have no effect.
  PodDetector pods;
  // What the elements of mark give.
  MarkRange marks;

  friend bool operator==(const RulesetConfig&, const RulesetConfig&) = default;
};

// The table with its sets, without elements, and its chains. It contains an empty chain whose name
// is a hash of the rest, so that the kernel tells which ruleset it has: equal texts, equal names.
std::string RulesetText(const RulesetConfig& config);

// How many rules each chain has. It says whether a table is that of a text.
using RulesetShape = std::map<std::string, int>;

// The shape of a text of RulesetText, also of another version's; INVALID_ARGUMENT if it is not one.
absl::StatusOr<RulesetShape> ShapeOf(absl::string_view ruleset);

}  // namespace fairlead
