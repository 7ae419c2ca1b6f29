// A firewall in memory, for tests.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proxy/kernel/firewall.h"

namespace fairlead {

// Behaves as the kernel's does, and fails where a test wants it to. Thread-compatible.
class MemoryFirewall : public Firewall {
 public:
  absl::StatusOr<bool> EnsureRuleset(const std::string& ruleset) override;
  absl::StatusOr<std::vector<Element>> Dump() override;
  absl::Status Apply(absl::Span<const ElementChange> changes) override;

  // The next `calls` calls, of any method, end with `error` and do nothing.
  void FailNextCalls(int calls, const absl::Status& error);
  // The next `times` calls of Apply that have a change of the element end with `error`.
  void FailElement(const Element& element, int times, const absl::Status& error);
  // As somebody's `nft delete table inet fairlead`.
  void DeleteTable();

  // Changes that have been carried out, and calls that carried out some.
  int changes() const { return changes_; }
  int transactions() const { return transactions_; }
  int rulesets_loaded() const { return rulesets_loaded_; }
  // Unset: no table.
  const std::optional<std::string>& ruleset() const { return ruleset_; }
  const std::set<Element>& elements() const { return elements_; }

 private:
  // The error that the call has to end with.
  absl::Status TakeFailure();

  std::optional<std::string> ruleset_;
  std::set<Element> elements_;
  int changes_ = 0;
  int transactions_ = 0;
  int rulesets_loaded_ = 0;
  int failing_calls_ = 0;
  absl::Status call_error_;
  std::optional<Element> failing_element_;
  int failing_times_ = 0;
  absl::Status element_error_;
};

}  // namespace fairlead
