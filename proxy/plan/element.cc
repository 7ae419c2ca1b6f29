#include "proxy/plan/element.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fairlead {
namespace {

// Whether nothing depends on who sends a packet to it, and no packet is refused or dropped.
bool IsPlain(const PlannedVirtualServer& server) {
  return !server.key.is_mark() && server.sources.empty() && server.mark == 0 &&
         server.verdict == Verdict::kBalance;
}

}  // namespace

SetKey KeyOf(SetName set) {
  switch (set) {
    case SetName::kGuarded:
      return SetKey::kAddress;
    case SetName::kHairpin:
      return SetKey::kAddressTwice;
    case SetName::kAllowed:
      return SetKey::kPortAndSources;
    case SetName::kOwnedMark:
      return SetKey::kMark;
    default:
      return SetKey::kPort;
  }
}

absl::string_view FormatSetName(SetName set) {
  switch (set) {
    case SetName::kOwned:
      return "owned";
    case SetName::kOwnedMark:
      return "owned_mark";
    case SetName::kServed:
      return "served";
    case SetName::kOpen:
      return "open";
    case SetName::kGuarded:
      return "guarded";
    case SetName::kMasqueradeAlways:
      return "masquerade_always";
    case SetName::kMasqueradeOutsiders:
      return "masquerade_outsiders";
    case SetName::kHairpin:
      return "hairpin";
    case SetName::kLimited:
      return "limited";
    case SetName::kAllowed:
      return "allowed";
    case SetName::kMark:
      return "mark";
    case SetName::kDrop:
      return "drop";
    case SetName::kReject:
      return "reject";
  }
  return "unknown set";
}

std::string Element::FormatKernelSet() const {
  return absl::StrCat(FormatSetName(set), address.is_v4() ? "4" : "6");
}

std::string Element::FormatValue() const {
  const auto port_text = [this] {
    return absl::StrCat(address.Format(), " . ",
                        absl::AsciiStrToLower(ipvs::FormatProtocol(protocol)), " . ", port);
  };
  switch (KeyOf(set)) {
    case SetKey::kAddress:
      return address.Format();
    case SetKey::kAddressTwice:
      return absl::StrCat(address.Format(), " . ", address.Format());
    case SetKey::kPortAndSources:
      return absl::StrCat(port_text(), " . ", sources.Format());
    case SetKey::kMark:
      return absl::StrFormat("0x%08x", mark);
    case SetKey::kPort:
      break;
  }
  return set == SetName::kMark ? absl::StrFormat("%s : 0x%08x", port_text(), mark) : port_text();
}

std::string Element::Format() const { return absl::StrCat(FormatKernelSet(), " ", FormatValue()); }

std::vector<Element> ElementsOf(const PlannedVirtualServer& server) {
  const ipvs::VirtualServerKey& key = server.key;
  std::vector<Element> elements = {OwnedElement(key)};
  const auto add_port = [&](SetName set) -> Element& {
    return elements.emplace_back(
        Element{.set = set, .address = key.address, .protocol = key.protocol, .port = key.port});
  };
  if (server.vip) elements.push_back({.set = SetName::kGuarded, .address = key.address});
  if (IsPlain(server)) {
    add_port(SetName::kServed);
  } else if (server.vip) {
    // Also when it drops: the ruleset looks at the set of drops before it refuses what is closed.
    add_port(SetName::kOpen);
  }
  if (!server.sources.empty()) {
    add_port(SetName::kLimited);
    for (const IpPrefix& sources : server.sources) add_port(SetName::kAllowed).sources = sources;
  }
  if (server.mark != 0) add_port(SetName::kMark).mark = server.mark;
  if (server.masquerade == Masquerade::kAlways) add_port(SetName::kMasqueradeAlways);
  if (server.masquerade == Masquerade::kOutsiders) add_port(SetName::kMasqueradeOutsiders);
  // One for a mark has no port: what it refuses or drops, its addresses do.
  if (!key.is_mark() && server.verdict == Verdict::kDrop) add_port(SetName::kDrop);
  if (!key.is_mark() && server.verdict == Verdict::kReject) add_port(SetName::kReject);
  for (const PlannedRealServer& real_server : server.real_servers) {
    // Only a local endpoint can reach itself through this node.
    if (!real_server.local) continue;
    elements.push_back({.set = SetName::kHairpin, .address = real_server.key.address});
  }
  std::sort(elements.begin(), elements.end());
  // An endpoint with several ports is several real servers and one element.
  elements.erase(std::unique(elements.begin(), elements.end()), elements.end());
  return elements;
}

Element OwnedElement(const ipvs::VirtualServerKey& key) {
  if (key.is_mark()) {
    const IpAddress any = key.family == IpFamily::kIpv4 ? IpAddress::V4(0) : IpAddress::V6({});
    return {.set = SetName::kOwnedMark, .address = any, .mark = key.firewall_mark};
  }
  return {
      .set = SetName::kOwned, .address = key.address, .protocol = key.protocol, .port = key.port};
}

}  // namespace fairlead
