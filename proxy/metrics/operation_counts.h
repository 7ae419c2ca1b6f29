// Counts what is written to the kernel, by kind and by error, on its way there, and tells it in the
// log, at debug.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "ipvs/table.h"
#include "proxy/kernel/firewall.h"
#include "proxy/kernel/routes.h"

namespace fairlead {

// Totals since its making. Thread-safe.
class OperationCounts {
 public:
  enum class Table : uint8_t { kIpvs, kFirewall, kRoutes };
  enum class Kind : uint8_t {
    kAddVirtualServer,
    kEditVirtualServer,
    kDeleteVirtualServer,
    kAddRealServer,
    kEditRealServer,
    kDeleteRealServer,
    kLoadRuleset,
    kAddElement,
    kDeleteElement,
    kPutRoute,
    kDeleteRoute,
  };
  static constexpr int kTables = 3;
  static constexpr int kKinds = 11;
  // OK, and the errors of absl::StatusCode.
  static constexpr int kCodes = 17;

  void CountOperation(Kind kind, uint64_t count = 1);
  // Nothing of an OK.
  void CountError(Table table, const absl::Status& status);

  // fairlead_operations_total and fairlead_operation_errors_total.
  void Append(std::string& out) const;

 private:
  std::array<std::atomic<uint64_t>, kKinds> operations_ = {};
  std::array<std::array<std::atomic<uint64_t>, kCodes>, kTables> errors_ = {};
};

// A table whose operations are counted. What it is given outlives it; otherwise as that.
class CountingTable : public ipvs::Table {
 public:
  CountingTable(ipvs::Table& table, OperationCounts& counts) : table_(table), counts_(counts) {}

  absl::StatusOr<std::vector<ipvs::VirtualServer>> Dump() override { return table_.Dump(); }
  absl::StatusOr<ipvs::VirtualServer> Get(const ipvs::VirtualServerKey& key) override {
    return table_.Get(key);
  }
  std::vector<absl::Status> Apply(absl::Span<const ipvs::Operation> operations) override;

 private:
  ipvs::Table& table_;
  OperationCounts& counts_;
};

// The same of a firewall. A transaction that is refused is one error, whatever is in it.
class CountingFirewall : public Firewall {
 public:
  CountingFirewall(Firewall& firewall, OperationCounts& counts)
      : firewall_(firewall), counts_(counts) {}

  absl::StatusOr<bool> EnsureRuleset(const std::string& ruleset) override;
  absl::StatusOr<std::vector<Element>> Dump() override { return firewall_.Dump(); }
  absl::Status Apply(absl::Span<const ElementChange> changes) override;

 private:
  Firewall& firewall_;
  OperationCounts& counts_;
};

// The same of routes.
class CountingRoutes : public Routes {
 public:
  CountingRoutes(Routes& routes, OperationCounts& counts) : routes_(routes), counts_(counts) {}

  absl::StatusOr<std::vector<VipRoute>> Dump() override { return routes_.Dump(); }
  std::vector<absl::Status> Apply(absl::Span<const RouteChange> changes) override;

 private:
  Routes& routes_;
  OperationCounts& counts_;
};

}  // namespace fairlead
