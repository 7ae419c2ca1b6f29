// The reconciler's work on virtual servers: changes, and real servers that drain.
#include <algorithm>

#include "proxy/reconcile/dependents.h"
#include "proxy/reconcile/reconciler.h"

namespace fairlead {

using ipvs::Operation;
using ipvs::RealServerKey;
using ipvs::Verb;
using ipvs::VirtualServerKey;

namespace {

bool IsDelete(Verb verb) {
  return verb == Verb::kDeleteVirtualServer || verb == Verb::kDeleteRealServer;
}

// A mark's virtual server goes when its connections have: nothing new comes to it, since nothing is
// marked any more, and the address is served on by another.
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
  for (const VirtualServerKey& key : keys) {
    const PlannedVirtualServer* want = desired.FindVirtualServer(key);
    auto have = actual_servers_.find(key);
    const ActualVirtualServer* present = have == actual_servers_.end() ? nullptr : &have->second;
    const bool recorded = actual_elements_.contains(OwnedElement(key));
    const Element open = OpenElement(key);
    if (want == nullptr && !recorded) continue;  // Somebody else's.
    if (want != nullptr && (!recorded || InDoubt(OwnedElement(key)))) {
      failed[key] = absl::UnavailableError("its record of ownership could not be written");
      continue;
    }
    if (want == nullptr && present != nullptr && !key.is_mark() &&
        (actual_elements_.contains(open) || InDoubt(open))) {
      failed[key] = absl::UnavailableError("its port could not be closed");
      continue;
    }
    const Element limited = LimitedElement(key);
    if (want != nullptr && present == nullptr && !want->sources.empty() &&
        (!actual_elements_.contains(limited) || InDoubt(limited))) {
      failed[key] = absl::UnavailableError("its sources could not be limited");
      continue;
    }
    if (foreign_servers_.erase(key) > 0 && want != nullptr) taken_over_.insert(key);
    if (want != nullptr && key.is_mark()) mark_protocols_[key] = want->protocol;
    VirtualServerDiff diff = want == nullptr && key.is_mark() && present != nullptr
                                 ? Retire(key, *present)
                                 : DiffVirtualServer(key, want, present);
    if (want != nullptr) KeepHeld(*want, diff);
    operations.insert(operations.end(), diff.operations.begin(), diff.operations.end());
    NoteLeaving(key, want == nullptr ? key.protocol : want->protocol, diff.leaving, now);
  }
  const std::vector<absl::Status> results = ApplyOperations(operations);
  for (size_t i = 0; i < operations.size(); ++i) {
    if (results[i].ok()) continue;
    failed.emplace(operations[i].virtual_server, results[i]);
    // It came after Adopt, and we did not make it.
    if (operations[i].verb == Verb::kAddVirtualServer && absl::IsAlreadyExists(results[i])) {
      foreign_servers_.insert(operations[i].virtual_server);
    }
  }
  return failed;
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
  ActualVirtualServer* server = nullptr;
  if (operation.verb != Verb::kDeleteVirtualServer) {
    server = &actual_servers_[operation.virtual_server];
  }
  switch (operation.verb) {
    case Verb::kAddVirtualServer:
    case Verb::kEditVirtualServer:
      server->config = operation.virtual_config;
      return;
    case Verb::kDeleteVirtualServer:
      actual_servers_.erase(operation.virtual_server);
      mark_protocols_.erase(operation.virtual_server);
      drains_.erase(operation.virtual_server);
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
  const auto known = mark_protocols_.find(key);
  const ipvs::Protocol protocol = !key.is_mark()                   ? key.protocol
                                  : known == mark_protocols_.end() ? ipvs::Protocol::kUdp
                                                                   : known->second;
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
    actual_servers_[key] = ToActual(*server);
  } else {
    actual_servers_.erase(key);
  }
  return absl::OkStatus();
}

void Reconciler::NoteLeaving(const VirtualServerKey& key, ipvs::Protocol protocol,
                             const std::vector<RealServerKey>& leaving, absl::Time now) {
  if (leaving.empty()) {
    drains_.erase(key);
    return;
  }
  const auto before = std::exchange(drains_[key], {});
  const absl::Duration patience =
      protocol == ipvs::Protocol::kUdp ? absl::ZeroDuration() : options_.drain_timeout;
  for (const RealServerKey& real : leaving) {
    auto it = before.find(real);
    drains_[key][real] = it == before.end() ? now + patience : it->second;
  }
  next_drain_poll_ = now;
}

void Reconciler::ForgetRealServer(const VirtualServerKey& key, const RealServerKey& real) {
  auto actual = actual_servers_.find(key);
  if (actual == actual_servers_.end() || !actual->second.real_servers.contains(real)) return;
  Remember(Operation::DeleteRealServer(key, real));
}

void Reconciler::FinishDrains(absl::Time now) {
  if (drains_.empty()) next_drain_poll_ = absl::InfiniteFuture();
  if (now < next_drain_poll_) return;
  static const std::vector<ipvs::RealServer> kNone;
  std::vector<Operation> operations;
  for (auto& [key, servers] : drains_) {
    absl::StatusOr<ipvs::VirtualServer> seen = table_.Get(key);
    if (!seen.ok() && !absl::IsNotFound(seen.status())) continue;  // The next poll tries again.
    std::map<RealServerKey, absl::Time> present;
    for (const ipvs::RealServer& real : seen.ok() ? seen->real_servers : kNone) {
      auto it = servers.find(real.key);
      if (it == servers.end()) continue;
      present.insert(*it);
      if (real.config.weight == 0 &&
          (it->second <= now || real.active_connections + real.inactive_connections == 0)) {
        operations.push_back(Operation::DeleteRealServer(key, real.key));
      }
    }
    // A deletion that was not answered has happened, or somebody else was at it.
    for (const auto& [real, until] : servers) {
      if (!present.contains(real)) ForgetRealServer(key, real);
    }
    servers = std::move(present);
  }
  const std::vector<absl::Status> results = ApplyOperations(operations);
  for (size_t i = 0; i < operations.size(); ++i) {
    if (!results[i].ok()) continue;  // Stays a drain, and is tried again.
    auto it = drains_.find(operations[i].virtual_server);
    it->second.erase(operations[i].real_server);
  }
  std::erase_if(drains_, [this](const auto& entry) {
    // What was only there for them can go; the next pass sees whether it is still wanted.
    if (entry.second.empty() && entry.first.is_mark()) drained_.insert(entry.first);
    return entry.second.empty();
  });
  next_drain_poll_ = drains_.empty() ? absl::InfiniteFuture() : now + kDrainPoll;
}

std::vector<DrainingServer> Reconciler::Draining() const {
  std::vector<DrainingServer> draining;
  for (const auto& [key, servers] : drains_) {
    for (const auto& [real, until] : servers) draining.push_back({key, real, until});
  }
  return draining;
}

}  // namespace fairlead
