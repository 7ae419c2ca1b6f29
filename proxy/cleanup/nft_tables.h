// Tables of nftables, whoever made them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proxy/kernel/firewall.h"
#include "proxy/kernel/netlink_socket.h"

namespace fairlead {

struct NftTable {
  // NFPROTO_IPV4, NFPROTO_INET, … of include/uapi/linux/netfilter.h.
  uint8_t family = 0;
  std::string name;

  // "ip kube-proxy", "inet fairlead"; "family 3 x" for one that has no name here.
  std::string Format() const;

  auto operator<=>(const NftTable&) const = default;
};

struct NftTableChain {
  NftTable table;
  std::string name;

  auto operator<=>(const NftTableChain&) const = default;
};

// All of the calling thread's network namespace, sorted. Empty where the kernel has no nf_tables.
// UNAVAILABLE if they change all the time. Thread-safe.
absl::StatusOr<std::vector<NftTable>> ReadNftTables();
absl::StatusOr<std::vector<NftTableChain>> ReadNftChains();

// Deletes the table with all that is in it, by the program `nft`, in one transaction. One that is
// not there is no error. `table` as NftTable::Format writes it.
absl::Status DeleteNftTable(absl::string_view table);

// Fairlead's own one.
absl::Status DeleteFirewallTable();

// The table as it is found, for cleaning up: also one of another version that lacks some of the
// sets, or whose sets somebody deleted. Thread-compatible.
class FoundFirewall : public Firewall {
 public:
  // For the network namespace of the calling thread.
  static absl::StatusOr<std::unique_ptr<FoundFirewall>> Open();

  // FAILED_PRECONDITION: it is there to be removed.
  absl::StatusOr<bool> EnsureRuleset(const std::string& ruleset) override;
  // Of the sets that there are. NOT_FOUND if there is no table.
  absl::StatusOr<std::vector<Element>> Dump() override;
  absl::Status Apply(absl::Span<const ElementChange> changes) override;

 private:
  FoundFirewall(NetlinkSocket socket, std::unique_ptr<Firewall> whole)
      : socket_(std::move(socket)), whole_(std::move(whole)) {}

  NetlinkSocket socket_;
  const std::unique_ptr<Firewall> whole_;
};

}  // namespace fairlead
