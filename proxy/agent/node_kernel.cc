#include "proxy/agent/node_kernel.h"

#include <spdlog/spdlog.h>

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ipvs/kernel_table.h"
#include "ipvs/service_count.h"
#include "proxy/cleanup/kube_proxy.h"
#include "proxy/cleanup/nft_tables.h"
#include "proxy/cleanup/owned.h"
#include "proxy/cleanup/program.h"
#include "proxy/cleanup/vip_device.h"
#include "proxy/inspect/shadow_kernel.h"
#include "proxy/kernel/address_monitor.h"
#include "proxy/kernel/netlink_conntrack.h"
#include "proxy/kernel/netlink_routes.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/quiet_firewall.h"
#include "proxy/kernel/table_monitor.h"

namespace fairlead {
namespace {

// In which the programs of a take-over have to end: meanwhile the agent does nothing else.
constexpr absl::Duration kProgramsBudget = absl::Seconds(15);

// Each that cannot be set is told once.
class Settings {
 public:
  explicit Settings(std::vector<Sysctl> more)
      // Both families: which ones the Services have is not known at the start, and may change.
      : sysctls_(RequiredSysctls({IpFamily::kIpv4, IpFamily::kIpv6})) {
    sysctls_.insert(sysctls_.end(), more.begin(), more.end());
  }

  void Repair(DriftReport& drift) {
    for (const Sysctl& sysctl : sysctls_) {
      const auto found = RepairSysctl(sysctl);
      std::string& told = told_[sysctl.name];
      if (!found.ok()) {
        std::string problem(found.status().message());
        if (problem != told) spdlog::error("{} (needed: {})", problem, sysctl.reason);
        told = std::move(problem);
        continue;
      }
      told.clear();
      if (!found->has_value()) continue;
      drift.Add(DriftKind::kSysctl, [&] {
        return absl::StrCat(sysctl.name, " was ", **found, " in place of ", sysctl.value);
      });
    }
  }

 private:
  std::vector<Sysctl> sysctls_;
  std::map<std::string, std::string> told_;
};

class RealWatch : public NodeKernel::Watch {
 public:
  explicit RealWatch(QuietFirewall& firewall) : firewall_(firewall) {}
  ~RealWatch() override { firewall_.StopHushing(); }

  std::unique_ptr<AddressMonitor> addresses;
  std::unique_ptr<TableMonitor> tables;

 private:
  QuietFirewall& firewall_;
};

class AddressWatch : public NodeKernel::Watch {
 public:
  std::unique_ptr<AddressMonitor> addresses;
};

class RealNodeKernel : public NodeKernel {
 public:
  struct Sockets {
    std::unique_ptr<ipvs::KernelTable> table;
    std::unique_ptr<NftFirewall> firewall;
    std::unique_ptr<NetlinkRoutes> routes;
    std::unique_ptr<NetlinkConntrack> conntrack;
    ipvs::ServiceCount count;
    std::unique_ptr<NetlinkVipDevice> vip_device;
  };

  RealNodeKernel(Sockets sockets, std::vector<Sysctl> settings, const IpvsTimeouts& timeouts)
      : sockets_(std::move(sockets)),
        firewall_(*sockets_.firewall),
        settings_(std::move(settings)),
        timeouts_(timeouts) {}

  ipvs::Table& table() override { return *sockets_.table; }
  Firewall& firewall() override { return firewall_; }
  Routes& routes() override { return *sockets_.routes; }
  Conntrack& conntrack() override { return *sockets_.conntrack; }
  std::function<absl::StatusOr<uint32_t>()> count_ipv4_servers() override {
    return [this] { return sockets_.count.CountIpv4VirtualServers(); };
  }
  std::function<absl::StatusOr<std::vector<ipvs::VirtualServerKey>>()> list_in_order() override {
    return [this] { return sockets_.table->ListInOrder(); };
  }

  void EnsureSettings() override {
    // At the start what was there before is nobody's doing.
    DriftReport ignored;
    settings_.Repair(ignored);
    if (absl::Status set = SetIpvsTimeouts(timeouts_); !set.ok()) {
      spdlog::error("{}", std::string(set.message()));
    }
  }
  void RepairSettings(DriftReport& drift) override { settings_.Repair(drift); }

