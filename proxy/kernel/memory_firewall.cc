#include "proxy/kernel/memory_firewall.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {
namespace {

bool SamePort(const Element& a, const Element& b) {
  return a.set == b.set && a.address == b.address && a.protocol == b.protocol && a.port == b.port;
}

// Whether the kernel refuses an element of kMark or kAllowed beside another one of the port: a map
// has one value for a key, and neither end of an interval may be in another one
// (nft_set_pipapo.c, nft_pipapo_insert). A larger one around it goes in.
bool Clash(const Element& added, const Element& present) {
  return added.set == SetName::kMark || present.sources.Contains(added.sources.address()) ||
         present.sources.Contains(added.sources.last());
}

bool IsExclusive(SetName set) { return set == SetName::kMark || set == SetName::kAllowed; }

// What an element of kMark or kAllowed can meet: those of its port.
using Elements = std::set<Element>;
std::pair<Elements::const_iterator, Elements::const_iterator> OfPort(const Elements& elements,
                                                                     const Element& element) {
  Element first = element;
  first.mark = 0;
  first.sources = IpPrefix();
  const auto begin = elements.lower_bound(first);
  auto end = begin;
  while (end != elements.end() && SamePort(*end, element)) ++end;
  return {begin, end};
}

const Element* FindClash(const Elements& elements, const Element& added) {
  if (!IsExclusive(added.set) || elements.contains(added)) return nullptr;
  const auto [begin, end] = OfPort(elements, added);
  const auto clash =
      std::find_if(begin, end, [&](const Element& present) { return Clash(added, present); });
  return clash == end ? nullptr : &*clash;
}

// The element that the kernel takes for the one to be deleted, if any. It looks neither at a map's
// value nor at an interval's end (nf_tables_api.c, nft_del_setelem; nft_pipapo_deactivate). Of
// intervals in one another the innermost is the oldest, and found first.
Elements::const_iterator FindToDelete(const Elements& elements, const Element& element) {
  if (!IsExclusive(element.set)) return elements.find(element);
  const auto [begin, end] = OfPort(elements, element);
  auto found = elements.end();
  for (auto it = begin; it != end; ++it) {
    const bool matches =
        element.set == SetName::kMark || it->sources.Contains(element.sources.address());
    if (!matches) continue;
    if (found == elements.end() || it->sources.length() > found->sources.length()) found = it;
  }
  return found;
}

}  // namespace

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
      if (const Element* const other = FindClash(elements, change.element)) {
        return absl::AlreadyExistsError(
            absl::StrCat("add ", change.element.Format(), " beside ", other->Format()));
      }
      elements.insert(change.element);
    } else {
      const auto found = FindToDelete(elements, change.element);
      if (found == elements.end()) {
        return absl::NotFoundError(absl::StrCat("delete ", change.element.Format()));
      }
      elements.erase(found);
    }
  }
  elements_ = std::move(elements);
  changes_ += static_cast<int>(changes.size());
  ++transactions_;
  return absl::OkStatus();
}

}  // namespace fairlead
