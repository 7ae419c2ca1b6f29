// Network namespaces for tests.
#pragma once

namespace fairlead::ipvs {

// Moves the calling thread into a new network namespace whose loopback device is up: before any
// address is set in it, the kernel takes every IPv4 real server for a broadcast address and refuses
// it. Throws where the process may not.
void EnterNewNetworkNamespace();

}  // namespace fairlead::ipvs
