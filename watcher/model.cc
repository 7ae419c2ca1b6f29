#include "watcher/model.h"

#include "absl/strings/str_cat.h"

namespace fairlead {

absl::string_view FormatKind(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kService:
      return "Service";
    case ObjectKind::kEndpointSlice:
      return "EndpointSlice";
    case ObjectKind::kNode:
      return "Node";
  }
  return "unknown kind";
}

std::string ObjectId::Format() const {
  if (kind == ObjectKind::kNode) return absl::StrCat("Node ", name.name.view());
  return absl::StrCat(FormatKind(kind), " ", name.Format());
}

ObjectId IdOf(const Object& object) {
  struct Visitor {
    ObjectId operator()(const std::shared_ptr<const Service>& service) const {
      return {ObjectKind::kService, service->name};
    }
    ObjectId operator()(const std::shared_ptr<const EndpointSlice>& slice) const {
      return {ObjectKind::kEndpointSlice, slice->name};
    }
    ObjectId operator()(const std::shared_ptr<const Node>& node) const {
      return {ObjectKind::kNode, {"", node->name}};
    }
  };
  return std::visit(Visitor(), object);
}

bool SameValue(const Object& a, const Object& b) {
  if (a.index() != b.index()) return false;
  return std::visit(
      [&b](const auto& first) {
        const auto& second = std::get<std::decay_t<decltype(first)>>(b);
        return first == second || *first == *second;
      },
      a);
}

}  // namespace fairlead
