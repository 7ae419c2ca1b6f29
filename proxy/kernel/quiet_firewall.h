// Large writes to the firewall that the kernel does not tell us of.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/table_monitor.h"

namespace fairlead {

// An NftFirewall beside a TableMonitor. The kernel makes a notification of every element for
// whoever hears of nftables, and keeps those of a transaction until it is committed: with 40,000
// elements they take it eight times as long as the elements do, and 160 MB. So the monitor does not
// hear during a large write; whether somebody else wrote meanwhile is told by the kernel's count of
// transactions. Thread-compatible.
class QuietFirewall : public Firewall {
 public:
  // A write of at least this many elements is large.
  static constexpr size_t kLarge = 256;

  // Of an NftFirewall that outlives this object.
  explicit QuietFirewall(NftFirewall& firewall) : firewall_(firewall) {}

  // Which monitor of the same network namespace is not to hear, until StopHushing(). `missed` is
  // called within Apply() where somebody else may have written meanwhile; with an error where the
  // monitor hears of nftables no more, which only memory can be the reason for.
  void Hush(TableMonitor& monitor, std::function<void(const absl::Status&)> missed);
  void StopHushing();

  absl::StatusOr<bool> EnsureRuleset(const std::string& ruleset) override;
  absl::StatusOr<std::vector<Element>> Dump() override;
  absl::Status Apply(absl::Span<const ElementChange> changes) override;

 private:
  NftFirewall& firewall_;
  TableMonitor* monitor_ = nullptr;
  std::function<void(const absl::Status&)> missed_;
};

}  // namespace fairlead
