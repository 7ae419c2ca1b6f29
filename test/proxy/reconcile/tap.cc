#include "tap.h"

#include "absl/strings/str_cat.h"

namespace fairlead::testing {
namespace {

// Lets `write` happen or not, as the tap says.
template <typename Write>
absl::Status Carry(Tap& tap, const std::string& what, Write write) {
  const Fate fate = tap.on_write();
  if (!fate.happens) return fate.status;
  const absl::Status status = write();
  if (status.ok()) {
    ++tap.writes;
    tap.after_write(what);
  }
  return fate.status.ok() ? status : fate.status;
}

std::string Format(const ElementChange& change) {
  return absl::StrCat(change.verb == ElementChange::Verb::kAdd ? "add " : "delete ",
                      change.element.Format(), "; ");
}

}  // namespace

void Tap::CrashAfter(int count) {
  const int last = writes + count;
  crashed = false;
  on_write = on_read = [this, last] {
    if (writes < last) return Fate();
    crashed = true;
    return Fate{absl::UnavailableError("crashed"), false};
  };
}

void Tap::Recover() {
  on_write = on_read = [] { return Fate(); };
}

absl::StatusOr<std::vector<ipvs::VirtualServer>> TappedTable::Dump() {
  if (absl::Status status = tap_.on_read().status; !status.ok()) return status;
  return table_.Dump();
}

absl::StatusOr<ipvs::VirtualServer> TappedTable::Get(const ipvs::VirtualServerKey& key) {
  if (absl::Status status = tap_.on_read().status; !status.ok()) return status;
  return table_.Get(key);
}

std::vector<absl::Status> TappedTable::Apply(absl::Span<const ipvs::Operation> operations) {
  std::vector<absl::Status> results;
  for (const ipvs::Operation& operation : operations) {
    results.push_back(Carry(tap_, operation.Format(), [&] {
      return table_.Apply({&operation, 1}).front();
    }));
  }
  return results;
}

absl::StatusOr<bool> TappedFirewall::EnsureRuleset(const std::string& ruleset) {
  if (absl::Status status = tap_.on_read().status; !status.ok()) return status;
  return firewall_.EnsureRuleset(ruleset);
}

absl::StatusOr<std::vector<Element>> TappedFirewall::Dump() {
  if (absl::Status status = tap_.on_read().status; !status.ok()) return status;
  return firewall_.Dump();
}

absl::Status TappedFirewall::Apply(absl::Span<const ElementChange> changes) {
  tap_.transactions.push_back(changes.size());
  std::string what;
  for (const ElementChange& change : changes) what += Format(change);
  return Carry(tap_, what, [&] { return firewall_.Apply(changes); });
}

absl::StatusOr<std::vector<VipRoute>> TappedRoutes::Dump() {
  if (absl::Status status = tap_.on_read().status; !status.ok()) return status;
  return routes_.Dump();
}

std::vector<absl::Status> TappedRoutes::Apply(absl::Span<const RouteChange> changes) {
  std::vector<absl::Status> results;
  for (const RouteChange& change : changes) {
    const std::string what = absl::StrCat(change.verb == RouteChange::Verb::kPut ? "put" : "delete",
                                          " route ", change.route.vip.Format());
    results.push_back(Carry(tap_, what, [&] { return routes_.Apply({&change, 1}).front(); }));
  }
  return results;
}

absl::StatusOr<int> TappedConntrack::DeleteFlows(absl::Span<const FlowMatch> matches) {
  absl::StatusOr<int> deleted = 0;
  const absl::Status status = Carry(tap_, "delete flows", [&] {
    deleted = conntrack_.DeleteFlows(matches);
    return deleted.status();
  });
  if (!status.ok()) return status;
  return deleted;
}

}  // namespace fairlead::testing