  absl::StatusOr<std::unique_ptr<Watch>> Listen(Signs signs) override {
    auto watch = std::make_unique<RealWatch>(firewall_);
    auto addresses = AddressMonitor::Start(std::move(signs.addresses_changed));
    if (!addresses.ok()) return addresses.status();
    watch->addresses = *std::move(addresses);
    auto tables = TableMonitor::Start({.firewall_ports = {sockets_.firewall->port_id()},
                                       .route_ports = {sockets_.routes->port_id()},
                                       .changed = [signs](const TableChange& change) {
                                         if (change.firewall) signs.firewall_changed();
                                         if (change.routes) signs.routes_changed();
                                       }});
    if (!tables.ok()) return tables.status();
    watch->tables = *std::move(tables);
    firewall_.Hush(*watch->tables, [signs](const absl::Status& hearing) {
      if (!hearing.ok()) {
        spdlog::error("changes of the firewall are not heard of any more, only found by audits: {}",
                      std::string(hearing.message()));
      }
      signs.firewall_changed();
    });
    return std::unique_ptr<Watch>(std::move(watch));
  }

  CleanupReport RemoveOwn() override {
    return RemoveOwned({.table = sockets_.table.get(),
                        .firewall = *sockets_.firewall,
                        .routes = *sockets_.routes,
                        .delete_firewall = DeleteFirewallTable},
                       {});
  }
  CleanupReport RemoveKubeProxy() override {
    auto kernel = KubeProxyKernel::Of(sockets_.table.get(), *sockets_.firewall, *sockets_.routes,
                                      *sockets_.vip_device);
    kernel.run = RunProgramsWithin(kProgramsBudget);
    return fairlead::RemoveKubeProxy(kernel, {.serving = true});
  }

 private:
  Sockets sockets_;
  QuietFirewall firewall_;
  Settings settings_;
  const IpvsTimeouts timeouts_;
};

class ShadowNodeKernel : public NodeKernel {
 public:
  explicit ShadowNodeKernel(std::function<absl::StatusOr<KernelState>()> read)
      : kernel_(std::move(read)) {}

  ipvs::Table& table() override { return kernel_.table(); }
  Firewall& firewall() override { return kernel_.firewall(); }
  Routes& routes() override { return kernel_.routes(); }
  Conntrack& conntrack() override { return kernel_.conntrack(); }
  // Nobody else is at it.
  std::function<absl::StatusOr<uint32_t>()> count_ipv4_servers() override { return nullptr; }
  std::function<absl::StatusOr<std::vector<ipvs::VirtualServerKey>>()> list_in_order() override {
    return nullptr;
  }
  void EnsureSettings() override {}
  void RepairSettings(DriftReport& /*drift*/) override {}

  absl::StatusOr<std::unique_ptr<Watch>> Listen(Signs signs) override {
    auto watch = std::make_unique<AddressWatch>();
    // What is planned depends on the node's addresses.
    auto addresses = AddressMonitor::Start(std::move(signs.addresses_changed));
    if (!addresses.ok()) return addresses.status();
    watch->addresses = *std::move(addresses);
    return std::unique_ptr<Watch>(std::move(watch));
  }

  CleanupReport RemoveOwn() override { return {}; }
  CleanupReport RemoveKubeProxy() override { return {}; }

 private:
  ShadowKernel kernel_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<NodeKernel>> OpenNodeKernel(std::vector<Sysctl> settings,
                                                           const IpvsTimeouts& timeouts) {
  auto table = ipvs::KernelTable::Open();
  if (!table.ok()) return table.status();
  auto firewall = NftFirewall::Open();
  if (!firewall.ok()) return firewall.status();
  auto routes = NetlinkRoutes::Open();
  if (!routes.ok()) return routes.status();
  auto conntrack = NetlinkConntrack::Open();
  if (!conntrack.ok()) return conntrack.status();
  auto count = ipvs::ServiceCount::Open();
  if (!count.ok()) return count.status();
  auto vip_device = NetlinkVipDevice::Open();
  if (!vip_device.ok()) return vip_device.status();
  return std::make_unique<RealNodeKernel>(
      RealNodeKernel::Sockets{*std::move(table), *std::move(firewall), *std::move(routes),
                              *std::move(conntrack), *std::move(count), *std::move(vip_device)},
      std::move(settings), timeouts);
}

std::unique_ptr<NodeKernel> MakeShadowNodeKernel(
    std::function<absl::StatusOr<KernelState>()> read) {
  return std::make_unique<ShadowNodeKernel>(std::move(read));
}

}  // namespace fairlead
