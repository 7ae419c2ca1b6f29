#include "proxy/metrics/operation_counts.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proxy/metrics/exposition.h"

namespace fairlead {
namespace {

using Kind = OperationCounts::Kind;
using CountedTable = OperationCounts::Table;

absl::string_view FormatTable(CountedTable table) {
  switch (table) {
    case CountedTable::kIpvs:
      return "ipvs";
    case CountedTable::kFirewall:
      return "firewall";
    case CountedTable::kRoutes:
      break;
  }
  return "routes";
}

struct KindName {
  CountedTable table;
  absl::string_view name;
};

KindName NameOf(Kind kind) {
  switch (kind) {
    case Kind::kAddVirtualServer:
      return {CountedTable::kIpvs, "add_virtual_server"};
    case Kind::kEditVirtualServer:
      return {CountedTable::kIpvs, "edit_virtual_server"};
    case Kind::kDeleteVirtualServer:
      return {CountedTable::kIpvs, "delete_virtual_server"};
    case Kind::kAddRealServer:
      return {CountedTable::kIpvs, "add_real_server"};
    case Kind::kEditRealServer:
      return {CountedTable::kIpvs, "edit_real_server"};
    case Kind::kDeleteRealServer:
      return {CountedTable::kIpvs, "delete_real_server"};
    case Kind::kLoadRuleset:
      return {CountedTable::kFirewall, "load_ruleset"};
    case Kind::kAddElement:
      return {CountedTable::kFirewall, "add_element"};
    case Kind::kDeleteElement:
      return {CountedTable::kFirewall, "delete_element"};
    case Kind::kPutRoute:
      return {CountedTable::kRoutes, "put_route"};
    case Kind::kDeleteRoute:
      break;
  }
  return {CountedTable::kRoutes, "delete_route"};
}

Kind KindOf(ipvs::Verb verb) {
  switch (verb) {
    case ipvs::Verb::kAddVirtualServer:
      return Kind::kAddVirtualServer;
    case ipvs::Verb::kEditVirtualServer:
      return Kind::kEditVirtualServer;
    case ipvs::Verb::kDeleteVirtualServer:
      return Kind::kDeleteVirtualServer;
    case ipvs::Verb::kAddRealServer:
      return Kind::kAddRealServer;
    case ipvs::Verb::kEditRealServer:
      return Kind::kEditRealServer;
    case ipvs::Verb::kDeleteRealServer:
      break;
  }
  return Kind::kDeleteRealServer;
}

// Those that the tables' contracts name: there from the start, so that a rate can be taken of the
// first.
bool IsExpected(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kUnknown:
      return true;
    default:
      return false;
  }
}

// Of changes that are made together; what a whole table is made of would keep the loop busy.
constexpr size_t kMaxTold = 1000;

// At debug, `format` gives the change and what came of it.
void Tell(size_t changes,
          absl::FunctionRef<std::pair<std::string, absl::Status>(size_t index)> format) {
  if (!spdlog::should_log(spdlog::level::debug)) return;
  for (size_t i = 0; i < std::min(changes, kMaxTold); ++i) {
    const auto [change, status] = format(i);
    spdlog::debug("kernel: {}{}", change, status.ok() ? "" : absl::StrCat(": ", status.ToString()));
  }
  if (changes > kMaxTold) spdlog::debug("kernel: and {} more", changes - kMaxTold);
}

}  // namespace

void OperationCounts::CountOperation(Kind kind, uint64_t count) {
  operations_[static_cast<size_t>(kind)].fetch_add(count, std::memory_order_relaxed);
}

void OperationCounts::CountError(Table table, const absl::Status& status) {
  const auto code = static_cast<size_t>(status.code());
  if (status.ok() || code >= kCodes) return;
  errors_[static_cast<size_t>(table)][code].fetch_add(1, std::memory_order_relaxed);
}

