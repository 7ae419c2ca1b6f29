// Routes in memory, for tests.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "proxy/kernel/routes.h"

namespace fairlead {

// Behaves as the kernel's table local does, and fails where a test wants it to. Thread-compatible.
class MemoryRoutes : public Routes {
 public:
  absl::StatusOr<std::vector<VipRoute>> Dump() override;
  std::vector<absl::Status> Apply(absl::Span<const RouteChange> changes) override;

  // Somebody else's local route to the address comes or goes.
  void AddForeign(const IpAddress& address) { foreign_.insert(address); }
  void RemoveForeign(const IpAddress& address) { foreign_.erase(address); }
  // The addresses that can be a source; never called: all.
  void SetNodeAddresses(std::set<IpAddress> addresses) { node_addresses_ = std::move(addresses); }
  // As somebody's `ip route flush table local proto 119`.
  void Flush() { routes_.clear(); }

  // The next `calls` calls of Dump end with `error`.
  void FailNextDumps(int calls, const absl::Status& error);
  // The next `times` changes of a route to `vip` (unset: of any) end with `error`.
  void FailChanges(const std::optional<IpAddress>& vip, int times, const absl::Status& error);

  // Changes that made a difference: a route that is as wanted is not written again.
  int writes() const { return writes_; }
  const std::map<IpAddress, VipRoute>& routes() const { return routes_; }
  const std::set<IpAddress>& foreign() const { return foreign_; }

 private:
  absl::Status ApplyOne(const RouteChange& change);

  std::map<IpAddress, VipRoute> routes_;
  std::set<IpAddress> foreign_;
  std::optional<std::set<IpAddress>> node_addresses_;
  int writes_ = 0;
  int failing_dumps_ = 0;
  absl::Status dump_error_;
  std::optional<IpAddress> failing_vip_;
  int failing_changes_ = 0;
  absl::Status change_error_;
};

}  // namespace fairlead
