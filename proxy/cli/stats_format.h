// What the kernel counts of virtual servers and their endpoints, as text and as a document.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fairlead/v1/inspect.pb.h"
#include "proxy/cli/output.h"

namespace fairlead {

// Totals since the kernel's entries were made, or rates per second.
enum class Counting { kTotals, kRates };

// Why the kernel has no rates to show; empty: it has.
std::string DescribeMissingRates(const v1::StatusResponse& status);

// As `ipvsadm -L -n --stats` and `--rate` print it, with `exact` as with `--exact`; names as in
// FormatListText.
std::string FormatStatsText(const v1::StatusResponse& status,
                            const std::vector<v1::VirtualServer>& servers, Counting counting,
                            bool exact);

// A line for each virtual server, whose ENDPOINT is "-" and whose numbers are of all endpoints that
// it has had, then one for each endpoint that it has, in columns:
//   NAMESPACE SERVICE PORT KIND ADDRESS PROTO ENDPOINT POD NODE
//   CONNECTIONS PACKETS-IN PACKETS-OUT BYTES-IN BYTES-OUT, for rates CONNECTIONS/S and so on
std::string FormatStatsWide(const std::vector<v1::VirtualServer>& servers, Counting counting,
                            bool exact, bool color);

// {"node", "virtualServers": [{"protocol", "address", "port", "firewallMark", "family", "service",
//   "portName", "kind", COUNTED, "realServers": [{"address", "port", "pod", "node", "state",
//   COUNTED}]}]}, where COUNTED is "statistics": {"connections", "packetsIn", "packetsOut",
// "bytesIn", "bytesOut"} or "rates": {"connectionsPerSecond", "packetsInPerSecond", …}, as JSON or
// YAML.
std::string FormatStatsDocument(const v1::StatusResponse& status,
                                const std::vector<v1::VirtualServer>& servers, Counting counting,
                                Output output);

// As ipvsadm shortens a number: with K, M, G or T from 10^8 on, and nine characters at most.
std::string FormatLargeNumber(uint64_t number);

}  // namespace fairlead
