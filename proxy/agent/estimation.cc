#include "proxy/agent/estimation.h"

#include "proxy/kernel/sysctl.h"

namespace fairlead {

bool IsEstimationOff() {
  // Kernels without this setting always estimate.
  const auto value = ReadSysctl({.name = "net.ipv4.vs.run_estimation", .value = "1", .reason = ""});
  return value.ok() && *value == "0";
}

}  // namespace fairlead
