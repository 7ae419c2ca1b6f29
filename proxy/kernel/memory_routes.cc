#include "proxy/kernel/memory_routes.h"

#include "absl/strings/str_cat.h"

namespace fairlead {

void MemoryRoutes::FailNextDumps(int calls, const absl::Status& error) {
  failing_dumps_ = calls;
  dump_error_ = error;
}

void MemoryRoutes::FailChanges(const std::optional<IpAddress>& vip, int times,
                               const absl::Status& error) {
  failing_vip_ = vip;
  failing_changes_ = times;
  change_error_ = error;
}

absl::StatusOr<std::vector<VipRoute>> MemoryRoutes::Dump() {
  if (failing_dumps_ > 0) {
    --failing_dumps_;
    return dump_error_;
  }
  std::vector<VipRoute> routes;
  for (const auto& [vip, route] : routes_) routes.push_back(route);
  return routes;
}

std::vector<absl::Status> MemoryRoutes::Apply(absl::Span<const RouteChange> changes) {
  std::vector<absl::Status> results;
  for (const RouteChange& change : changes) results.push_back(ApplyOne(change));
  return results;
}

absl::Status MemoryRoutes::ApplyOne(const RouteChange& change) {
  const VipRoute& route = change.route;
  if (failing_changes_ > 0 && (!failing_vip_.has_value() || failing_vip_ == route.vip)) {
    --failing_changes_;
    return change_error_;
  }
  if (change.verb == RouteChange::Verb::kDelete) {
    writes_ += static_cast<int>(routes_.erase(route.vip));
    return absl::OkStatus();
  }
  const auto present = routes_.find(route.vip);
  if (present == routes_.end() && foreign_.contains(route.vip)) {
    return absl::AlreadyExistsError(absl::StrCat("route to ", route.vip.Format()));
  }
  if (present != routes_.end() && present->second == route) return absl::OkStatus();
  if (route.source.has_value() && node_addresses_.has_value() &&
      !node_addresses_->contains(*route.source)) {
    return absl::FailedPreconditionError(
        absl::StrCat("source ", route.source->Format(), " is not an address of this node"));
  }
  routes_[route.vip] = route;
  ++writes_;
  return absl::OkStatus();
}

}  // namespace fairlead
