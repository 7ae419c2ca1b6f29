// Bytes of nf_tables transactions and dumps, as in include/uapi/linux/netfilter/nf_tables.h and
// net/netfilter/{nfnetlink,nf_tables_api}.c. No I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proxy/kernel/firewall.h"
#include "proxy/kernel/netlink_message.h"

namespace fairlead {

// An element takes at most 100 bytes (both ends of IPv6 . protocol . port . IPv6), and all of a
// message are in one attribute, of at most 65,535.
inline constexpr size_t kMaxElementsPerMessage = 650;

// A batch that the kernel carries out entirely or not at all.
struct NftTransaction {
  // One NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM.
  struct ElementMessage {
    uint32_t sequence = 0;
    size_t first = 0;  // Its changes are consecutive: index of the first one.
    size_t count = 0;
    size_t elements_offset = 0;  // Of the first element, from the start of the message.
    size_t element_bytes = 0;    // Of each.
  };

  std::string bytes;
  size_t first = 0;  // The changes it carries: index of the first one.
  size_t count = 0;
  uint32_t begin_sequence = 0;
  // Never empty. Kernels before 6.10 do not acknowledge the end of a batch, so the last message of
  // elements carries NLM_F_ACK; the answer comes after the commit.
  std::vector<ElementMessage> messages;

  uint32_t last_sequence() const { return messages.back().sequence; }

  // Index of the change that an error speaks of: `sequence` and `offset` are those of its answer.
  // Unset where the kernel did not say, or spoke of something else.
  std::optional<size_t> FindChange(uint32_t sequence, std::optional<uint32_t> offset) const;
};

// The changes in as few transactions of at most `max_bytes` (at least kMinTransactionBytes) as
// possible, in order. Consecutive changes of one set with one verb share messages. Sequence numbers
// are `first_sequence` and up, at most two per transaction and one per change.
inline constexpr size_t kMinTransactionBytes = 4096;
std::vector<NftTransaction> EncodeTransactions(absl::Span<const ElementChange> changes,
                                               uint32_t first_sequence, size_t max_bytes);

// Requests for dumps: a set's elements; sets, chains and rules of all tables of the family inet.
std::string EncodeElementDump(SetName set, IpFamily family, uint32_t sequence);
std::string EncodeSetDump(uint32_t sequence);
std::string EncodeChainDump(uint32_t sequence);
std::string EncodeRuleDump(uint32_t sequence);

// Appends the elements of a message of an element dump of this set. Those with a protocol that is
// not of ipvs::Protocol, or with a range of sources that is no prefix, are left out: they cannot be
// Fairlead's. DATA_LOSS if it is malformed.
absl::Status DecodeElements(const Message& message, SetName set, IpFamily family,
                            std::vector<Element>& elements);

// A message of a chain dump.
struct NftChain {
  std::string table;
  std::string name;
  uint64_t handle = 0;
};
absl::StatusOr<NftChain> DecodeChain(const Message& message);

// A message of a set dump.
struct NftSet {
  std::string table;
  std::string name;
};
absl::StatusOr<NftSet> DecodeSet(const Message& message);

// A message of a rule dump.
struct NftRule {
  std::string table;
  std::string chain;
  std::string expressions;  // What it does, as the kernel encodes it.

  friend bool operator==(const NftRule&, const NftRule&) = default;
};
absl::StatusOr<NftRule> DecodeRule(const Message& message);

// A request for the generation of all tables, and its answer (nf_tables_api.c, nf_tables_getgen):
// a number that grows by one with each transaction that anyone commits in the network namespace,
// and passes over 0. DATA_LOSS if it is malformed.
std::string EncodeGenerationQuery(uint32_t sequence);
absl::StatusOr<uint32_t> DecodeGeneration(const Message& message);

// A batch of nothing. It changes nothing, and is carried out when the transactions before it have
// been told to all who hear of them (nf_tables_api.c, nf_tables_commit: the mutex is held so long).
std::string EncodeEmptyBatch(uint32_t first_sequence);

}  // namespace fairlead
