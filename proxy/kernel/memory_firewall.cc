#include "proxy/kernel/memory_firewall.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {

void MemoryFirewall::FailNextCalls(int calls, const absl::Status& error) {
  failing_calls_ = calls;
  call_error_ = error;
}

void MemoryFirewall::FailElement(const Element& element, int times, const absl::Status& error) {
  failing_element_ = element;
  failing_times_ = times;
  element_error_ = error;
}

void MemoryFirewall::DeleteTable() {
  ruleset_.reset();
  elements_.clear();
}

absl::Status MemoryFirewall::TakeFailure() {
  if (failing_calls_ == 0) return absl::OkStatus();
  --failing_calls_;
  return call_error_;
}

absl::StatusOr<bool> MemoryFirewall::EnsureRuleset(const std::string& ruleset) {
  if (absl::Status status = TakeFailure(); !status.ok()) return status;
  absl::StatusOr<RulesetShape> shape = ShapeOf(ruleset);
  if (!shape.ok()) return shape.status();
  if (ruleset_ == ruleset) return false;
  ruleset_ = ruleset;
  ++rulesets_loaded_;
  return true;
}

absl::StatusOr<std::vector<Element>> MemoryFirewall::Dump() {
  if (absl::Status status = TakeFailure(); !status.ok()) return status;
  if (!ruleset_.has_value()) return absl::NotFoundError("no table");
  return std::vector<Element>(elements_.begin(), elements_.end());
}

absl::Status MemoryFirewall::Apply(absl::Span<const ElementChange> changes) {
  if (absl::Status status = TakeFailure(); !status.ok()) return status;
  if (changes.empty()) return absl::OkStatus();
  if (!ruleset_.has_value()) return absl::NotFoundError("no table");
  std::set<Element> elements = elements_;
  for (const ElementChange& change : changes) {
    if (failing_times_ > 0 && change.element == failing_element_) {
      --failing_times_;
      return element_error_;
    }
    if (change.verb == ElementChange::Verb::kAdd) {
      elements.insert(change.element);
    } else if (elements.erase(change.element) == 0) {
      return absl::NotFoundError(absl::StrCat("delete ", change.element.Format()));
    }
  }
  elements_ = std::move(elements);
  changes_ += static_cast<int>(changes.size());
  ++transactions_;
  return absl::OkStatus();
}

}  // namespace fairlead
