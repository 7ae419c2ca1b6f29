#include "ipvs/types.h"

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace fairlead::ipvs {

absl::string_view FormatProtocol(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return "TCP";
    case Protocol::kUdp:
      return "UDP";
    case Protocol::kSctp:
      return "SCTP";
  }
  return "unknown protocol";
}

absl::StatusOr<Protocol> ParseProtocol(absl::string_view text) {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    if (text == FormatProtocol(protocol)) return protocol;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("not TCP, UDP or SCTP: \"", absl::CHexEscape(text), "\""));
}

VirtualServerKey VirtualServerKey::ForAddress(Protocol protocol, const IpAddress& address,
                                              uint16_t port) {
  VirtualServerKey key;
  key.family = address.family();
  key.protocol = protocol;
  key.address = address;
  key.port = port;
  return key;
}

VirtualServerKey VirtualServerKey::ForMark(IpFamily family, uint32_t mark) {
  VirtualServerKey key;
  key.family = family;
  key.firewall_mark = mark;
  return key;
}

std::string VirtualServerKey::Format() const {
  if (is_mark()) return absl::StrCat("FWM ", firewall_mark, " ", FormatFamily(family));
  return absl::StrCat(FormatProtocol(protocol), " ", FormatAddressPort(address, port));
}

VirtualServerConfig VirtualServerConfig::ForFamily(IpFamily family, std::string scheduler) {
  VirtualServerConfig config;
  config.scheduler = std::move(scheduler);
  config.persistence_prefix_length = family == IpFamily::kIpv4 ? 32 : 128;
  return config;
}

absl::string_view FormatForwardingMethod(ForwardingMethod method) {
  switch (method) {
    case ForwardingMethod::kMasquerade:
      return "Masq";
    case ForwardingMethod::kLocal:
      return "Local";
    case ForwardingMethod::kTunnel:
      return "Tunnel";
    case ForwardingMethod::kRoute:
      return "Route";
  }
  return "Unknown";
}

}  // namespace fairlead::ipvs
