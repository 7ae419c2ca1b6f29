#include "ipvs/memory_table.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ipvs/errors.h"
#include "ipvs/validate.h"

namespace fairlead::ipvs {
namespace {

// ::ffff:0:0/96.
bool IsMapped(const IpAddress& address) {
  static const absl::string_view kPrefix("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
  return address.bytes().substr(0, kPrefix.size()) == kPrefix;
}

// ip_vs_new_dest in net/netfilter/ipvs/ip_vs_ctl.c: addresses that no server can have.
bool IsPossibleServer(const IpAddress& address) {
  if (address.IsMulticast()) return false;
  if (!address.is_v4()) {
    return !address.IsUnspecified() && !address.IsLinkLocal() && !IsMapped(address);
  }
  return !address.IsUnspecified() && address != IpAddress::V4(0xffffffff);
}

// do_ip_vs_… in the same file: what an address family other than the virtual server's needs.
bool IsPossibleMix(const Operation& operation) {
  return operation.real_server.address.family() == operation.virtual_server.family ||
         operation.verb == Verb::kDeleteRealServer ||
         operation.real_config.forwarding == ForwardingMethod::kTunnel;
}

}  // namespace

absl::StatusOr<std::vector<VirtualServer>> MemoryTable::Dump() {
  if (!read_status_.ok()) return read_status_;
  std::vector<VirtualServer> result;
  result.reserve(entries_.size());
  for (const auto& [key, entry] : entries_) result.push_back(MakeVirtualServer(key, entry));
  return result;
}

absl::StatusOr<VirtualServer> MemoryTable::Get(const VirtualServerKey& key) {
  if (!read_status_.ok()) return read_status_;
  const auto it = entries_.find(key);
  if (it == entries_.end()) {
    return StatusFromErrno(ESRCH, absl::StrCat("get virtual server ", key.Format()));
  }
  return MakeVirtualServer(key, it->second);
}

std::vector<absl::Status> MemoryTable::Apply(absl::Span<const Operation> operations) {
  std::vector<absl::Status> statuses;
  statuses.reserve(operations.size());
  for (const Operation& operation : operations) {
    operations_.push_back(operation);
    statuses.push_back(ApplyOne(operation));
  }
  return statuses;
}

void MemoryTable::FailNext(Failure failure, int skipped) {
  failures_by_number_.insert_or_assign(next_number_ + skipped, std::move(failure));
}

void MemoryTable::FailWhen(std::function<bool(const Operation&)> matches, Failure failure) {
  failures_.emplace_back(std::move(matches), std::move(failure));
}

void MemoryTable::ClearFailures() {
  failures_by_number_.clear();
  failures_.clear();
  read_status_ = absl::OkStatus();
}

absl::Status MemoryTable::SetConnections(const VirtualServerKey& key,
                                         const RealServerKey& real_server, uint32_t active,
                                         uint32_t inactive, uint32_t persistent) {
  const auto entry = entries_.find(key);
  if (entry == entries_.end()) return absl::NotFoundError(key.Format());
  const auto it = entry->second.real_servers.find(real_server);
  if (it == entry->second.real_servers.end()) return absl::NotFoundError(real_server.Format());
  it->second.active_connections = active;
  it->second.inactive_connections = inactive;
  it->second.persistent_connections = persistent;
  return absl::OkStatus();
}

absl::Status MemoryTable::SetStatistics(const VirtualServerKey& key, const Statistics& statistics) {
  const auto entry = entries_.find(key);
  if (entry == entries_.end()) return absl::NotFoundError(key.Format());
  entry->second.statistics = statistics;
  return absl::OkStatus();
}

absl::Status MemoryTable::SetStatistics(const VirtualServerKey& key,
                                        const RealServerKey& real_server,
                                        const Statistics& statistics) {
  const auto entry = entries_.find(key);
  if (entry == entries_.end()) return absl::NotFoundError(key.Format());
  const auto it = entry->second.real_servers.find(real_server);
  if (it == entry->second.real_servers.end()) return absl::NotFoundError(real_server.Format());
  it->second.statistics = statistics;
  return absl::OkStatus();
}

VirtualServer MemoryTable::MakeVirtualServer(const VirtualServerKey& key, const Entry& entry) {
  VirtualServer server{.key = key, .config = entry.config, .statistics = entry.statistics};
  server.real_servers.reserve(entry.real_servers.size());
  for (const auto& [_, real_server] : entry.real_servers) {
    server.real_servers.push_back(real_server);
  }
  return server;
}

absl::Status MemoryTable::ApplyOne(const Operation& operation) {
  const Failure* failure = TakeFailure(operation);
  if (failure != nullptr && !failure->happens) return failure->status;
  absl::Status status = ValidateOperation(operation);
  if (status.ok()) status = StatusFromErrno(Carry(operation), operation);
  return failure != nullptr ? failure->status : status;
}

const MemoryTable::Failure* MemoryTable::TakeFailure(const Operation& operation) {
  const auto numbered = failures_by_number_.find(next_number_++);
  if (numbered != failures_by_number_.end()) {
    taken_ = std::move(numbered->second);
    failures_by_number_.erase(numbered);
    return &taken_;
  }
  for (const auto& [matches, failure] : failures_) {
    if (matches(operation)) return &failure;
  }
  return nullptr;
}

int MemoryTable::Carry(const Operation& operation) {
  const auto entry = entries_.find(operation.virtual_server);
  switch (operation.verb) {
    case Verb::kAddVirtualServer:
      return entry == entries_.end() ? WriteVirtualServer(operation) : EEXIST;
    case Verb::kEditVirtualServer:
      return entry == entries_.end() ? ESRCH : WriteVirtualServer(operation);
    case Verb::kDeleteVirtualServer:
      if (entry == entries_.end()) return ESRCH;
      entries_.erase(entry);
      return 0;
    case Verb::kAddRealServer:
    case Verb::kEditRealServer:
    case Verb::kDeleteRealServer:
      return entry == entries_.end() ? ESRCH : WriteRealServer(operation, &entry->second);
  }
  return EINVAL;
}

int MemoryTable::WriteVirtualServer(const Operation& operation) {
  const VirtualServerConfig& config = operation.virtual_config;
  if (config.scheduler != "none" && !options_.schedulers.contains(config.scheduler)) return ENOENT;
  if (!config.persistence_engine.empty() &&
      !options_.persistence_engines.contains(config.persistence_engine)) {
    return ENOENT;
  }
  if (operation.virtual_server.family == IpFamily::kIpv6 && config.persistence_prefix_length == 0) {
    return EINVAL;
  }
  entries_[operation.virtual_server].config = config;
  return 0;
}

// The order of the checks is the kernel's.
int MemoryTable::WriteRealServer(const Operation& operation, Entry* entry) {
  if (!IsPossibleMix(operation)) return EINVAL;
  const auto it = entry->real_servers.find(operation.real_server);
  const bool exists = it != entry->real_servers.end();
  if (operation.verb == Verb::kDeleteRealServer) {
    if (!exists) return ENOENT;
    entry->real_servers.erase(it);
    return 0;
  }
  const RealServerConfig& config = operation.real_config;
  if (config.weight < 0 || config.lower_threshold > config.upper_threshold) return ERANGE;
  if (operation.verb == Verb::kEditRealServer) {
    if (!exists) return ENOENT;
    it->second.config = config;
    return 0;
  }
  if (exists) return EEXIST;
  if (!IsPossibleServer(operation.real_server.address)) return EINVAL;
  entry->real_servers[operation.real_server] = {.key = operation.real_server, .config = config};
  return 0;
}

}  // namespace fairlead::ipvs
