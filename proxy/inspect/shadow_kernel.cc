#include "proxy/inspect/shadow_kernel.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace fairlead {

using ipvs::Operation;
using ipvs::RealServerConfig;
using ipvs::RealServerKey;
using ipvs::Verb;
using ipvs::VirtualServer;
using ipvs::VirtualServerConfig;
using ipvs::VirtualServerKey;

class ShadowKernel::Table : public ipvs::Table {
 public:
  absl::StatusOr<std::vector<VirtualServer>> Dump() override {
    std::vector<VirtualServer> servers;
    servers.reserve(servers_.size());
    for (const auto& [key, entry] : servers_) servers.push_back(Make(key, entry));
    return servers;
  }

  absl::StatusOr<VirtualServer> Get(const VirtualServerKey& key) override {
    const auto it = servers_.find(key);
    if (it == servers_.end()) return absl::NotFoundError(absl::StrCat("no ", key.Format()));
    return Make(key, it->second);
  }

  std::vector<absl::Status> Apply(absl::Span<const Operation> operations) override {
    for (const Operation& operation : operations) Carry(operation);
    return std::vector<absl::Status>(operations.size());
  }

  void AddMark(const VirtualServerKey& key, const VirtualServerConfig& config) {
    servers_[key].config = config;
  }

 private:
  struct Entry {
    VirtualServerConfig config;
    std::map<RealServerKey, RealServerConfig> real_servers;
  };

  static VirtualServer Make(const VirtualServerKey& key, const Entry& entry) {
    VirtualServer server;
    server.key = key;
    server.config = entry.config;
    server.real_servers.reserve(entry.real_servers.size());
    for (const auto& [real, config] : entry.real_servers) {
      server.real_servers.emplace_back();
      server.real_servers.back().key = real;
      server.real_servers.back().config = config;
    }
    return server;
  }

  void Carry(const Operation& operation) {
    switch (operation.verb) {
      case Verb::kAddVirtualServer:
      case Verb::kEditVirtualServer:
        servers_[operation.virtual_server].config = operation.virtual_config;
        return;
      case Verb::kDeleteVirtualServer:
        servers_.erase(operation.virtual_server);
        return;
      case Verb::kAddRealServer:
      case Verb::kEditRealServer:
        servers_[operation.virtual_server].real_servers[operation.real_server] =
            operation.real_config;
        return;
      case Verb::kDeleteRealServer:
        servers_[operation.virtual_server].real_servers.erase(operation.real_server);
        return;
    }
  }

  std::map<VirtualServerKey, Entry> servers_;
};

class ShadowKernel::Sets : public Firewall {
 public:
  Sets(std::function<absl::StatusOr<KernelState>()> read, ShadowKernel::Table& table)
      : read_(std::move(read)), table_(table) {}

  absl::StatusOr<bool> EnsureRuleset(const std::string& ruleset) override {
    if (ruleset_.empty()) {
      const absl::StatusOr<KernelState> kernel = read_();
      if (!kernel.ok()) return kernel.status();
      TakeMarks(*kernel);
    }
    return std::exchange(ruleset_, ruleset) != ruleset;
  }

  absl::StatusOr<std::vector<Element>> Dump() override {
    return std::vector<Element>(elements_.begin(), elements_.end());
  }

  absl::Status Apply(absl::Span<const ElementChange> changes) override {
    for (const ElementChange& change : changes) {
      if (change.verb == ElementChange::Verb::kAdd) {
        elements_.insert(change.element);
      } else {
        elements_.erase(change.element);
      }
    }
    return absl::OkStatus();
  }

 private:
  void TakeMarks(const KernelState& kernel) {
    for (const Element& element : kernel.elements) {
      if (element.set == SetName::kMark || element.set == SetName::kOwnedMark) {
        elements_.insert(element);
      }
    }
    for (const VirtualServer& server : kernel.servers) {
      // Without real servers: nothing has to drain here.
      if (server.key.is_mark()) table_.AddMark(server.key, server.config);
    }
  }

  const std::function<absl::StatusOr<KernelState>()> read_;
  ShadowKernel::Table& table_;
  std::string ruleset_;  // Empty: never asked for.
  std::set<Element> elements_;
};

class ShadowKernel::VipRoutes : public Routes {
 public:
  absl::StatusOr<std::vector<VipRoute>> Dump() override {
    std::vector<VipRoute> routes;
    routes.reserve(routes_.size());
    for (const auto& [vip, route] : routes_) routes.push_back(route);
    return routes;
  }

  std::vector<absl::Status> Apply(absl::Span<const RouteChange> changes) override {
    for (const RouteChange& change : changes) {
      if (change.verb == RouteChange::Verb::kPut) {
        routes_[change.route.vip] = change.route;
      } else {
        routes_.erase(change.route.vip);
      }
    }
    return std::vector<absl::Status>(changes.size());
  }

 private:
  std::map<IpAddress, VipRoute> routes_;
};

class ShadowKernel::Flows : public Conntrack {
 public:
  absl::StatusOr<int> DeleteFlows(absl::Span<const FlowMatch> /*matches*/) override { return 0; }
};

ShadowKernel::ShadowKernel(std::function<absl::StatusOr<KernelState>()> read)
    : table_(std::make_unique<Table>()),
      firewall_(std::make_unique<Sets>(std::move(read), *table_)),
      routes_(std::make_unique<VipRoutes>()),
      conntrack_(std::make_unique<Flows>()) {}

ShadowKernel::~ShadowKernel() = default;

ipvs::Table& ShadowKernel::table() { return *table_; }
Firewall& ShadowKernel::firewall() { return *firewall_; }
Routes& ShadowKernel::routes() { return *routes_; }
Conntrack& ShadowKernel::conntrack() { return *conntrack_; }

}  // namespace fairlead
