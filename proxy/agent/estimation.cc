#include "proxy/agent/estimation.h"

#include <fstream>
#include <string>

namespace fairlead {

bool IsEstimationOff() {
  // Kernels without this setting always estimate.
  std::ifstream file("/proc/sys/net/ipv4/vs/run_estimation");
  std::string value;
  return std::getline(file, value) && value == "0";
}

}  // namespace fairlead
