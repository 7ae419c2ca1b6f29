// What hangs together in the kernel: a virtual server with its elements and routes.
#pragma once

#include "proxy/plan/desired_state.h"
#include "proxy/plan/element.h"

namespace fairlead {

Element ServedElement(const ipvs::VirtualServerKey& key);
Element OpenElement(const ipvs::VirtualServerKey& key);
Element RejectElement(const ipvs::VirtualServerKey& key);
Element LimitedElement(const ipvs::VirtualServerKey& key);
Element GuardElement(const IpAddress& vip);

// Whether what is in the set leads new connections to a port: kServed any, kOpen those to a VIP
// that nothing has stopped. A port needs no more than one of them.
bool IsWay(SetName set);

// The element of the other one, for the same port.
Element OtherWay(const Element& way);

// The virtual server of an element whose set has ports.
ipvs::VirtualServerKey ServerOf(const Element& element);

// The virtual server of the mark that an element has.
ipvs::VirtualServerKey MarkServerOf(const Element& element);

// What depends on a virtual server is looked at with it, so that a retry of one completes all.
void AddDependents(const DesiredState& desired, Touched& work);

}  // namespace fairlead
