#include "proxy/plan/element.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace fairlead {

absl::string_view FormatSetName(SetName set) {
  switch (set) {
    case SetName::kOwned:
      return "owned";
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
    case SetName::kDrop:
      return "drop";
  }
  return "unknown set";
}

std::string Element::FormatKernelSet() const {
  return absl::StrCat(FormatSetName(set), address.is_v4() ? "4" : "6");
}

std::string Element::FormatValue() const {
  switch (set) {
    case SetName::kGuarded:
      return address.Format();
    case SetName::kHairpin:
      return absl::StrCat(address.Format(), " . ", address.Format());
    default:
      return absl::StrCat(address.Format(), " . ",
                          absl::AsciiStrToLower(ipvs::FormatProtocol(protocol)), " . ", port);
  }
}

std::string Element::Format() const { return absl::StrCat(FormatKernelSet(), " ", FormatValue()); }

std::vector<Element> ElementsOf(const PlannedVirtualServer& server) {
  const ipvs::VirtualServerKey& key = server.key;
  std::vector<Element> elements;
  const auto add_port = [&](SetName set) {
    elements.push_back({set, key.address, key.protocol, key.port});
  };
  add_port(SetName::kOwned);
  if (server.is_vip()) {
    elements.push_back({SetName::kGuarded, key.address});
    // Also when it drops: the ruleset looks at the set of drops before it refuses what is closed.
    add_port(SetName::kOpen);
  }
  if (server.masquerade == Masquerade::kAlways) add_port(SetName::kMasqueradeAlways);
  if (server.masquerade == Masquerade::kOutsiders) add_port(SetName::kMasqueradeOutsiders);
  if (server.verdict == Verdict::kDrop) add_port(SetName::kDrop);
  for (const PlannedRealServer& real_server : server.real_servers) {
    // Only a local endpoint can reach itself through this node.
    if (real_server.local) elements.push_back({SetName::kHairpin, real_server.key.address});
  }
  std::sort(elements.begin(), elements.end());
  // An endpoint with several ports is several real servers and one element.
  elements.erase(std::unique(elements.begin(), elements.end()), elements.end());
  return elements;
}

}  // namespace fairlead