void OperationCounts::Append(std::string& out) const {
  constexpr char kOperations[] = "fairlead_operations_total";
  AppendFamily(out, kOperations, MetricType::kCounter,
               "Changes that were asked of the kernel, those that failed included, by table and "
               "operation.");
  for (int i = 0; i < kKinds; ++i) {
    const KindName kind = NameOf(static_cast<Kind>(i));
    AppendSeries(out, kOperations,
                 FormatLabels({{"table", FormatTable(kind.table)}, {"operation", kind.name}}),
                 operations_[static_cast<size_t>(i)].load(std::memory_order_relaxed));
  }
  constexpr char kErrors[] = "fairlead_operation_errors_total";
  AppendFamily(out, kErrors, MetricType::kCounter,
               "What the kernel has refused, by table and error; a refused transaction of the "
               "firewall is one.");
  for (int table = 0; table < kTables; ++table) {
    for (int code = 1; code < kCodes; ++code) {
      const uint64_t count = errors_[static_cast<size_t>(table)][static_cast<size_t>(code)].load(
          std::memory_order_relaxed);
      if (count == 0 && !IsExpected(static_cast<absl::StatusCode>(code))) continue;
      const std::string error =
          absl::AsciiStrToLower(absl::StatusCodeToString(static_cast<absl::StatusCode>(code)));
      AppendSeries(
          out, kErrors,
          FormatLabels({{"table", FormatTable(static_cast<Table>(table))}, {"error", error}}),
          count);
    }
  }
}

std::vector<absl::Status> CountingTable::Apply(absl::Span<const ipvs::Operation> operations) {
  std::vector<absl::Status> statuses = table_.Apply(operations);
  for (const ipvs::Operation& operation : operations) {
    counts_.CountOperation(KindOf(operation.verb));
  }
  for (const absl::Status& status : statuses) {
    counts_.CountError(OperationCounts::Table::kIpvs, status);
  }
  Tell(statuses.size(), [&](size_t i) { return std::pair(operations[i].Format(), statuses[i]); });
  return statuses;
}

absl::StatusOr<bool> CountingFirewall::EnsureRuleset(const std::string& ruleset) {
  absl::StatusOr<bool> loaded = firewall_.EnsureRuleset(ruleset);
  if (!loaded.ok() || *loaded) counts_.CountOperation(OperationCounts::Kind::kLoadRuleset);
  counts_.CountError(OperationCounts::Table::kFirewall, loaded.status());
  Tell(!loaded.ok() || *loaded ? 1 : 0,
       [&](size_t) { return std::pair(std::string("load the ruleset"), loaded.status()); });
  return loaded;
}

absl::Status CountingFirewall::Apply(absl::Span<const ElementChange> changes) {
  absl::Status status = firewall_.Apply(changes);
  for (const ElementChange& change : changes) {
    counts_.CountOperation(change.verb == ElementChange::Verb::kAdd
                               ? OperationCounts::Kind::kAddElement
                               : OperationCounts::Kind::kDeleteElement);
  }
  counts_.CountError(OperationCounts::Table::kFirewall, status);
  Tell(changes.size(), [&](size_t i) {
    const bool adds = changes[i].verb == ElementChange::Verb::kAdd;
    return std::pair(
        absl::StrCat(adds ? "add" : "delete", " element ", changes[i].element.Format()), status);
  });
  return status;
}

std::vector<absl::Status> CountingRoutes::Apply(absl::Span<const RouteChange> changes) {
  std::vector<absl::Status> statuses = routes_.Apply(changes);
  for (const RouteChange& change : changes) {
    counts_.CountOperation(change.verb == RouteChange::Verb::kPut
                               ? OperationCounts::Kind::kPutRoute
                               : OperationCounts::Kind::kDeleteRoute);
  }
  for (const absl::Status& status : statuses) {
    counts_.CountError(OperationCounts::Table::kRoutes, status);
  }
  Tell(statuses.size(), [&](size_t i) {
    const bool puts = changes[i].verb == RouteChange::Verb::kPut;
    return std::pair(
        absl::StrCat(puts ? "put" : "delete", " route ", changes[i].route.vip.Format()),
        statuses[i]);
  });
  return statuses;
}

}  // namespace fairlead
