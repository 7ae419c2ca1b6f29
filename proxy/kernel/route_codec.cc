#include "proxy/kernel/route_codec.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

namespace fairlead {
namespace {

// The index of `lo`, in every namespace (include/net/flow.h, LOOPBACK_IFINDEX).
constexpr uint32_t kLoopbackIndex = 1;

uint8_t SystemFamily(IpFamily family) { return family == IpFamily::kIpv4 ? AF_INET : AF_INET6; }

rtmsg HeaderFor(const IpAddress& address) {
  rtmsg header{};
  header.rtm_family = SystemFamily(address.family());
  header.rtm_dst_len = static_cast<unsigned char>(address.bit_length());
  return header;
}

uint16_t FlagsOf(RouteVerb verb, IpFamily family) {
  switch (verb) {
    case RouteVerb::kAdd:
      return NLM_F_CREATE | NLM_F_EXCL;
    case RouteVerb::kPrepend:
      // IPv6 keeps metrics apart by itself, and without the flag would make one route of several
      // ways out of two that are alike.
      return NLM_F_CREATE | (family == IpFamily::kIpv4 ? 0 : NLM_F_EXCL);
    case RouteVerb::kReplace:
      return NLM_F_CREATE | NLM_F_REPLACE;
    case RouteVerb::kDelete:
      return 0;
  }
  return 0;
}

}  // namespace

bool RouteEntry::IsLocalTo(const IpAddress& address) const {
  return type == RTN_LOCAL && destination.address() == address &&
         destination.length() == address.bit_length();
}

bool RouteEntry::IsInTableLocal() const { return table == RT_TABLE_LOCAL; }

void EncodeRoute(RouteVerb verb, const VipRoute& route, uint32_t sequence, bool acknowledge,
                 std::string& out) {
  rtmsg header = HeaderFor(route.vip);
  header.rtm_table = RT_TABLE_LOCAL;
  header.rtm_protocol = kRouteProtocol;
  // IPv6 has no scopes.
  header.rtm_scope = route.vip.is_v4() ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_LOCAL;
  const uint16_t flags =
      NLM_F_REQUEST | FlagsOf(verb, route.vip.family()) | (acknowledge ? NLM_F_ACK : 0);
  MessageWriter writer(out, verb == RouteVerb::kDelete ? RTM_DELROUTE : RTM_NEWROUTE, flags,
                       sequence, AsBytes(header));
  writer.Put(RTA_DST, route.vip.bytes());
  // A metric is not set: IPv4 has 0 then, as the kernel's own routes of addresses have, so that two
  // for one address collide. IPv6 has 1024, and the kernel's own 0.
  if (verb != RouteVerb::kDelete && route.source.has_value()) {
    writer.Put(RTA_PREFSRC, route.source->bytes());
  }
  writer.PutU32(RTA_OIF, kLoopbackIndex);
  writer.Finish();
}

void EncodeRouteLookup(const IpAddress& address, uint32_t sequence, std::string& out) {
  rtmsg header = HeaderFor(address);
  // IPv6 always says the table, and refuses the flag.
  header.rtm_flags = RTM_F_FIB_MATCH | (address.is_v4() ? RTM_F_LOOKUP_TABLE : 0);
  MessageWriter writer(out, RTM_GETROUTE, NLM_F_REQUEST, sequence, AsBytes(header));
  writer.Put(RTA_DST, address.bytes());
  writer.Finish();
}

std::string EncodeRouteDump(IpFamily family, uint32_t sequence) {
  rtmsg header{};
  header.rtm_family = SystemFamily(family);
  header.rtm_table = RT_TABLE_LOCAL;
  header.rtm_protocol = kRouteProtocol;
  std::string out;
  MessageWriter(out, RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, sequence, AsBytes(header)).Finish();
  return out;
}

absl::StatusOr<std::optional<RouteEntry>> DecodeRoute(const Message& message) {
  rtmsg header;
  absl::string_view rest = message.payload;
  if (message.type != RTM_NEWROUTE || !ConsumeHeader(rest, &header, sizeof(header))) {
    return absl::DataLossError("rtnetlink: not a route");
  }
  if (header.rtm_family != AF_INET && header.rtm_family != AF_INET6) return std::nullopt;

  RouteEntry route;
  route.table = header.rtm_table;
  route.protocol = header.rtm_protocol;
  route.type = header.rtm_type;
  // A default route has no destination.
  IpAddress destination = header.rtm_family == AF_INET ? IpAddress() : IpAddress::V6({});
  absl::Status status = ForEachAttribute(rest, [&](uint16_t type, absl::string_view payload) {
    if (type == RTA_TABLE && payload.size() == sizeof(route.table)) {
      std::memcpy(&route.table, payload.data(), sizeof(route.table));
    }
    if (type == RTA_OIF && payload.size() == sizeof(route.device)) {
      std::memcpy(&route.device, payload.data(), sizeof(route.device));
    }
    if (type != RTA_DST && type != RTA_PREFSRC) return absl::OkStatus();
    absl::StatusOr<IpAddress> address = IpAddress::FromBytes(payload);
    if (!address.ok()) return absl::DataLossError(address.status().message());
    if (type == RTA_DST) destination = *address;
    if (type == RTA_PREFSRC) route.source = *address;
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  absl::StatusOr<IpPrefix> prefix = IpPrefix::Make(destination, header.rtm_dst_len);
  if (!prefix.ok()) return absl::DataLossError(prefix.status().message());
  route.destination = *prefix;
  return route;
}

void EncodeDeviceLookup(const IpAddress& address, uint32_t sequence, std::string& out) {
  MessageWriter writer(out, RTM_GETROUTE, NLM_F_REQUEST, sequence, AsBytes(HeaderFor(address)));
  writer.Put(RTA_DST, address.bytes());
  writer.Finish();
}

absl::StatusOr<uint32_t> DecodeDevice(const Message& message) {
  rtmsg header;
  absl::string_view attributes = message.payload;
  uint32_t device = 0;
  if (message.type == RTM_NEWROUTE && ConsumeHeader(attributes, &header, sizeof(header))) {
    absl::Status status = ForEachAttribute(attributes, [&](uint16_t type, absl::string_view bytes) {
      if (type == RTA_OIF && bytes.size() == sizeof(device)) {
        std::memcpy(&device, bytes.data(), sizeof(device));
      }
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
  }
  if (device == 0) return absl::DataLossError("rtnetlink: an answer without a device");
  return device;
}

}  // namespace fairlead
