// Whose a virtual server of the kernel is: what the agent's loop tells those that read counters.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "proxy/plan/plan.h"

namespace fairlead {

// Hands changes from the loop to a reader. What has changed several times in between is handed over
// once, so that it holds no more than there are virtual servers, though nobody reads. Neither side
// waits for the other but for a swap: putting costs what has changed, not what there is.
// Thread-safe.
class ServiceNames {
 public:
  // With the whole plan that it is of; null: nobody wants the virtual server any more.
  using Server = std::shared_ptr<const PlannedVirtualServer>;
  using Changes = absl::flat_hash_map<ipvs::VirtualServerKey, Server>;

  void Put(std::vector<std::pair<ipvs::VirtualServerKey, Server>> changes);

  // What was put since the last call.
  Changes Take();

 private:
  std::mutex mutex_;
  Changes changes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fairlead
