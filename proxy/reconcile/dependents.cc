#include "proxy/reconcile/dependents.h"

namespace fairlead {

using ipvs::VirtualServerKey;

namespace {

Element PortElement(SetName set, const VirtualServerKey& key) {
  return {.set = set, .address = key.address, .protocol = key.protocol, .port = key.port};
}

}  // namespace

Element OpenElement(const VirtualServerKey& key) { return PortElement(SetName::kOpen, key); }

Element RejectElement(const VirtualServerKey& key) { return PortElement(SetName::kReject, key); }

Element LimitedElement(const VirtualServerKey& key) { return PortElement(SetName::kLimited, key); }

Element GuardElement(const IpAddress& vip) { return {.set = SetName::kGuarded, .address = vip}; }

VirtualServerKey ServerOf(const Element& element) {
  return VirtualServerKey::ForAddress(element.protocol, element.address, element.port);
}

VirtualServerKey MarkServerOf(const Element& element) {
  return VirtualServerKey::ForMark(element.family(), element.mark);
}

void AddDependents(const DesiredState& desired, Touched& work) {
  for (const VirtualServerKey& key : work.virtual_servers) {
    work.elements.insert(OwnedElement(key));
    if (!key.is_mark()) work.elements.insert(OpenElement(key));
    const PlannedVirtualServer* want = desired.FindVirtualServer(key);
    if (want == nullptr) continue;
    for (const Element& element : ElementsOf(*want)) work.elements.insert(element);
    if (want->vip) work.vips.insert(key.address);
  }
  for (const IpAddress& vip : work.vips) work.elements.insert(GuardElement(vip));
}

}  // namespace fairlead
