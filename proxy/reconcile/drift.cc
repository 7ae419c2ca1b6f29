#include "proxy/reconcile/drift.h"

namespace fairlead {

absl::string_view FormatDriftKind(DriftKind kind) {
  switch (kind) {
    case DriftKind::kVirtualServer:
      return "virtual_server";
    case DriftKind::kRealServer:
      return "real_server";
    case DriftKind::kElement:
      return "element";
    case DriftKind::kRuleset:
      return "ruleset";
    case DriftKind::kRoute:
      return "route";
    case DriftKind::kSysctl:
      break;
  }
  return "sysctl";
}

void DriftReport::Add(DriftKind kind, absl::FunctionRef<std::string()> description) {
  ++counts_[kind];
  std::vector<std::string>& examples = examples_[kind];
  if (examples.size() < kExamples) examples.push_back(description());
}

}  // namespace fairlead
