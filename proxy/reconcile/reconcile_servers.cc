// The reconciler's work on virtual servers.
#include <algorithm>

#include "proxy/reconcile/dependents.h"
#include "proxy/reconcile/reconciler.h"

namespace fairlead {

using ipvs::Operation;
using ipvs::RealServerKey;
using ipvs::Verb;
using ipvs::VirtualServerKey;

namespace {

// What is written in one go: of a whole table the list alone would be larger than all else that an
// agent holds.
constexpr size_t kOperationsAtOnce = 4096;

bool IsDelete(Verb verb) {
  return verb == Verb::kDeleteVirtualServer || verb == Verb::kDeleteRealServer;
}

// Goes when its connections have. Nothing new comes to it: what does is refused, or of a mark that
// nothing has any more.
VirtualServerDiff Retire(const VirtualServerKey& key, const ActualVirtualServer& present) {
  if (present.real_servers.empty()) return DiffVirtualServer(key, nullptr, &present);
  PlannedVirtualServer empty;
  empty.key = key;
  empty.config = present.config;
  return DiffVirtualServer(key, &empty, &present);
}

}  // namespace

void Reconciler::ReconcileServers(const DesiredState& desired,
                                  const std::set<VirtualServerKey>& keys, absl::Time now) {
  std::map<VirtualServerKey, absl::Status> failed = RereadUnread(keys);
  std::set<VirtualServerKey> known = keys;
  for (const auto& [key, status] : failed) known.erase(key);
  // Where an operation fails our account was wrong, or the kernel refuses: read back and try once
  // more at once, then with back-off.
  std::set<VirtualServerKey> again;
  for (const auto& [key, status] : ApplyServers(desired, known, now)) {
    if (Reread(key).ok()) {
      again.insert(key);
    } else {
      failed.emplace(key, status);
    }
  }
  for (const auto& [key, status] : ApplyServers(desired, again, now)) {
    failed.emplace(key, status);
    Reread(key).IgnoreError();  // Then it stays unread.
  }
  for (const VirtualServerKey& key : keys) {
    auto it = failed.find(key);
    if (it == failed.end()) {
      server_retries_.Succeeded(key);
    } else {
      server_retries_.Failed(key, std::string(it->second.message()), now);
    }
  }
}

std::map<VirtualServerKey, absl::Status> Reconciler::RereadUnread(
    const std::set<VirtualServerKey>& keys) {
  std::map<VirtualServerKey, absl::Status> failed;
  // Reread changes the set.
  for (const VirtualServerKey& key : std::set<VirtualServerKey>(unread_servers_)) {
    if (!keys.contains(key)) continue;
    if (absl::Status read = Reread(key); !read.ok()) failed.emplace(key, read);
  }
  return failed;
}

std::map<VirtualServerKey, absl::Status> Reconciler::ApplyServers(
    const DesiredState& desired, const std::set<VirtualServerKey>& keys, absl::Time now) {
  std::map<VirtualServerKey, absl::Status> failed;
  std::vector<Operation> operations;
  const auto apply = [&] {
    const std::vector<absl::Status> results = ApplyOperations(operations);
    for (size_t i = 0; i < operations.size(); ++i) {
      if (results[i].ok()) continue;
      failed.emplace(operations[i].virtual_server, results[i]);
      // It came after Adopt, and we did not make it.
      if (operations[i].verb == Verb::kAddVirtualServer && absl::IsAlreadyExists(results[i])) {
        foreign_servers_.insert(operations[i].virtual_server);
      }
    }
    operations.clear();
  };
  for (const VirtualServerKey& key : InWritingOrder(keys)) {
    const PlannedVirtualServer* want = desired.FindVirtualServer(key);
    auto have = actual_servers_.find(key);
    const ActualVirtualServer* present = have == actual_servers_.end() ? nullptr : &have->second;
    const bool recorded = actual_elements_.contains(OwnedElement(key));
    const auto may_have = [this](const Element& element) {
      return actual_elements_.contains(element) || InDoubt(element);
    };
    if (want == nullptr && !recorded) continue;  // Somebody else's.
    if (want != nullptr && (!recorded || InDoubt(OwnedElement(key)))) {
      failed[key] = absl::UnavailableError("its record of ownership could not be written");
      continue;
    }
    const bool retires =
        present != nullptr && want == nullptr && (key.is_mark() || IsRetiring(key));
    if (want == nullptr && present != nullptr && !retires &&
        (may_have(ServedElement(key)) || may_have(OpenElement(key)))) {
      failed[key] = absl::UnavailableError("its port could not be closed");
      continue;
    }
    if (want != nullptr && present == nullptr && !want->sources.empty() &&
        (!IsThere(LimitedElement(key)) || may_have(ServedElement(key)))) {
      failed[key] = absl::UnavailableError("its sources could not be limited");
      continue;
    }
    if (foreign_servers_.erase(key) > 0 && want != nullptr) taken_over_.insert(key);
    if (want != nullptr && (key.is_mark() || want->drain_timeout)) {
      traits_[key] = {want->protocol, want->drain_timeout};
    } else if (want != nullptr) {
      traits_.erase(key);
    }
    VirtualServerDiff diff =
        retires ? Retire(key, *present) : DiffVirtualServer(key, want, present);
    if (want != nullptr) {
      KeepHeld(*want, diff);
      for (const PlannedRealServer& real : want->real_servers) {
        drains_.NoteWanted(key, real.key);
      }
    }
    operations.insert(operations.end(), diff.operations.begin(), diff.operations.end());
    NoteLeaving(key, PatienceOf(key, want), diff.leaving, now);
    if (operations.size() >= kOperationsAtOnce) apply();
  }
  apply();
  return failed;
}

std::vector<VirtualServerKey> Reconciler::InWritingOrder(
    const std::set<VirtualServerKey>& keys) const {
  std::vector<VirtualServerKey> order(keys.begin(), keys.end());
  if (kernel_order_.empty()) return order;
  // Those whose place is not known come last.
  const auto from_the_end = [this](const VirtualServerKey& key) {
    const auto it = kernel_order_.find(key);
    return it == kernel_order_.end() ? 0 : -static_cast<int64_t>(it->second) - 1;
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](const auto& a, const auto& b) { return from_the_end(a) < from_the_end(b); });
  return order;
}

