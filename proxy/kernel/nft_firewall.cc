#include "proxy/kernel/nft_firewall.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/kernel/nft_program.h"

namespace fairlead {
namespace {

// nfnetlink refuses a subsystem that is not there with EINVAL, or EOPNOTSUPP in a batch.
absl::Status ExplainMissing(const absl::Status& status) {
  if (!absl::IsInvalidArgument(status) && !absl::IsFailedPrecondition(status)) return status;
  return absl::FailedPreconditionError(
      absl::StrCat(status.message(), ": is nf_tables there? Run `modprobe nf_tables`"));
}

// What `nft` is given: chains that are there go, whether the ruleset has them or not. Named by
// handle, since a name may need quotes.
std::string Replacement(const std::vector<NftChain>& chains, const std::string& ruleset) {
  std::string text = absl::StrCat("add table inet ", kTableName, "\n");
  // Of all chains, so that none refers to another when it is deleted. Elements stay.
  absl::StrAppend(&text, "flush table inet ", kTableName, "\n");
  for (const NftChain& chain : chains) {
    absl::StrAppend(&text, "delete chain inet ", kTableName, " handle ", chain.handle, "\n");
  }
  return text + ruleset;
}

std::string Describe(const ElementChange& change) {
  return absl::StrCat(change.verb == ElementChange::Verb::kAdd ? "add " : "delete ",
                      change.element.Format());
}

// What an answer with an error was about, as closely as the kernel says.
std::string Subject(const NftTransaction& transaction, absl::Span<const ElementChange> changes,
                    uint32_t sequence, const Acknowledgement& ack) {
  if (const auto index = transaction.FindChange(sequence, ack.offset)) {
    return Describe(changes[*index]);
  }
  for (const NftTransaction::ElementMessage& message : transaction.messages) {
    if (message.sequence != sequence) continue;
    return absl::StrCat(Describe(changes[message.first]), " or one of the ", message.count - 1,
                        " elements after it");
  }
  return absl::StrCat("transaction of ", transaction.count, " elements");
}

}  // namespace

absl::StatusOr<std::unique_ptr<NftFirewall>> NftFirewall::Open() {
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_NETFILTER);
  if (!socket.ok()) return socket.status();
  return std::unique_ptr<NftFirewall>(new NftFirewall(*std::move(socket)));
}

absl::Status NftFirewall::DumpChains(Contents& contents) {
  absl::Status status = RetryInterrupted([&] {
    contents.chains.clear();
    return socket_.Dump(EncodeChainDump(socket_.TakeSequences(1)), "dump of nftables chains",
                        [&](const Message& message) {
                          absl::StatusOr<NftChain> chain = DecodeChain(message);
                          if (!chain.ok()) return chain.status();
                          if (chain->table == kTableName)
                            contents.chains.push_back(*std::move(chain));
                          return absl::OkStatus();
                        });
  });
  return ExplainMissing(status);
}

absl::Status NftFirewall::DumpRules(Contents& contents) {
  return RetryInterrupted([&] {
    contents.shape.clear();
    contents.rules.clear();
    for (const NftChain& chain : contents.chains) contents.shape[chain.name] = 0;
    return socket_.Dump(EncodeRuleDump(socket_.TakeSequences(1)), "dump of nftables rules",
                        [&](const Message& message) {
                          absl::StatusOr<NftRule> rule = DecodeRule(message);
                          if (!rule.ok()) return rule.status();
                          if (rule->table != kTableName) return absl::OkStatus();
                          ++contents.shape[rule->chain];
                          contents.rules.push_back(*std::move(rule));
                          return absl::OkStatus();
                        });
  });
}

absl::Status NftFirewall::DumpSets(Contents& contents) {
  std::set<std::string> missing;
  return RetryInterrupted([&] {
    for (int set = 0; set < kSetNames; ++set) {
      for (const char* family : {"4", "6"}) {
        missing.insert(absl::StrCat(FormatSetName(static_cast<SetName>(set)), family));
      }
    }
    absl::Status status = socket_.Dump(EncodeSetDump(socket_.TakeSequences(1)),
                                       "dump of nftables sets", [&](const Message& message) {
                                         absl::StatusOr<NftSet> set = DecodeSet(message);
                                         if (!set.ok()) return set.status();
                                         if (set->table == kTableName) missing.erase(set->name);
                                         return absl::OkStatus();
                                       });
    contents.has_all_sets = missing.empty();
    return status;
  });
}

absl::StatusOr<NftFirewall::Contents> NftFirewall::ReadContents() {
  Contents contents;
  absl::Status status = DumpChains(contents);
  if (status.ok()) status = DumpRules(contents);
  if (status.ok()) status = DumpSets(contents);
  if (!status.ok()) return status;
  return contents;
}

