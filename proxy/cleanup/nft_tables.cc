#include "proxy/cleanup/nft_tables.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proxy/kernel/nft_codec.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/nft_program.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {
namespace {

std::string EncodeDump(uint16_t type, uint32_t sequence) {
  const nfgenmsg header{.nfgen_family = NFPROTO_UNSPEC, .version = NFNETLINK_V0, .res_id = 0};
  std::string out;
  MessageWriter(out, static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type),
                NLM_F_REQUEST | NLM_F_DUMP, sequence, AsBytes(header))
      .Finish();
  return out;
}

// Texts have a terminating zero.
std::string Text(absl::string_view bytes) {
  return std::string(bytes.substr(0, std::min(bytes.find('\0'), bytes.size())));
}

// The table, and the text of another attribute of the message.
absl::StatusOr<std::pair<NftTable, std::string>> Decode(const Message& message,
                                                        uint16_t table_attribute,
                                                        uint16_t other_attribute) {
  nfgenmsg header;
  absl::string_view rest = message.payload;
  if (!ConsumeHeader(rest, &header, sizeof(header))) {
    return absl::DataLossError("nftables: a message is cut short");
  }
  std::pair<NftTable, std::string> found;
  found.first.family = header.nfgen_family;
  absl::Status status = ForEachAttribute(rest, [&](uint16_t type, absl::string_view bytes) {
    if (type == table_attribute) found.first.name = Text(bytes);
    if (type == other_attribute) found.second = Text(bytes);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return found;
}

// Calls `visit` for each; starts anew where it is interrupted, after `restart`.
absl::Status Dump(uint16_t type, absl::string_view context, absl::FunctionRef<void()> restart,
                  absl::FunctionRef<absl::Status(const Message&)> visit) {
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_NETFILTER);
  if (!socket.ok()) return socket.status();
  absl::Status status = RetryInterrupted([&] {
    restart();
    return socket->Dump(EncodeDump(type, socket->TakeSequences(1)), context, visit);
  });
  // nfnetlink's answer for a subsystem that is not there: then there are none of its tables.
  if (absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status)) {
    restart();
    return absl::OkStatus();
  }
  return status;
}

}  // namespace

std::string NftTable::Format() const {
  switch (family) {
    case NFPROTO_IPV4:
      return absl::StrCat("ip ", name);
    case NFPROTO_IPV6:
      return absl::StrCat("ip6 ", name);
    case NFPROTO_INET:
      return absl::StrCat("inet ", name);
    default:
      return absl::StrCat("family ", family, " ", name);
  }
}

absl::StatusOr<std::vector<NftTable>> ReadNftTables() {
  std::vector<NftTable> tables;
  absl::Status status = Dump(
      NFT_MSG_GETTABLE, "dump of nftables tables", [&] { tables.clear(); },
      [&](const Message& message) {
        auto found = Decode(message, NFTA_TABLE_NAME, NFTA_TABLE_NAME);
        if (!found.ok()) return found.status();
        tables.push_back(std::move(found->first));
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  std::sort(tables.begin(), tables.end());
  return tables;
}

absl::StatusOr<std::vector<NftTableChain>> ReadNftChains() {
  std::vector<NftTableChain> chains;
  absl::Status status = Dump(
      NFT_MSG_GETCHAIN, "dump of nftables chains", [&] { chains.clear(); },
      [&](const Message& message) {
        auto found = Decode(message, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME);
        if (!found.ok()) return found.status();
        chains.push_back({std::move(found->first), std::move(found->second)});
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  std::sort(chains.begin(), chains.end());
  return chains;
}

absl::Status DeleteNftTable(absl::string_view table) {
  return RunNft(absl::StrCat("add table ", table, "\ndelete table ", table, "\n"));
}

absl::Status DeleteFirewallTable() { return DeleteNftTable(absl::StrCat("inet ", kTableName)); }

absl::StatusOr<std::unique_ptr<FoundFirewall>> FoundFirewall::Open() {
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_NETFILTER);
  if (!socket.ok()) return socket.status();
  auto whole = NftFirewall::Open();
  if (!whole.ok()) return whole.status();
  return std::unique_ptr<FoundFirewall>(new FoundFirewall(*std::move(socket), *std::move(whole)));
}

absl::StatusOr<bool> FoundFirewall::EnsureRuleset(const std::string&) {
  return absl::FailedPreconditionError("the table is there to be removed");
}

absl::StatusOr<std::vector<Element>> FoundFirewall::Dump() {
  absl::StatusOr<std::vector<NftTable>> tables = ReadNftTables();
  if (!tables.ok()) return tables.status();
  const NftTable own{.family = NFPROTO_INET, .name = std::string(kTableName)};
  if (!std::binary_search(tables->begin(), tables->end(), own)) {
    return absl::NotFoundError(absl::StrCat("there is no table ", own.Format()));
  }
  absl::StatusOr<std::vector<Element>> all = whole_->Dump();
  if (!absl::IsNotFound(all.status())) return all;
  std::vector<Element> elements;
  for (int set = 0; set < kSetNames; ++set) {
    const auto name = static_cast<SetName>(set);
    for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
      const size_t before = elements.size();
      absl::Status status = RetryInterrupted([&] {
        elements.resize(before);
        return socket_.Dump(EncodeElementDump(name, family, socket_.TakeSequences(1)),
                            absl::StrCat("dump of the set ", FormatSetName(name)),
                            [&](const Message& message) {
                              return DecodeElements(message, name, family, elements);
                            });
      });
      if (!status.ok() && !absl::IsNotFound(status)) return status;
    }
  }
  std::sort(elements.begin(), elements.end());
  return elements;
}

absl::Status FoundFirewall::Apply(absl::Span<const ElementChange> changes) {
  return whole_->Apply(changes);
}

}  // namespace fairlead
