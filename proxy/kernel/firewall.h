// Fairlead's nftables table: a constant ruleset, and the sets whose elements change.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proxy/plan/element.h"

namespace fairlead {

struct ElementChange {
  enum class Verb { kAdd, kDelete };
  Verb verb = Verb::kAdd;
  Element element;

  friend bool operator==(const ElementChange&, const ElementChange&) = default;
};

// The table `inet fairlead`. Thread-compatible.
class Firewall {
 public:
  virtual ~Firewall() = default;

  // Makes the chains those of `ruleset` (see RulesetText) in one transaction, and keeps the
  // elements of the sets. Writes nothing, and returns false, where the table carries this ruleset
  // already. FAILED_PRECONDITION: `nft` or a kernel module is missing, the message says which.
  virtual absl::StatusOr<bool> EnsureRuleset(const std::string& ruleset) = 0;

  // All elements of all sets, sorted. NOT_FOUND if there is no table; an error is never "empty".
  virtual absl::StatusOr<std::vector<Element>> Dump() = 0;

  // Carries out all changes in one transaction: all of them or, with an error, none. Adding an
  // element that exists changes nothing and is no error; deleting one that does not exist is
  // NOT_FOUND. ALREADY_EXISTS: there is another value for the key in kMark, or another prefix for
  // the port in kAllowed that has the first or the last address of this one. Deletion does not look
  // at the value in kMark; and in kAllowed it means the smallest prefix that has the first address,
  // so that a prefix in another one must not be deleted unless it is there.
  virtual absl::Status Apply(absl::Span<const ElementChange> changes) = 0;
};

}  // namespace fairlead
