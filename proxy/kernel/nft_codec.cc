#include "proxy/kernel/nft_codec.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {
namespace {

// struct nlmsghdr and nfgenmsg, and names of table and set at their longest here: more than enough.
constexpr size_t kMessageOverheadBytes = 96;

constexpr uint16_t NftType(int message) { return (NFNL_SUBSYS_NFTABLES << 8) | message; }

nfgenmsg FamilyHeader() {
  nfgenmsg header{};
  header.nfgen_family = NFPROTO_INET;
  header.version = NFNETLINK_V0;
  return header;
}

void AppendBatchMessage(std::string& out, uint16_t type, uint32_t sequence) {
  nfgenmsg header{};
  header.version = NFNETLINK_V0;
  header.res_id = htons(NFNL_SUBSYS_NFTABLES);
  MessageWriter(out, type, NLM_F_REQUEST, sequence, AsBytes(header)).Finish();
}

std::string KernelSet(SetName set, IpFamily family) {
  return absl::StrCat(FormatSetName(set), family == IpFamily::kIpv4 ? "4" : "6");
}

size_t AddressBytes(IpFamily family) { return family == IpFamily::kIpv4 ? 4 : 16; }

// Every part of a concatenation is padded to 4 bytes (nf_tables_api.c, NFT_REG32_SIZE).
size_t KeyBytes(SetName set, IpFamily family) {
  const size_t address = AddressBytes(family);
  switch (set) {
    case SetName::kGuarded:
      return address;
    case SetName::kHairpin:
      return 2 * address;
    default:
      return address + 8;
  }
}

// Three attributes around each other, with a header of 4 bytes each.
size_t ElementBytes(SetName set, IpFamily family) {
  return size_t{3} * NLA_HDRLEN + KeyBytes(set, family);
}

std::string EncodeKey(const Element& element) {
  std::string key(element.address.bytes());
  switch (element.set) {
    case SetName::kGuarded:
      break;
    case SetName::kHairpin:
      key += std::string(element.address.bytes());
      break;
    default:
      const char protocol = static_cast<char>(element.protocol);
      const uint16_t port = htons(element.port);
      absl::StrAppend(&key, absl::string_view(&protocol, 1), absl::string_view("\0\0\0", 3),
                      AsBytes(port), absl::string_view("\0\0", 2));
  }
  return key;
}

bool Shares(const ElementChange& a, const ElementChange& b) {
  return a.verb == b.verb && a.element.set == b.element.set &&
         a.element.address.family() == b.element.address.family();
}

// How many changes from the start can share a message and are within `max_bytes`.
size_t CountShared(absl::Span<const ElementChange> changes, size_t max_bytes) {
  const Element& first = changes.front().element;
  if (max_bytes < kMessageOverheadBytes) return 0;
  const size_t limit = std::min(
      {changes.size(), kMaxElementsPerMessage,
       (max_bytes - kMessageOverheadBytes) / ElementBytes(first.set, first.address.family())});
  size_t count = 0;
  while (count < limit && Shares(changes.front(), changes[count])) ++count;
  return count;
}

NftTransaction::ElementMessage AppendElements(std::string& out,
                                              absl::Span<const ElementChange> changes,
                                              uint32_t sequence, bool last) {
  const Element& first = changes.front().element;
  const bool add = changes.front().verb == ElementChange::Verb::kAdd;
  // Without NLM_F_EXCL an element that exists is no error.
  const int flags = NLM_F_REQUEST | (add ? NLM_F_CREATE : 0) | (last ? NLM_F_ACK : 0);
  MessageWriter writer(out, NftType(add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM), flags, sequence,
                       AsBytes(FamilyHeader()));
  writer.PutText(NFTA_SET_ELEM_LIST_TABLE, kTableName);
  writer.PutText(NFTA_SET_ELEM_LIST_SET, KernelSet(first.set, first.address.family()));
  const size_t list = writer.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
  NftTransaction::ElementMessage message;
  message.sequence = sequence;
  message.count = changes.size();
  message.elements_offset = writer.size();
  message.element_bytes = ElementBytes(first.set, first.address.family());
  // The kernel does not read the elements' type; nft numbers them.
  uint16_t number = 0;
  for (const ElementChange& change : changes) {
    const size_t element = writer.BeginNest(++number);
    const size_t key = writer.BeginNest(NFTA_SET_ELEM_KEY);
    writer.Put(NFTA_DATA_VALUE, EncodeKey(change.element));
    writer.EndNest(key);
    writer.EndNest(element);
  }
  writer.EndNest(list);
  writer.Finish();
  return message;
}

// One transaction of changes from index `first` on, as many as fit.
NftTransaction EncodeOne(absl::Span<const ElementChange> changes, size_t first, uint32_t sequence,
                         size_t max_bytes) {
  NftTransaction transaction;
  transaction.first = first;
  transaction.begin_sequence = sequence;
  AppendBatchMessage(transaction.bytes, NFNL_MSG_BATCH_BEGIN, sequence++);
  const size_t max_before_end = max_bytes - NLMSG_HDRLEN - sizeof(nfgenmsg);
  absl::Span<const ElementChange> rest = changes.subspan(first);
  size_t count = CountShared(rest, max_before_end - transaction.bytes.size());
  while (count > 0) {
    const absl::Span<const ElementChange> shared = rest.first(count);
    rest.remove_prefix(count);
    // Whether another message follows has to be known: the last one is acknowledged.
    const size_t bytes =
        transaction.bytes.size() + kMessageOverheadBytes +
        count * ElementBytes(shared[0].element.set, shared[0].element.address.family());
    count = rest.empty() || bytes > max_before_end ? 0 : CountShared(rest, max_before_end - bytes);
    transaction.messages.push_back(
        AppendElements(transaction.bytes, shared, sequence++, /*last=*/count == 0));
    transaction.messages.back().first = first + transaction.count;
    transaction.count += shared.size();
  }
  AppendBatchMessage(transaction.bytes, NFNL_MSG_BATCH_END, sequence);
  return transaction;
}

std::string EncodeDump(int message, uint32_t sequence) {
  std::string out;
  MessageWriter(out, NftType(message), NLM_F_REQUEST | NLM_F_DUMP, sequence,
                AsBytes(FamilyHeader()))
      .Finish();
  return out;
}

absl::Status Malformed(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("nf_tables: malformed ", what));
}

