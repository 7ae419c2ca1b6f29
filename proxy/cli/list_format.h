// The table of a running agent as text and as a document.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "fairlead/v1/inspect.pb.h"
#include "proxy/cli/output.h"

namespace fairlead {

// Laid out as `ipvsadm -L -n` prints a table, line by line and column by column. What is added
// stands behind ipvsadm's last column: beside a virtual server its Service ("shop/cart:http"),
// beside a real server its Pod, or its node where the Pod's name is not known, and "draining" where
// it is no longer wanted.
std::string FormatListText(const v1::StatusResponse& status,
                           const std::vector<v1::VirtualServer>& servers);

// A line for each endpoint, and one for each virtual server without, in columns:
//   NAMESPACE SERVICE PORT KIND ADDRESS PROTO SCHEDULER PERSISTENCE POLICY VERDICT
//   ENDPOINT POD NODE WEIGHT ACTIVE INACTIVE STATE
// PERSISTENCE is in seconds.
std::string FormatListWide(const std::vector<v1::VirtualServer>& servers, bool color);

// As `ipvsadm --save -n` prints these virtual servers, to the byte.
std::string FormatListIpvsadm(const std::vector<v1::VirtualServer>& servers);

// {"node", "complete", "revision", "feed": {"connected", "feeder", "revision", "headRevision",
//   "currentAsOf" (null before the first picture), "savedPicture"}, "virtualServers": [{"protocol",
//   "address", "port", "firewallMark" (0: none; otherwise address and port are null, and so is the
//   protocol where no Service wants the mark any more), "family" ("IPv4" or "IPv6"), "scheduler",
//   "persistenceTimeoutSeconds", "service", "portName", "kind", "policy", "verdict",
//   "realServers": [{"address", "port", "forwarding", "weight", "activeConnections",
//   "inactiveConnections", "pod", "node", "state"}]}], "failures": [{"object", "message"}],
//   "warnings": […]}, as JSON or YAML.
std::string FormatListDocument(const v1::StatusResponse& status,
                               const std::vector<v1::VirtualServer>& servers, Output output);

// What there is to say where no feeder answers, or its newest picture has not come; empty
// otherwise.
std::string DescribeStaleFeed(const v1::FeedState& feed, absl::Time now);

// One virtual server for a reader: how it balances, then a line for each real server with its
// weight and connections.
std::vector<std::string> KernelViewLines(const v1::VirtualServer& server);

}  // namespace fairlead
