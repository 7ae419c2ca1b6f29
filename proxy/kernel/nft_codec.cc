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
  switch (KeyOf(set)) {
    case SetKey::kAddress:
      return address;
    case SetKey::kAddressTwice:
      return 2 * address;
    case SetKey::kPort:
      return address + 8;
    case SetKey::kPortAndSources:
      return address + 8 + address;
    case SetKey::kMark:
      break;
  }
  return sizeof(uint32_t);
}

// A data value within a nested attribute.
size_t NestedBytes(size_t data) { return size_t{2} * NLA_HDRLEN + data; }

size_t ElementBytes(SetName set, IpFamily family) {
  const size_t key = NestedBytes(KeyBytes(set, family));
  size_t bytes = NLA_HDRLEN + key;
  if (KeyOf(set) == SetKey::kPortAndSources) bytes += key;  // The interval's end.
  if (set == SetName::kMark) bytes += NestedBytes(sizeof(uint32_t));
  return bytes;
}

// `source` is of kPortAndSources only: the first or the last address of the prefix.
std::string EncodeKey(const Element& element, const IpAddress& source) {
  const absl::string_view address = element.address.bytes();
  if (KeyOf(element.set) == SetKey::kMark) return std::string(AsBytes(element.mark));
  std::string key(address);
  if (KeyOf(element.set) == SetKey::kAddress) return key;
  if (KeyOf(element.set) == SetKey::kAddressTwice) return absl::StrCat(key, address);
  const char protocol = static_cast<char>(element.protocol);
  const uint16_t port = htons(element.port);
  absl::StrAppend(&key, absl::string_view(&protocol, 1), absl::string_view("\0\0\0", 3),
                  AsBytes(port), absl::string_view("\0\0", 2));
  if (KeyOf(element.set) == SetKey::kPortAndSources) absl::StrAppend(&key, source.bytes());
  return key;
}

// The prefix from `first` to `last`, if there is one.
std::optional<IpPrefix> PrefixBetween(const IpAddress& first, const IpAddress& last) {
  for (int length = 0; length <= first.bit_length(); ++length) {
    const absl::StatusOr<IpPrefix> prefix = IpPrefix::Make(first, length);
    if (prefix.ok() && prefix->address() == first && prefix->last() == last) return *prefix;
  }
  return std::nullopt;
}

