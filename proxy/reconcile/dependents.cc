#include "proxy/reconcile/dependents.h"

#include <vector>

namespace fairlead {

using ipvs::VirtualServerKey;

namespace {

Element PortElement(SetName set, const VirtualServerKey& key) {
  return {.set = set, .address = key.address, .protocol = key.protocol, .port = key.port};
}

}  // namespace

Element ServedElement(const VirtualServerKey& key) { return PortElement(SetName::kServed, key); }

Element OpenElement(const VirtualServerKey& key) { return PortElement(SetName::kOpen, key); }

Element RejectElement(const VirtualServerKey& key) { return PortElement(SetName::kReject, key); }

Element LimitedElement(const VirtualServerKey& key) { return PortElement(SetName::kLimited, key); }

Element GuardElement(const IpAddress& vip) { return {.set = SetName::kGuarded, .address = vip}; }

bool IsWay(SetName set) { return set == SetName::kServed || set == SetName::kOpen; }

Element OtherWay(const Element& way) {
  Element other = way;
  other.set = way.set == SetName::kServed ? SetName::kOpen : SetName::kServed;
  return other;
}

VirtualServerKey ServerOf(const Element& element) {
  return VirtualServerKey::ForAddress(element.protocol, element.address, element.port);
}

VirtualServerKey MarkServerOf(const Element& element) {
  return VirtualServerKey::ForMark(element.family(), element.mark);
}

void AddDependents(const DesiredState& desired, Touched& work) {
  // One way to a port takes the place of the other.
  std::vector<Element> other_ways;
  for (const Element& element : work.elements) {
    if (IsWay(element.set)) other_ways.push_back(OtherWay(element));
  }
  work.elements.insert(other_ways.begin(), other_ways.end());
  for (const VirtualServerKey& key : work.virtual_servers) {
    work.elements.insert(OwnedElement(key));
    if (!key.is_mark()) work.elements.insert({ServedElement(key), OpenElement(key)});
    const PlannedVirtualServer* want = desired.FindVirtualServer(key);
    if (want == nullptr) continue;
    for (const Element& element : ElementsOf(*want)) work.elements.insert(element);
    if (want->vip) work.vips.insert(key.address);
  }
  for (const IpAddress& vip : work.vips) work.elements.insert(GuardElement(vip));
}

}  // namespace fairlead