// The payload of an NFT message whose type is as expected, without its fixed header.
absl::StatusOr<absl::string_view> Attributes(const Message& message, int type) {
  nfgenmsg header;
  absl::string_view rest = message.payload;
  if (message.type != NftType(type) || !ConsumeHeader(rest, &header, sizeof(header))) {
    return Malformed(absl::StrCat("message of type ", message.type));
  }
  return rest;
}

std::string Text(absl::string_view payload) {
  return std::string(payload.substr(0, payload.find('\0')));
}

// The payload of the attribute, empty where there is none.
absl::StatusOr<absl::string_view> FindAttribute(absl::string_view bytes, uint16_t wanted) {
  absl::string_view found;
  absl::Status status = ForEachAttribute(bytes, [&](uint16_t type, absl::string_view payload) {
    if (type == wanted) found = payload;
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return found;
}

absl::Status DecodeElement(absl::string_view bytes, SetName set, IpFamily family,
                           std::vector<Element>& elements) {
  absl::StatusOr<absl::string_view> key = FindAttribute(bytes, NFTA_SET_ELEM_KEY);
  if (key.ok()) key = FindAttribute(*key, NFTA_DATA_VALUE);
  if (!key.ok()) return key.status();
  if (key->size() != KeyBytes(set, family)) {
    return Malformed(absl::StrCat("key of ", key->size(), " bytes in ", KernelSet(set, family)));
  }
  const size_t address_bytes = AddressBytes(family);
  Element element;
  element.set = set;
  element.address = *IpAddress::FromBytes(key->substr(0, address_bytes));
  const absl::string_view rest = key->substr(address_bytes);
  if (set == SetName::kHairpin && rest != element.address.bytes()) return absl::OkStatus();
  if (set != SetName::kGuarded && set != SetName::kHairpin) {
    element.protocol = static_cast<ipvs::Protocol>(rest[0]);
    if (element.protocol != ipvs::Protocol::kTcp && element.protocol != ipvs::Protocol::kUdp &&
        element.protocol != ipvs::Protocol::kSctp) {
      return absl::OkStatus();
    }
    std::memcpy(&element.port, &rest[4], sizeof(element.port));
    element.port = ntohs(element.port);
  }
  elements.push_back(element);
  return absl::OkStatus();
}

}  // namespace

std::optional<size_t> NftTransaction::FindChange(uint32_t sequence,
                                                 std::optional<uint32_t> offset) const {
  for (const ElementMessage& message : messages) {
    if (message.sequence != sequence) continue;
    if (message.count == 1 && !offset.has_value()) return message.first;
    if (!offset.has_value() || *offset < message.elements_offset) return std::nullopt;
    const size_t index = (*offset - message.elements_offset) / message.element_bytes;
    if (index >= message.count) return std::nullopt;
    return message.first + index;
  }
  return std::nullopt;
}

std::vector<NftTransaction> EncodeTransactions(absl::Span<const ElementChange> changes,
                                               uint32_t first_sequence, size_t max_bytes) {
  std::vector<NftTransaction> transactions;
  max_bytes = std::max(max_bytes, kMinTransactionBytes);
  uint32_t sequence = first_sequence;
  for (size_t first = 0; first < changes.size(); first += transactions.back().count) {
    transactions.push_back(EncodeOne(changes, first, sequence, max_bytes));
    sequence = transactions.back().last_sequence() + 2;
  }
  return transactions;
}

std::string EncodeElementDump(SetName set, IpFamily family, uint32_t sequence) {
  std::string out;
  MessageWriter writer(out, NftType(NFT_MSG_GETSETELEM), NLM_F_REQUEST | NLM_F_DUMP, sequence,
                       AsBytes(FamilyHeader()));
  writer.PutText(NFTA_SET_ELEM_LIST_TABLE, kTableName);
  writer.PutText(NFTA_SET_ELEM_LIST_SET, KernelSet(set, family));
  writer.Finish();
  return out;
}

std::string EncodeChainDump(uint32_t sequence) { return EncodeDump(NFT_MSG_GETCHAIN, sequence); }

std::string EncodeRuleDump(uint32_t sequence) { return EncodeDump(NFT_MSG_GETRULE, sequence); }

absl::Status DecodeElements(const Message& message, SetName set, IpFamily family,
                            std::vector<Element>& elements) {
  absl::StatusOr<absl::string_view> list = Attributes(message, NFT_MSG_NEWSETELEM);
  if (list.ok()) list = FindAttribute(*list, NFTA_SET_ELEM_LIST_ELEMENTS);
  if (!list.ok()) return list.status();
  return ForEachAttribute(*list, [&](uint16_t, absl::string_view element) {
    return DecodeElement(element, set, family, elements);
  });
}

absl::StatusOr<NftChain> DecodeChain(const Message& message) {
  absl::StatusOr<absl::string_view> attributes = Attributes(message, NFT_MSG_NEWCHAIN);
  if (!attributes.ok()) return attributes.status();
  NftChain chain;
  absl::Status status = ForEachAttribute(*attributes, [&](uint16_t type, absl::string_view bytes) {
    if (type == NFTA_CHAIN_TABLE) chain.table = Text(bytes);
    if (type == NFTA_CHAIN_NAME) chain.name = Text(bytes);
    if (type == NFTA_CHAIN_HANDLE && bytes.size() == sizeof(chain.handle)) {
      std::memcpy(&chain.handle, bytes.data(), sizeof(chain.handle));
      chain.handle = be64toh(chain.handle);
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (chain.table.empty() || chain.name.empty()) return Malformed("chain");
  return chain;
}

absl::StatusOr<NftRule> DecodeRule(const Message& message) {
  absl::StatusOr<absl::string_view> attributes = Attributes(message, NFT_MSG_NEWRULE);
  if (!attributes.ok()) return attributes.status();
  NftRule rule;
  absl::Status status = ForEachAttribute(*attributes, [&](uint16_t type, absl::string_view bytes) {
    if (type == NFTA_RULE_TABLE) rule.table = Text(bytes);
    if (type == NFTA_RULE_CHAIN) rule.chain = Text(bytes);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (rule.table.empty() || rule.chain.empty()) return Malformed("rule");
  return rule;
}

}  // namespace fairlead
