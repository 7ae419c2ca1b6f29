#include "firewall_testing.h"

#include <catch2/catch.hpp>
#include <utility>

namespace fairlead::testing {

IpAddress Ip(const std::string& text) { return IpAddress::Parse(text).value(); }

Element Port(SetName set, const std::string& address, uint16_t port, ipvs::Protocol protocol) {
  return {set, Ip(address), protocol, port};
}

Element Allowed(const std::string& sources, const std::string& address, uint16_t port,
                ipvs::Protocol protocol) {
  return {SetName::kAllowed, Ip(address), protocol, port, 0, IpPrefix::Parse(sources).value()};
}

Element Mark(uint32_t mark, const std::string& address, uint16_t port, ipvs::Protocol protocol) {
  return {SetName::kMark, Ip(address), protocol, port, mark};
}

Element OwnedMark(uint32_t mark, const std::string& any) {
  return {SetName::kOwnedMark, Ip(any), ipvs::Protocol::kTcp, 0, mark};
}

std::vector<ElementChange> Changes(ElementChange::Verb verb, const std::vector<Element>& elements) {
  std::vector<ElementChange> changes;
  for (const Element& element : elements) changes.push_back({verb, element});
  return changes;
}

std::vector<Element> OneOfEach() {
  std::vector<Element> elements;
  for (int i = 0; i < kSetNames; ++i) {
    const SetName set = static_cast<SetName>(i);
    for (const char* address : {"10.96.0.1", "fd00:96::1"}) {
      const bool v4 = Ip(address).is_v4();
      Element element = Port(set, address, 443, ipvs::Protocol::kSctp);
      if (set == SetName::kGuarded || set == SetName::kHairpin) element = {set, Ip(address)};
      if (set == SetName::kMark) element.mark = 0x46000001;
      if (set == SetName::kAllowed) {
        element.sources = IpPrefix::Parse(v4 ? "198.51.100.0/25" : "2001:db8::/33").value();
      }
      if (set == SetName::kOwnedMark) element = OwnedMark(0x46000001, v4 ? "0.0.0.0" : "::");
      elements.push_back(element);
    }
  }
  return elements;
}

std::unique_ptr<NftFirewall> OpenFirewall() {
  auto firewall = NftFirewall::Open();
  REQUIRE(firewall.ok());
  return *std::move(firewall);
}

}  // namespace fairlead::testing
