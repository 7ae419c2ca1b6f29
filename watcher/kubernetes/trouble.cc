#include "watcher/kubernetes/trouble.h"

namespace fairlead::kubernetes {

bool Trouble::Begin(const std::string& cause, absl::Time now) {
  if (causes_.empty()) since_ = now;
  if (causes_.size() >= kMaxCauses) return false;
  return causes_.insert(cause).second;
}

std::optional<absl::Duration> Trouble::End(absl::Time now) {
  if (causes_.empty()) return std::nullopt;
  causes_.clear();
  return now - since_;
}

}  // namespace fairlead::kubernetes