absl::StatusOr<bool> NftFirewall::EnsureRuleset(const std::string& ruleset) {
  absl::StatusOr<RulesetShape> wanted = ShapeOf(ruleset);
  if (!wanted.ok()) return wanted.status();
  absl::StatusOr<Contents> present = ReadContents();
  if (!present.ok()) return present.status();
  const bool known = known_ruleset_ == ruleset;
  if (present->shape == *wanted && present->has_all_sets &&
      (!known || present->rules == known_rules_)) {
    known_ruleset_ = ruleset;
    known_rules_ = std::move(present->rules);
    return false;
  }
  absl::Status status = RunNft(Replacement(present->chains, ruleset));
  if (!status.ok()) return status;
  known_ruleset_.clear();
  present = ReadContents();
  // Where somebody has been at it since, the next look finds it.
  if (present.ok() && present->shape == *wanted) {
    known_ruleset_ = ruleset;
    known_rules_ = std::move(present->rules);
  }
  return true;
}

absl::Status NftFirewall::DumpSet(SetName set, IpFamily family, std::vector<Element>& elements) {
  const size_t before = elements.size();
  const std::string context =
      absl::StrCat("dump of the set ", FormatSetName(set), family == IpFamily::kIpv4 ? "4" : "6");
  return RetryInterrupted([&] {
    elements.resize(before);
    absl::Status status = socket_.Dump(
        EncodeElementDump(set, family, socket_.TakeSequences(1)), context,
        [&](const Message& message) { return DecodeElements(message, set, family, elements); });
    if (!status.ok()) return status;
    // The kernel's hash table may grow in the background, and a dump that goes on in the new order
    // repeats and skips elements without saying so (net/netfilter/nft_set_hash.c, nft_rhash_walk).
    // For each one that is skipped, one is repeated.
    const auto first = elements.begin() + static_cast<std::ptrdiff_t>(before);
    std::sort(first, elements.end());
    if (std::adjacent_find(first, elements.end()) != elements.end()) {
      return absl::UnavailableError(absl::StrCat(context, ": reordered while it was read"));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<Element>> NftFirewall::Dump() {
  std::vector<Element> elements;
  for (int set = 0; set < kSetNames; ++set) {
    for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
      absl::Status status = DumpSet(static_cast<SetName>(set), family, elements);
      if (!status.ok()) return status;
    }
  }
  // By set and family, each sorted, is sorted.
  return elements;
}

absl::Status NftFirewall::Commit(const NftTransaction& transaction,
                                 absl::Span<const ElementChange> changes) {
  bool committed = false;
  absl::Status failure;
  absl::Status status = socket_.Exchange(transaction.bytes, [&](const Message& message) {
    absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
    if (!ack.ok()) return ack.status();
    if (ack->error != 0) {
      failure.Update(NetlinkStatus(
          ack->error,
          absl::StrCat("nftables: ", Subject(transaction, changes, message.sequence, *ack)),
          ack->text));
    } else if (message.sequence == transaction.last_sequence()) {
      committed = true;
    }
    return absl::OkStatus();
  });
  if (!failure.ok()) return failure;
  if (!status.ok()) return status;
  if (committed) return absl::OkStatus();
  return absl::UnknownError("nftables: the kernel did not answer to a transaction");
}

absl::Status NftFirewall::Apply(absl::Span<const ElementChange> changes) {
  const uint32_t sequences = static_cast<uint32_t>(3 * changes.size());
  const std::vector<NftTransaction> transactions =
      EncodeTransactions(changes, socket_.TakeSequences(sequences), socket_.max_request_bytes());
  for (const NftTransaction& transaction : transactions) {
    absl::Status status = Commit(transaction, changes);
    if (status.ok()) {
      ++committed_;
      continue;
    }
    if (transaction.first == 0) return status;
    return absl::Status(status.code(),
                        absl::StrCat(status.message(), "; ", transaction.first, " of ",
                                     changes.size(), " changes were made before"));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> NftFirewall::Generation() {
  absl::StatusOr<uint32_t> generation =
      absl::UnknownError("nftables: the kernel did not tell its generation");
  absl::Status status = socket_.Exchange(
      EncodeGenerationQuery(socket_.TakeSequences(1)), [&](const Message& message) {
        if (message.type != NLMSG_ERROR) {
          generation = DecodeGeneration(message);
          return absl::OkStatus();
        }
        absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
        if (!ack.ok()) return ack.status();
        return NetlinkStatus(ack->error, "nftables: generation", ack->text);
      });
  // What is counted may still be on its way to those who hear of it.
  status.Update(socket_.Exchange(
      EncodeEmptyBatch(socket_.TakeSequences(2)), [](const Message& message) -> absl::Status {
        absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
        if (!ack.ok()) return ack.status();
        return NetlinkStatus(ack->error, "nftables: empty batch", ack->text);
      }));
  if (!status.ok()) return status;
  return generation;
}

}  // namespace fairlead
