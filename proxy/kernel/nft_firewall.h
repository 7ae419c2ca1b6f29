// The firewall in the kernel's nf_tables.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proxy/kernel/firewall.h"
#include "proxy/kernel/netlink_socket.h"
#include "proxy/kernel/nft_codec.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {

// The table `inet fairlead` of one network namespace, by netlink. Needs CAP_NET_ADMIN.
// Thread-compatible.
//
// Errors besides those of Firewall: PERMISSION_DENIED, RESOURCE_EXHAUSTED (memory), UNAVAILABLE
// (others change tables all the time), UNKNOWN (the answer was lost: read back), INVALID_ARGUMENT,
// INTERNAL. Messages name the element where the kernel says which one it was (since 5.16 or so),
// else the set, and what an operator does about it.
class NftFirewall : public Firewall {
 public:
  // For the network namespace of the calling thread.
  static absl::StatusOr<std::unique_ptr<NftFirewall>> Open();

  // Of the socket that writes elements: notifications of its changes carry it. Those of the program
  // `nft` carry another.
  uint32_t port_id() const { return socket_.port_id(); }

  // Runs the program `nft`, at most once a call; the calling thread has to be in the namespace that
  // Open() was called in. "Carries this ruleset": the sets and the chains are there under their
  // names, among them the one that is a hash of the ruleset, each with as many rules as in the
  // text; and they are the rules that were there when this was last said of the ruleset.
  absl::StatusOr<bool> EnsureRuleset(const std::string& ruleset) override;

  absl::StatusOr<std::vector<Element>> Dump() override;

  // One transaction for up to NetlinkSocket::kMaxRequestBytes, which is 190,000 changes of any
  // kind, 349,000 of IPv4 addresses with ports. Beyond it there are several, in order; after an
  // error the ones before have been carried out, and the message says so.
  absl::Status Apply(absl::Span<const ElementChange> changes) override;

  // How many transactions have been committed in this network namespace, by anyone: see
  // DecodeGeneration. When it returns they have been told to whoever hears of nftables. UNKNOWN:
  // the answer was lost.
  absl::StatusOr<uint32_t> Generation();
  // How many of them Apply has committed, as far as the kernel has answered.
  uint32_t committed() const { return committed_; }

 private:
  explicit NftFirewall(NetlinkSocket socket) : socket_(std::move(socket)) {}

  // What is in the table, but for elements.
  struct Contents {
    std::vector<NftChain> chains;
    RulesetShape shape;
    std::vector<NftRule> rules;  // In order.
    bool has_all_sets = false;
  };

  absl::StatusOr<Contents> ReadContents();
  absl::Status DumpChains(Contents& contents);
  absl::Status DumpRules(Contents& contents);
  absl::Status DumpSets(Contents& contents);
  absl::Status DumpSet(SetName set, IpFamily family, std::vector<Element>& elements);
  absl::Status Commit(const NftTransaction& transaction, absl::Span<const ElementChange> changes);

  NetlinkSocket socket_;
  uint32_t committed_ = 0;
  // The ruleset that the table carried last, and the rules that were it.
  std::string known_ruleset_;
  std::vector<NftRule> known_rules_;
};

}  // namespace fairlead
