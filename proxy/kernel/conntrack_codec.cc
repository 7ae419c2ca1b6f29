#include "proxy/kernel/conntrack_codec.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

// CTA_FILTER_F_CTA_PROTO_NUM: part of the ABI, but of no header that is exported
// (net/netfilter/nf_internals.h).
constexpr uint32_t kFilterByProtocol = 1 << 3;

constexpr uint16_t TypeOf(cntl_msg_types message) {
  return NFNL_SUBSYS_CTNETLINK << 8 | static_cast<uint16_t>(message);
}

nfgenmsg HeaderFor(IpFamily family) {
  nfgenmsg header{};
  header.nfgen_family = family == IpFamily::kIpv4 ? AF_INET : AF_INET6;
  header.version = NFNETLINK_V0;
  return header;
}

absl::Status Malformed(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("ctnetlink: ", what));
}

// One direction of a flow.
struct Tuple {
  std::optional<IpAddress> source, destination;
  std::optional<uint8_t> protocol;
  // ICMP has none.
  std::optional<uint16_t> source_port, destination_port;
};

absl::Status DecodeAddress(absl::string_view bytes, IpFamily family,
                           std::optional<IpAddress>& address) {
  absl::StatusOr<IpAddress> decoded = IpAddress::FromBytes(bytes);
  if (!decoded.ok() || decoded->family() != family) {
    return Malformed(
        absl::StrCat("an ", FormatFamily(family), " address of ", bytes.size(), " bytes"));
  }
  address = *decoded;
  return absl::OkStatus();
}

absl::Status DecodePort(absl::string_view bytes, std::optional<uint16_t>& port) {
  if (bytes.size() != sizeof(uint16_t)) return Malformed("a port that has not two bytes");
  port =
      static_cast<uint16_t>(static_cast<uint8_t>(bytes[0]) << 8 | static_cast<uint8_t>(bytes[1]));
  return absl::OkStatus();
}

absl::Status DecodeAddresses(absl::string_view bytes, IpFamily family, Tuple& tuple) {
  const bool v4 = family == IpFamily::kIpv4;
  return ForEachAttribute(bytes, [&](uint16_t type, absl::string_view payload) {
    if (type == (v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC)) {
      return DecodeAddress(payload, family, tuple.source);
    }
    if (type == (v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST)) {
      return DecodeAddress(payload, family, tuple.destination);
    }
    return absl::OkStatus();
  });
}

absl::Status DecodeProtocol(absl::string_view bytes, Tuple& tuple) {
  return ForEachAttribute(bytes, [&](uint16_t type, absl::string_view payload) {
    if (type == CTA_PROTO_SRC_PORT) return DecodePort(payload, tuple.source_port);
    if (type == CTA_PROTO_DST_PORT) return DecodePort(payload, tuple.destination_port);
    if (type != CTA_PROTO_NUM) return absl::OkStatus();
    if (payload.size() != sizeof(uint8_t)) return Malformed("a protocol that is not one byte");
    tuple.protocol = static_cast<uint8_t>(payload[0]);
    return absl::OkStatus();
  });
}

