// A table as text, in the format of `ipvsadm --save -n`, which `ipvsadm --restore` reads.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "ipvs/types.h"

namespace fairlead::ipvs {

// To the byte what `ipvsadm --save -n` of Debian 12 (ipvsadm 1.31) prints for these virtual
// servers, which may be in any order: addresses before firewall marks, then by family, protocol,
// address and port, each followed by its real servers. As with ipvsadm, thresholds of real servers
// are not part of it.
//
// ipvsadm compares addresses by the sign of a 32-bit difference, so that 192.168.0.1 comes before
// 10.0.0.1, and so it is here. Three addresses can be spread so far apart that this contradicts
// itself (10.0.0.1, 127.0.0.1, 192.168.0.1); then its order depends on the kernel's, and ours does
// not.
std::string FormatSave(absl::Span<const VirtualServer> virtual_servers);

// The names that ipvsadm has for the flags of the scheduler, with commas between: "mh-fallback".
std::string FormatSchedulerFlags(const VirtualServerConfig& config);

// How ipvsadm writes which clients share an affinity: "255.255.255.0" or "64"; empty where each is
// on its own, or there is no persistence.
std::string FormatPersistenceMask(IpFamily family, const VirtualServerConfig& config);

}  // namespace fairlead::ipvs