std::vector<absl::Status> Reconciler::ApplyOperations(absl::Span<const Operation> operations) {
  if (operations.empty()) return {};
  counters_.operations += operations.size();
  std::vector<absl::Status> results = table_.Apply(operations);
  for (size_t i = 0; i < operations.size(); ++i) {
    if (IsDelete(operations[i].verb) && absl::IsNotFound(results[i])) results[i] = absl::OkStatus();
    if (results[i].ok()) Remember(operations[i]);
  }
  return results;
}

void Reconciler::Remember(const Operation& operation) {
  NoteFlows(operation);
  if (operation.verb == Verb::kDeleteVirtualServer) {
    EraseActual(operation.virtual_server);
    traits_.erase(operation.virtual_server);
    drains_.Erase(operation.virtual_server);
    return;
  }
  if (!actual_servers_.contains(operation.virtual_server)) {
    SetActual(operation.virtual_server, {});
  }
  ActualVirtualServer* server = &actual_servers_[operation.virtual_server];
  switch (operation.verb) {
    case Verb::kAddVirtualServer:
    case Verb::kEditVirtualServer:
      server->config = operation.virtual_config;
      return;
    case Verb::kDeleteVirtualServer:
      return;
    case Verb::kAddRealServer:
    case Verb::kEditRealServer:
      server->real_servers[operation.real_server] = operation.real_config;
      return;
    case Verb::kDeleteRealServer:
      server->real_servers.erase(operation.real_server);
      return;
  }
}

void Reconciler::NoteFlows(const Operation& operation) {
  const VirtualServerKey& key = operation.virtual_server;
  // Of a mark that nobody has wanted since the start the protocol is not known.
  const auto known = traits_.find(key);
  const ipvs::Protocol protocol = !key.is_mark()           ? key.protocol
                                  : known == traits_.end() ? ipvs::Protocol::kUdp
                                                           : known->second.protocol;
  if (protocol != ipvs::Protocol::kUdp) return;
  // What a mark's server balanced has addresses that are not known here.
  const auto note = [&](const RealServerKey& endpoint) {
    FlowMatch match{.endpoint = endpoint.address, .endpoint_port = endpoint.port};
    if (!key.is_mark()) match.destination = FlowAddress{key.address, key.port};
    flows_to_forget_.insert(match);
  };
  if (operation.verb == Verb::kDeleteRealServer) note(operation.real_server);
  if (operation.verb == Verb::kDeleteVirtualServer) {
    for (const auto& [real, config] : actual_servers_[key].real_servers) note(real);
  }
  // Flows that began before there was a virtual server are tracked as they were sent.
  if (operation.verb == Verb::kAddVirtualServer && !key.is_mark()) note({key.address, key.port});
}

absl::Status Reconciler::Reread(const VirtualServerKey& key) {
  absl::StatusOr<ipvs::VirtualServer> server = table_.Get(key);
  if (!server.ok() && !absl::IsNotFound(server.status())) {
    unread_servers_.insert(key);
    return server.status();
  }
  unread_servers_.erase(key);
  if (server.ok()) {
    SetActual(key, ToActual(*server));
  } else {
    EraseActual(key);
  }
  return absl::OkStatus();
}

void Reconciler::SetActual(const VirtualServerKey& key, ActualVirtualServer server) {
  const auto [it, added] = actual_servers_.insert_or_assign(key, std::move(server));
  if (!added) return;
  ++servers_since_order_;
  if (key.family == IpFamily::kIpv4) ++ipv4_servers_;
}

void Reconciler::EraseActual(const VirtualServerKey& key) {
  if (actual_servers_.erase(key) > 0 && key.family == IpFamily::kIpv4) --ipv4_servers_;
}

}  // namespace fairlead
