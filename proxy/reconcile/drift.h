// What was found in the kernel other than Fairlead had left it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace fairlead {

enum class DriftKind : uint8_t {
  kVirtualServer,  // Gone, or another scheduler, flags, persistence.
  kRealServer,     // Gone, there though nobody put it there, or another weight.
  kElement,        // Of the firewall's sets.
  kRuleset,        // The firewall's chains, or its whole table.
  kRoute,
  kSysctl,
};
inline constexpr int kDriftKinds = 6;

// "virtual_server", "real_server", "element", "ruleset", "route", "sysctl".
absl::string_view FormatDriftKind(DriftKind kind);

// Counts all of it and keeps a few of each kind in words, as there may be very many.
class DriftReport {
 public:
  static constexpr size_t kExamples = 10;

  // "TCP 10.96.0.1:80 was gone".
  void Add(DriftKind kind, absl::FunctionRef<std::string()> description);

  const std::map<DriftKind, uint64_t>& counts() const { return counts_; }
  const std::map<DriftKind, std::vector<std::string>>& examples() const { return examples_; }
  bool empty() const { return counts_.empty(); }

 private:
  std::map<DriftKind, uint64_t> counts_;
  std::map<DriftKind, std::vector<std::string>> examples_;
};

}  // namespace fairlead
