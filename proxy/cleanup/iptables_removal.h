// What kube-proxy leaves in iptables, and the text that takes it out. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead {

struct IptablesRule {
  std::string chain;
  std::string text;    // What follows "-A CHAIN ", as `iptables-save` has it.
  std::string target;  // Of -j or -g; empty: none.

  friend bool operator==(const IptablesRule&, const IptablesRule&) = default;
};

struct IptablesChain {
  std::string name;
  std::string policy;  // "ACCEPT" or "DROP" of a built-in chain; "-" of others.

  bool built_in() const { return policy != "-"; }

  friend bool operator==(const IptablesChain&, const IptablesChain&) = default;
};

struct IptablesTable {
  std::string name;  // "filter".
  std::vector<IptablesChain> chains;
  std::vector<IptablesRule> rules;

  friend bool operator==(const IptablesTable&, const IptablesTable&) = default;
};

struct IptablesSave {
  std::vector<IptablesTable> tables;
  // Comments in which `iptables-nft-save` says that it cannot show a table.
  std::vector<std::string> incomplete;
};

// What `iptables-save`, or one of its relatives, prints. INVALID_ARGUMENT names the line.
absl::StatusOr<IptablesSave> ParseIptablesSave(absl::string_view text);

// Whether kube-proxy makes a chain of this name in this table, in its iptables or its IPVS mode,
// and alone: those that kubelet makes too, and those of others that begin with KUBE-, are none.
bool IsKubeProxyChain(absl::string_view table, absl::string_view chain);

// A chain of kube-proxy's that has to stay.
struct KeptChain {
  std::string name;
  std::string user;  // The chain of others that has rules that lead to it.

  friend bool operator==(const KeptChain&, const KeptChain&) = default;
};

struct IptablesRemoval {
  std::string table;
  std::vector<IptablesRule> jumps;  // Of built-in chains, to what goes.
  std::vector<std::string> chains;  // Sorted, with all their rules.
  std::vector<KeptChain> kept;      // Sorted.
  // What these rules let through is dropped from then on: the policy of FORWARD.
  bool forward_policy_drops = false;

  bool empty() const { return jumps.empty() && chains.empty(); }
  // For `iptables-restore --noflush`: one transaction.
  std::string RestoreText() const;

  friend bool operator==(const IptablesRemoval&, const IptablesRemoval&) = default;
};

// Of each table in which there is something to remove, or to keep: filter, nat, mangle, in this
// order. A chain that rules of others lead to stays, with what it leads to; with KUBE-MARK-MASQ
// stays KUBE-POSTROUTING, without which its mark means nothing (portmap, a CNI plugin, can be told
// to use it).
std::vector<IptablesRemoval> PlanIptablesRemoval(const std::vector<IptablesTable>& tables);

}  // namespace fairlead
