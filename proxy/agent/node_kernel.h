// What an agent works on: the kernel of its node, or a shadow of it in which nothing is written.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proxy/cleanup/report.h"
#include "proxy/inspect/difference.h"
#include "proxy/kernel/ipvs_timeouts.h"
#include "proxy/kernel/sysctl.h"
#include "proxy/reconcile/reconciler.h"

namespace fairlead {

// Confined to one thread, but for Watch's callbacks.
class NodeKernel {
 public:
  // Called on a thread of the kernel's watcher.
  struct Signs {
    std::function<void()> addresses_changed;
    std::function<void()> firewall_changed;
    std::function<void()> routes_changed;
  };

  virtual ~NodeKernel() = default;

  virtual ipvs::Table& table() = 0;
  virtual Firewall& firewall() = 0;
  virtual Routes& routes() = 0;
  virtual Conntrack& conntrack() = 0;
  // See ReconcilerOptions.
  virtual std::function<absl::StatusOr<uint32_t>()> count_ipv4_servers() = 0;
  virtual std::function<absl::StatusOr<std::vector<ipvs::VirtualServerKey>>()> list_in_order() = 0;

  // Sets the kernel's settings as they have to be. One that cannot be set is logged once, and goes
  // on being tried by RepairSettings, which tells those that somebody has changed since.
  virtual void EnsureSettings() = 0;
  virtual void RepairSettings(DriftReport& drift) = 0;

  // Hears, until the watch is gone, of what others change.
  class Watch {
   public:
    virtual ~Watch() = default;
  };
  virtual absl::StatusOr<std::unique_ptr<Watch>> Listen(Signs signs) = 0;

  // Removes what is Fairlead's.
  virtual CleanupReport RemoveOwn() = 0;
  // Removes what kube-proxy has left. Fairlead serves on this node.
  virtual CleanupReport RemoveKubeProxy() = 0;
};

// For the network namespace of the calling thread. Errors are those of what cannot be opened.
// `settings` and `timeouts` are had beside what Fairlead needs.
absl::StatusOr<std::unique_ptr<NodeKernel>> OpenNodeKernel(std::vector<Sysctl> settings,
                                                           const IpvsTimeouts& timeouts);

// Nothing gets from it to the kernel; `read` tells what the kernel has.
std::unique_ptr<NodeKernel> MakeShadowNodeKernel(std::function<absl::StatusOr<KernelState>()> read);

}  // namespace fairlead
