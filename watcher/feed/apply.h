// Updates of the feed, applied to an agent's snapshot.
#pragma once

#include "watcher/feed/feed_update.h"
#include "watcher/snapshot.h"

namespace fairlead {

// Brings `snapshot` to `update.position`. Objects that do not change in value are not touched, so
// that a picture that is sent again makes nothing dirty. Costs of a snapshot are proportional to
// the picture, those of a delta to the changes.
void ApplyUpdate(const FeedUpdate& update, Snapshot& snapshot);

}  // namespace fairlead
