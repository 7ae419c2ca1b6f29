// What lies between a Reconciler and its kernel: sees each write, and decides what becomes of it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ipvs/table.h"
#include "proxy/kernel/conntrack.h"
#include "proxy/kernel/firewall.h"
#include "proxy/kernel/routes.h"

namespace fairlead::testing {

// What becomes of a call: it happens or not, and with another status than OK that is its answer.
struct Fate {
  absl::Status status;
  bool happens = true;
};

// By default everything happens.
struct Tap {
  std::function<Fate()> on_read = [] { return Fate(); };
  std::function<Fate()> on_write = [] { return Fate(); };
  // After each write that happened: one operation, one transaction of the firewall, one route, one
  // deletion of flows.
  std::function<void(const std::string& what)> after_write = [](const std::string&) {};
  int writes = 0;
  // Calls of Firewall::Apply, whatever became of them, with the number of changes of each.
  std::vector<size_t> transactions;

  // Whether somebody called after the crash.
  bool crashed = false;

  // After `count` writes from now nothing happens any more, and nothing can be read.
  void CrashAfter(int count);
  // Everything happens again.
  void Recover();
};

class TappedTable : public ipvs::Table {
 public:
  TappedTable(ipvs::Table& table, Tap& tap) : table_(table), tap_(tap) {}

  absl::StatusOr<std::vector<ipvs::VirtualServer>> Dump() override;
  absl::StatusOr<ipvs::VirtualServer> Get(const ipvs::VirtualServerKey& key) override;
  std::vector<absl::Status> Apply(absl::Span<const ipvs::Operation> operations) override;

 private:
  ipvs::Table& table_;
  Tap& tap_;
};

class TappedFirewall : public Firewall {
 public:
  TappedFirewall(Firewall& firewall, Tap& tap) : firewall_(firewall), tap_(tap) {}

  absl::StatusOr<bool> EnsureRuleset(const std::string& ruleset) override;
  absl::StatusOr<std::vector<Element>> Dump() override;
  absl::Status Apply(absl::Span<const ElementChange> changes) override;

 private:
  Firewall& firewall_;
  Tap& tap_;
};

class TappedConntrack : public Conntrack {
 public:
  TappedConntrack(Conntrack& conntrack, Tap& tap) : conntrack_(conntrack), tap_(tap) {}

  absl::StatusOr<int> DeleteFlows(absl::Span<const FlowMatch> matches) override;

 private:
  Conntrack& conntrack_;
  Tap& tap_;
};

class TappedRoutes : public Routes {
 public:
  TappedRoutes(Routes& routes, Tap& tap) : routes_(routes), tap_(tap) {}

  absl::StatusOr<std::vector<VipRoute>> Dump() override;
  std::vector<absl::Status> Apply(absl::Span<const RouteChange> changes) override;

 private:
  Routes& routes_;
  Tap& tap_;
};

}  // namespace fairlead::testing
