// The goldens in testdata/, and the table that they were captured from.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ipvs/table.h"

namespace fairlead::ipvs {

// A file of testdata/ without its lines that begin with '#'. Throws if it cannot be read.
std::vector<std::string> ReadGoldenLines(const std::string& name);
std::string ReadGolden(const std::string& name);

// Throws for what is not hexadecimal.
std::string DecodeHex(const std::string& hex);

// For tests, where an address is known to be one: CHECK-fails otherwise.
IpAddress Address(const std::string& text);
// "10.0.0.1:80" or "[fd00::1]:80".
VirtualServerKey Tcp(const std::string& address, uint16_t port);
VirtualServerKey Udp(const std::string& address, uint16_t port);
RealServerKey Real(const std::string& address, uint16_t port);
VirtualServerConfig Config(const std::string& scheduler, IpFamily family = IpFamily::kIpv4);

// The commands of requests.txt with what they ask for, in order.
std::vector<std::pair<std::string, Operation>> GoldenOperations();

}  // namespace fairlead::ipvs
