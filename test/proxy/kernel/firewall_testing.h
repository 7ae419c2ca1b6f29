// Elements for tests of the kernel's firewall, and the firewall itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/kernel/nft_firewall.h"

namespace fairlead::testing {

// Each throws where the text is no address or prefix.
IpAddress Ip(const std::string& text);
Element Port(SetName set, const std::string& address, uint16_t port,
             ipvs::Protocol protocol = ipvs::Protocol::kTcp);
Element Allowed(const std::string& sources, const std::string& address = "203.0.113.1",
                uint16_t port = 443, ipvs::Protocol protocol = ipvs::Protocol::kTcp);
Element Mark(uint32_t mark, const std::string& address = "203.0.113.1", uint16_t port = 443,
             ipvs::Protocol protocol = ipvs::Protocol::kTcp);
// `any` is the unspecified address of the family.
Element OwnedMark(uint32_t mark, const std::string& any = "0.0.0.0");

// One of every set and family, sorted.
std::vector<Element> OneOfEach();

std::vector<ElementChange> Changes(ElementChange::Verb verb, const std::vector<Element>& elements);

// Of the calling thread's network namespace; fails the test if it cannot be had.
std::unique_ptr<NftFirewall> OpenFirewall();

}  // namespace fairlead::testing