void PutValue(MessageWriter& writer, uint16_t attribute, absl::string_view value) {
  const size_t nest = writer.BeginNest(attribute);
  writer.Put(NFTA_DATA_VALUE, value);
  writer.EndNest(nest);
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
    PutValue(writer, NFTA_SET_ELEM_KEY,
             EncodeKey(change.element, change.element.sources.address()));
    if (KeyOf(change.element.set) == SetKey::kPortAndSources) {
      PutValue(writer, NFTA_SET_ELEM_KEY_END,
               EncodeKey(change.element, change.element.sources.last()));
    }
    if (change.element.set == SetName::kMark) {
      PutValue(writer, NFTA_SET_ELEM_DATA, AsBytes(change.element.mark));
    }
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

// The value in a nested attribute; DATA_LOSS if it is not of that size.
absl::StatusOr<absl::string_view> FindValue(absl::string_view bytes, uint16_t attribute,
                                            size_t size, absl::string_view what) {
  absl::StatusOr<absl::string_view> value = FindAttribute(bytes, attribute);
  if (value.ok()) value = FindAttribute(*value, NFTA_DATA_VALUE);
  if (!value.ok()) return value.status();
  if (value->size() != size) return Malformed(absl::StrCat(what, " of ", value->size(), " bytes"));
  return *value;
}

// The parts of a key behind its address, but for sources. False: it cannot be Fairlead's.
bool DecodeRestOfKey(absl::string_view rest, Element& element) {
  if (KeyOf(element.set) == SetKey::kAddress) return true;
  if (KeyOf(element.set) == SetKey::kAddressTwice) return rest == element.address.bytes();
  element.protocol = static_cast<ipvs::Protocol>(rest[0]);
  if (element.protocol != ipvs::Protocol::kTcp && element.protocol != ipvs::Protocol::kUdp &&
      element.protocol != ipvs::Protocol::kSctp) {
    return false;
  }
  std::memcpy(&element.port, &rest[4], sizeof(element.port));
  element.port = ntohs(element.port);
  return true;
}

// The prefix of sources of one port. False: it is another range, which cannot be Fairlead's.
absl::StatusOr<bool> DecodeSources(absl::string_view bytes, absl::string_view key,
                                   Element& element) {
  absl::StatusOr<absl::string_view> end = FindAttribute(bytes, NFTA_SET_ELEM_KEY_END);
  // An interval of one address may come without its end.
  if (end.ok()) {
    end = end->empty() ? key : FindValue(bytes, NFTA_SET_ELEM_KEY_END, key.size(), "end of a key");
  }
  if (!end.ok()) return end.status();
  const size_t port_bytes = key.size() - AddressBytes(element.family());
  if (end->substr(0, port_bytes) != key.substr(0, port_bytes)) return false;
  const std::optional<IpPrefix> sources =
      PrefixBetween(*IpAddress::FromBytes(key.substr(port_bytes)),
                    *IpAddress::FromBytes(end->substr(port_bytes)));
  if (!sources.has_value()) return false;
  element.sources = *sources;
  return true;
}

absl::Status DecodeElement(absl::string_view bytes, SetName set, IpFamily family,
                           std::vector<Element>& elements) {
  auto key = FindValue(bytes, NFTA_SET_ELEM_KEY, KeyBytes(set, family),
                       absl::StrCat("key in ", KernelSet(set, family)));
  if (!key.ok()) return key.status();
  Element element{.set = set};
  if (KeyOf(set) == SetKey::kMark) {
    if (family == IpFamily::kIpv6) element.address = IpAddress::V6({});
    std::memcpy(&element.mark, key->data(), sizeof(element.mark));
    elements.push_back(element);
    return absl::OkStatus();
  }
  element.address = *IpAddress::FromBytes(key->substr(0, AddressBytes(family)));
  if (!DecodeRestOfKey(key->substr(AddressBytes(family)), element)) return absl::OkStatus();
  if (KeyOf(set) == SetKey::kPortAndSources) {
    auto ours = DecodeSources(bytes, *key, element);
    if (!ours.ok()) return ours.status();
    if (!*ours) return absl::OkStatus();
  }
  if (set == SetName::kMark) {
    auto mark = FindValue(bytes, NFTA_SET_ELEM_DATA, sizeof(element.mark), "mark");
    if (!mark.ok()) return mark.status();
    std::memcpy(&element.mark, mark->data(), sizeof(element.mark));
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

std::string EncodeSetDump(uint32_t sequence) { return EncodeDump(NFT_MSG_GETSET, sequence); }

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

absl::StatusOr<NftSet> DecodeSet(const Message& message) {
  absl::StatusOr<absl::string_view> attributes = Attributes(message, NFT_MSG_NEWSET);
  if (!attributes.ok()) return attributes.status();
  NftSet set;
  absl::Status status = ForEachAttribute(*attributes, [&](uint16_t type, absl::string_view bytes) {
    if (type == NFTA_SET_TABLE) set.table = Text(bytes);
    if (type == NFTA_SET_NAME) set.name = Text(bytes);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (set.table.empty() || set.name.empty()) return Malformed("set");
  return set;
}

absl::StatusOr<NftRule> DecodeRule(const Message& message) {
  absl::StatusOr<absl::string_view> attributes = Attributes(message, NFT_MSG_NEWRULE);
  if (!attributes.ok()) return attributes.status();
  NftRule rule;
  absl::Status status = ForEachAttribute(*attributes, [&](uint16_t type, absl::string_view bytes) {
    if (type == NFTA_RULE_TABLE) rule.table = Text(bytes);
    if (type == NFTA_RULE_CHAIN) rule.chain = Text(bytes);
    if (type == NFTA_RULE_EXPRESSIONS) rule.expressions = std::string(bytes);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (rule.table.empty() || rule.chain.empty()) return Malformed("rule");
  return rule;
}

std::string EncodeGenerationQuery(uint32_t sequence) {
  std::string out;
  MessageWriter(out, NftType(NFT_MSG_GETGEN), NLM_F_REQUEST, sequence, AsBytes(FamilyHeader()))
      .Finish();
  return out;
}

std::string EncodeEmptyBatch(uint32_t first_sequence) {
  std::string out;
  AppendBatchMessage(out, NFNL_MSG_BATCH_BEGIN, first_sequence);
  AppendBatchMessage(out, NFNL_MSG_BATCH_END, first_sequence + 1);
  return out;
}

absl::StatusOr<uint32_t> DecodeGeneration(const Message& message) {
  absl::StatusOr<absl::string_view> id = Attributes(message, NFT_MSG_NEWGEN);
  if (id.ok()) id = FindAttribute(*id, NFTA_GEN_ID);
  if (!id.ok()) return id.status();
  uint32_t generation = 0;
  if (id->size() != sizeof(generation)) return Malformed("generation");
  std::memcpy(&generation, id->data(), sizeof(generation));
  return ntohl(generation);
}

}  // namespace fairlead
