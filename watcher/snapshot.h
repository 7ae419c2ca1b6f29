// What an agent has received of the feed, indexed by Service.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "watcher/model.h"

namespace fairlead {

// The objects of a feed with what a planner asks of them: the slices of a Service, and which
// Services a change has touched. Cost of an update is proportional to the object. Confined to one
// thread.
class Snapshot {
 public:
  // Adds the object or puts it in the place of the one with its id.
  void Upsert(const Object& object);
  // No effect where there is no such object.
  void Remove(const ObjectId& id);

  // nullptr if there is none.
  std::shared_ptr<const Service> FindService(const ObjectName& name) const;
  std::shared_ptr<const Node> FindNode(const std::string& name) const;

  // By slice name, so that the order does not depend on arrival.
  using Slices = std::map<ObjectName, std::shared_ptr<const EndpointSlice>>;
  // Empty if there are none.
  const Slices& SlicesOf(const ObjectName& service) const;

  // Every Service, in no particular order.
  const absl::flat_hash_map<ObjectName, std::shared_ptr<const Service>>& services() const {
    return services_;
  }

  // Every object's id, for a comparison with a new picture.
  std::set<ObjectId> Ids() const;

  // The Services touched since the last call: their object, or a slice of theirs, came, changed or
  // went. A change of a Node is reported by TakeDirtyNodes.
  std::set<ObjectName> TakeDirtyServices();
  std::set<std::string> TakeDirtyNodes();

 private:
  absl::flat_hash_map<ObjectName, std::shared_ptr<const Service>> services_;
  absl::flat_hash_map<ObjectName, Slices> slices_by_service_;
  // Where each slice is filed, since its label may change.
  absl::flat_hash_map<ObjectName, std::shared_ptr<const EndpointSlice>> slices_;
  absl::flat_hash_map<std::string, std::shared_ptr<const Node>> nodes_;
  std::set<ObjectName> dirty_services_;
  std::set<std::string> dirty_nodes_;
};

}  // namespace fairlead