absl::StatusOr<Tuple> DecodeTuple(absl::string_view bytes, IpFamily family) {
  Tuple tuple;
  absl::Status status = ForEachAttribute(bytes, [&](uint16_t type, absl::string_view payload) {
    if (type == CTA_TUPLE_IP) return DecodeAddresses(payload, family, tuple);
    if (type == CTA_TUPLE_PROTO) return DecodeProtocol(payload, tuple);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (!tuple.source.has_value() || !tuple.destination.has_value() || !tuple.protocol.has_value()) {
    return Malformed("a flow without its addresses and protocol");
  }
  return tuple;
}

std::optional<ipvs::Protocol> BalancedProtocol(uint8_t number) {
  const ipvs::Protocol protocol = static_cast<ipvs::Protocol>(number);
  switch (protocol) {
    case ipvs::Protocol::kTcp:
    case ipvs::Protocol::kUdp:
    case ipvs::Protocol::kSctp:
      return protocol;
  }
  return std::nullopt;
}

// Unset: not one that IPVS balances.
absl::StatusOr<std::optional<Flow>> MakeFlow(const Tuple& original, const Tuple& reply) {
  const std::optional<ipvs::Protocol> protocol = BalancedProtocol(*original.protocol);
  if (!protocol.has_value()) return std::nullopt;
  if (!original.source_port.has_value() || !original.destination_port.has_value() ||
      !reply.source_port.has_value()) {
    return Malformed("a flow without its ports");
  }
  return Flow{*protocol,
              {*original.source, *original.source_port},
              {*original.destination, *original.destination_port},
              *reply.source,
              *reply.source_port};
}

}  // namespace

std::string EncodeFlowDump(IpFamily family, std::optional<ipvs::Protocol> protocol,
                           uint32_t sequence) {
  std::string out;
  MessageWriter writer(out, TypeOf(IPCTNL_MSG_CT_GET), NLM_F_REQUEST | NLM_F_DUMP, sequence,
                       AsBytes(HeaderFor(family)));
  // Not by address: of IPv6 the kernel lets those pass that differ, up to 6.18 at least
  // (ctnetlink_filter_match_tuple).
  if (protocol.has_value()) {
    const size_t tuple = writer.BeginNest(CTA_TUPLE_ORIG);
    const size_t inner = writer.BeginNest(CTA_TUPLE_PROTO);
    writer.Put(CTA_PROTO_NUM, AsBytes(*protocol));
    writer.EndNest(inner);
    writer.EndNest(tuple);
    const size_t filter = writer.BeginNest(CTA_FILTER);
    writer.PutU32(CTA_FILTER_ORIG_FLAGS, kFilterByProtocol);
    writer.EndNest(filter);
  }
  writer.Finish();
  return out;
}

absl::StatusOr<std::optional<FlowEntry>> DecodeFlow(const Message& message) {
  nfgenmsg header;
  absl::string_view rest = message.payload;
  if (message.type != TypeOf(IPCTNL_MSG_CT_NEW) || !ConsumeHeader(rest, &header, sizeof(header))) {
    return Malformed("not a flow");
  }
  if (header.nfgen_family != AF_INET && header.nfgen_family != AF_INET6) return std::nullopt;
  const IpFamily family = header.nfgen_family == AF_INET ? IpFamily::kIpv4 : IpFamily::kIpv6;

  FlowEntry entry;
  absl::string_view answer;
  absl::Status status = ForEachAttribute(rest, [&](uint16_t type, absl::string_view payload) {
    if (type == CTA_TUPLE_ORIG) entry.original = payload;
    if (type == CTA_TUPLE_REPLY) answer = payload;
    if (type == CTA_ZONE) entry.zone = payload;
    if (type == CTA_ID) entry.id = payload;
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (entry.id.size() != sizeof(uint32_t)) return Malformed("a flow without its id");
  if (!entry.zone.empty() && entry.zone.size() != sizeof(uint16_t)) {
    return Malformed("a zone that has not two bytes");
  }
  absl::StatusOr<Tuple> original = DecodeTuple(entry.original, family);
  if (!original.ok()) return original.status();
  absl::StatusOr<Tuple> reply = DecodeTuple(answer, family);
  if (!reply.ok()) return reply.status();
  absl::StatusOr<std::optional<Flow>> flow = MakeFlow(*original, *reply);
  if (!flow.ok()) return flow.status();
  if (!flow->has_value()) return std::nullopt;
  entry.flow = **flow;
  return entry;
}

void EncodeFlowDelete(const FlowEntry& entry, uint32_t sequence, std::string& out) {
  const IpFamily family = entry.flow.destination.address.family();
  MessageWriter writer(out, TypeOf(IPCTNL_MSG_CT_DELETE), NLM_F_REQUEST | NLM_F_ACK, sequence,
                       AsBytes(HeaderFor(family)));
  // Without a tuple the request would flush the whole table (ctnetlink_del_conntrack); DecodeFlow
  // returns no entry that has none.
  writer.Put(NLA_F_NESTED | CTA_TUPLE_ORIG, entry.original);
  if (!entry.zone.empty()) writer.Put(CTA_ZONE, entry.zone);
  writer.Put(CTA_ID, entry.id);
  writer.Finish();
}

}  // namespace fairlead
