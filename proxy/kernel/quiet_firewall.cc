#include "proxy/kernel/quiet_firewall.h"

#include <utility>

namespace fairlead {

void QuietFirewall::Hush(TableMonitor& monitor, std::function<void(const absl::Status&)> missed) {
  monitor_ = &monitor;
  missed_ = std::move(missed);
}

void QuietFirewall::StopHushing() {
  monitor_ = nullptr;
  missed_ = nullptr;
}

absl::StatusOr<bool> QuietFirewall::EnsureRuleset(const std::string& ruleset) {
  return firewall_.EnsureRuleset(ruleset);
}

absl::StatusOr<std::vector<Element>> QuietFirewall::Dump() { return firewall_.Dump(); }

absl::Status QuietFirewall::Apply(absl::Span<const ElementChange> changes) {
  if (monitor_ == nullptr || changes.size() < kLarge) return firewall_.Apply(changes);
  // In this order nothing falls between hearing and counting.
  const absl::StatusOr<uint32_t> before = firewall_.Generation();
  if (!before.ok() || !monitor_->LeaveFirewall().ok()) return firewall_.Apply(changes);
  const uint32_t committed = firewall_.committed();
  absl::Status status = firewall_.Apply(changes);
  const absl::Status joined = monitor_->JoinFirewall();
  const absl::StatusOr<uint32_t> after = firewall_.Generation();
  const bool alone =
      joined.ok() && after.ok() && *after - *before == firewall_.committed() - committed;
  if (!alone) missed_(joined);
  return status;
}

}  // namespace fairlead
