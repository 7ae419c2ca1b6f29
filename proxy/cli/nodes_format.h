// The agents of a watcher as text, and as a document.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "fairlead/v1/watch.pb.h"
#include "proxy/cli/output.h"

namespace fairlead {

// A line about the watcher, then a table with a line for each node:
//   NODE STATE ACKED BEHIND TOOK FAILING SINCE PEER, with `wide` also SENT AGENT
// then a line for each thing that fails. STATE is "current", "behind", "new" (it has acknowledged
// nothing yet) or "gone"; BEHIND is for how long; TOOK is how long the last revision took to be
// programmed; SINCE is how long it has been connected, or gone.
std::string FormatNodesText(const v1::WatchStatusResponse& watcher,
                            const std::vector<v1::FeedNode>& nodes, absl::Time now, bool wide,
                            bool color);

// {"version", "epoch", "headRevision", "complete", "objects", "resources": [{"resource", "listed",
//   "watching", "errors", "invalidObjects", "lastError"}], "nodes": [{"node", "state", "agent",
//   "peer", "ackedRevision", "sentRevision", "behindSeconds", "programmingSeconds", "connected",
//   "left" (null while it is connected), "failureCount", "failures": [{"object", "message"}]}]}.
std::string FormatNodesDocument(const v1::WatchStatusResponse& watcher,
                                const std::vector<v1::FeedNode>& nodes, Output output);

}  // namespace fairlead
