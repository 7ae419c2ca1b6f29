// What is read of a node with which all is well.
#pragma once

#include "proxy/doctor/facts.h"

namespace fairlead {

Facts HealthyNode();

}  // namespace fairlead
