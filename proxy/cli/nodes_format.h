// The agents of a watcher as text and JSON.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "fairlead/v1/watch.pb.h"

namespace fairlead {

// A line about the watcher, then a line for each node, in columns:
//   NODE STATE ACKED BEHIND TOOK FAILING SINCE PEER
// STATE is "current", "behind", "new" (it has acknowledged nothing yet) or "gone"; BEHIND is for
// how long; TOOK is how long the last revision took to be programmed; SINCE is how long it has been
// connected, or gone.
std::string FormatNodesText(const v1::WatchStatusResponse& watcher,
                            const std::vector<v1::FeedNode>& nodes, absl::Time now);

// {"version", "epoch", "headRevision", "complete", "objects", "resources": [{"resource", "listed",
//   "watching", "errors", "invalidObjects", "lastError"}], "nodes": [{"node", "state", "agent",
//   "peer", "ackedRevision", "sentRevision", "behindSeconds", "programmingSeconds", "connected",
//   "left" (null while it is connected), "failureCount", "failures": [{"object", "message"}]}]},
// indented by two spaces.
std::string FormatNodesJson(const v1::WatchStatusResponse& watcher,
                            const std::vector<v1::FeedNode>& nodes);

}  // namespace fairlead
