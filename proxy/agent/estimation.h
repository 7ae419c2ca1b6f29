// Whether the kernel sums up what IPVS counts.
#pragma once

namespace fairlead {

// The sysctl net.ipv4.vs.run_estimation of the calling thread's network namespace: where it is off
// rates are 0, and on some kernels so are packets, bytes and connections.
bool IsEstimationOff();

}  // namespace fairlead
