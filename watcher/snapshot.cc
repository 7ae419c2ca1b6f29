#include "watcher/snapshot.h"

namespace fairlead {

void Snapshot::Upsert(const Object& object) {
  if (const auto* service = std::get_if<std::shared_ptr<const Service>>(&object)) {
    services_[(*service)->name] = *service;
    dirty_services_.insert((*service)->name);
  } else if (const auto* slice = std::get_if<std::shared_ptr<const EndpointSlice>>(&object)) {
    // A changed label moves the slice from one Service to another: both are touched.
    Remove(IdOf(object));
    slices_[(*slice)->name] = *slice;
    slices_by_service_[(*slice)->service()][(*slice)->name] = *slice;
    dirty_services_.insert((*slice)->service());
  } else {
    const auto& node = std::get<std::shared_ptr<const Node>>(object);
    nodes_[node->name] = node;
    dirty_nodes_.insert(node->name);
  }
}

void Snapshot::Remove(const ObjectId& id) {
  switch (id.kind) {
    case ObjectKind::kService:
      if (services_.erase(id.name) > 0) dirty_services_.insert(id.name);
      return;
    case ObjectKind::kEndpointSlice: {
      auto it = slices_.find(id.name);
      if (it == slices_.end()) return;
      const ObjectName service = it->second->service();
      auto of_service = slices_by_service_.find(service);
      of_service->second.erase(id.name);
      if (of_service->second.empty()) slices_by_service_.erase(of_service);
      slices_.erase(it);
      dirty_services_.insert(service);
      return;
    }
    case ObjectKind::kNode:
      if (const std::string name = id.name.name.str(); nodes_.erase(name) > 0) {
        dirty_nodes_.insert(name);
      }
      return;
  }
}

std::shared_ptr<const Service> Snapshot::FindService(const ObjectName& name) const {
  auto it = services_.find(name);
  return it == services_.end() ? nullptr : it->second;
}

std::shared_ptr<const Node> Snapshot::FindNode(const std::string& name) const {
  auto it = nodes_.find(name);
  return it == nodes_.end() ? nullptr : it->second;
}

const Snapshot::Slices& Snapshot::SlicesOf(const ObjectName& service) const {
  static const Slices kNone;
  auto it = slices_by_service_.find(service);
  return it == slices_by_service_.end() ? kNone : it->second;
}

std::set<ObjectId> Snapshot::Ids() const {
  std::set<ObjectId> ids;
  for (const auto& [name, service] : services_) ids.insert({ObjectKind::kService, name});
  for (const auto& [name, slice] : slices_) ids.insert({ObjectKind::kEndpointSlice, name});
  for (const auto& [name, node] : nodes_) ids.insert({ObjectKind::kNode, {"", name}});
  return ids;
}

std::set<ObjectName> Snapshot::TakeDirtyServices() { return std::exchange(dirty_services_, {}); }

std::set<std::string> Snapshot::TakeDirtyNodes() { return std::exchange(dirty_nodes_, {}); }

}  // namespace fairlead
