// A kernel for an agent that is to change nothing: what it writes goes into memory.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "ipvs/table.h"
#include "proxy/health/http.h"
#include "proxy/inspect/difference.h"
#include "proxy/kernel/conntrack.h"
#include "proxy/kernel/firewall.h"
#include "proxy/kernel/routes.h"

namespace fairlead {

// The tables that a Reconciler needs, in which every write succeeds. It begins empty, as a node on
// which nothing was ever written, but for firewall marks: those that the kernel has, Fairlead's own
// and others', decide which ones are planned. Of the kernel nothing is held but a function that
// reads it, so no write can get there.
//
// Confined to one thread.
class ShadowKernel {
 public:
  // `read` is called when the ruleset is first asked for, as Reconciler::Adopt does, until it has
  // succeeded.
  explicit ShadowKernel(std::function<absl::StatusOr<KernelState>()> read);
  ~ShadowKernel();
  ShadowKernel(const ShadowKernel&) = delete;
  ShadowKernel& operator=(const ShadowKernel&) = delete;

  ipvs::Table& table();
  Firewall& firewall();
  Routes& routes();
  Conntrack& conntrack();

 private:
  class Table;
  class Sets;
  class VipRoutes;
  class Flows;

  const std::unique_ptr<Table> table_;
  const std::unique_ptr<Sets> firewall_;
  const std::unique_ptr<VipRoutes> routes_;
  const std::unique_ptr<Flows> conntrack_;
};

// Listens nowhere: another proxy has the health-check ports of Services.
class NoListeners : public HttpListeners {
 public:
  absl::StatusOr<uint16_t> Listen(const IpAddress& /*address*/, uint16_t port,
                                  HttpHandler /*handler*/) override {
    return port;
  }
  void Close(const IpAddress& /*address*/, uint16_t /*port*/) override {}
};

}  // namespace fairlead
