// A Reconciler with a kernel in memory, a desired state and a clock.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "memory_kernel.h"
#include "proxy/reconcile/reconciler.h"
#include "tap.h"

namespace fairlead::testing {

class TestNode {
 public:
  // Has adopted an empty kernel.
  explicit TestNode(ReconcilerOptions options = {});

  // Another Reconciler in the place of this one, as after a restart of the agent; adopts.
  absl::Status Restart();

  // Changes the desired state without doing anything about it.
  Touched Want(const std::shared_ptr<const ServicePlan>& plan) { return desired.Update(plan); }
  // Changes the desired state and reconciles what that touches.
  void Put(const std::shared_ptr<const ServicePlan>& plan) { Reconcile(Want(plan)); }
  void Remove(const std::string& service) { Put(MakePlan(service, {})); }
  void Reconcile(const Touched& touched = {});
  // Lets time pass, then reconciles what is due.
  void Advance(absl::Duration duration);
  // Lets time pass until nothing waits any more; false if that does not come to pass.
  bool Settle();

  Reconciler& reconciler() { return *reconciler_; }
  // How long until something has to be done.
  absl::Duration Wait() const { return reconciler_->NextWake() - now; }
  // The kernel as it is, and as it should be.
  Lines Actual() { return Describe(kernel); }
  Lines Wanted() const { return Describe(desired, sources); }
  // All that is wanted, as an agent touches it when it starts.
  Touched Everything() const;
  // "WHAT: WHY" each.
  Lines Failures() const;

  MemoryKernel kernel;
  Tap tap;
  DesiredState desired;
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  std::string ruleset;        // Given to the Reconciler when it starts.
  ReconcilerOptions options;  // Given to it too.
  std::vector<IpAddress> sources = {Address("192.168.1.1"), Address("fd00:1::1")};

 private:
  TappedTable table_{kernel.table, tap};
  TappedFirewall firewall_{kernel.firewall, tap};
  TappedRoutes routes_{kernel.routes, tap};
  TappedConntrack conntrack_{kernel.conntrack, tap};
  std::unique_ptr<Reconciler> reconciler_;
};

}  // namespace fairlead::testing
