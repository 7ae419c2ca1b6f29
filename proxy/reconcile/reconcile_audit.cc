// What others have changed in the kernel: found, told, and handed to the next reconciliation.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proxy/reconcile/dependents.h"
#include "proxy/reconcile/reconciler.h"

namespace fairlead {

using ipvs::RealServerKey;
using ipvs::VirtualServerKey;

namespace {

std::string FormatConfig(const ipvs::VirtualServerConfig& config) {
  std::string text = config.scheduler;
  if (config.persistent()) {
    absl::StrAppend(&text, " persistent ", absl::ToInt64Seconds(config.persistence_timeout), "s/",
                    config.persistence_prefix_length);
  }
  if (const uint32_t others = config.flags & ~ipvs::kFlagPersistent; others != 0) {
    absl::StrAppend(&text, " flags ", absl::Hex(others));
  }
  return text;
}

std::string FormatConfig(const ipvs::RealServerConfig& config) {
  std::string text =
      absl::StrCat(ipvs::FormatForwardingMethod(config.forwarding), " weight ", config.weight);
  if (config.upper_threshold != 0 || config.lower_threshold != 0) {
    absl::StrAppend(&text, " thresholds ", config.upper_threshold, "/", config.lower_threshold);
  }
  return text;
}

}  // namespace

void Reconciler::CompareElements(const std::vector<Element>& elements) {
  const absl::flat_hash_set<Element> found(elements.begin(), elements.end());
  const auto note = [this](const Element& element, absl::string_view what) {
    found_.elements.insert(element);
    // Of those that failed we cannot say what they were.
    if (element_retries_.Contains(element)) return;
    drift_.Add(DriftKind::kElement,
               [&] { return absl::StrCat("element ", element.Format(), " was ", what); });
  };
  for (const Element& element : elements) {
    if (!actual_elements_.contains(element)) note(element, "there, put by somebody else");
  }
  for (const Element& element : actual_elements_) {
    if (!found.contains(element)) note(element, "gone");
  }
}

void Reconciler::CheckRoutes(absl::Time now) {
  if (!routes_suspect_ || now < next_routes_check_) return;
  next_routes_check_ = now + kMinRecheck;
  absl::StatusOr<std::vector<VipRoute>> routes = routes_.Dump();
  if (!routes.ok()) return;  // Stays suspect.
  routes_suspect_ = false;
  absl::flat_hash_map<IpAddress, VipRoute> found;
  for (const VipRoute& route : *routes) found[route.vip] = route;
  const auto note = [this](const IpAddress& vip, absl::FunctionRef<std::string()> what) {
    found_.vips.insert(vip);
    if (route_retries_.Contains(vip)) return;
    drift_.Add(DriftKind::kRoute,
               [&] { return absl::StrCat("route ", vip.Format(), " was ", what()); });
  };
  for (const auto& entry : found) {
    const VipRoute& route = entry.second;
    const auto had = actual_routes_.find(route.vip);
    if (had != actual_routes_.end() && had->second == route) continue;
    note(route.vip, [&]() -> std::string {
      if (had == actual_routes_.end()) return "there, put by somebody else";
      return absl::StrCat("with source ", route.source ? route.source->Format() : "none");
    });
  }
  for (const auto& [vip, route] : actual_routes_) {
    if (!found.contains(vip)) note(vip, [] { return "gone"; });
  }
  actual_routes_ = std::move(found);
}

void Reconciler::CompareServer(const VirtualServerKey& key,
                               const std::optional<ActualVirtualServer>& found) {
  const auto it = actual_servers_.find(key);
  if (it == actual_servers_.end()) return;
  const ActualVirtualServer& had = it->second;
  if (found && *found == had) return;
  found_.virtual_servers.insert(key);
  if (!found) {
    drift_.Add(DriftKind::kVirtualServer, [&] { return absl::StrCat(key.Format(), " was gone"); });
    return;
  }
  if (found->config != had.config) {
    drift_.Add(DriftKind::kVirtualServer, [&] {
      return absl::StrCat(key.Format(), " was ", FormatConfig(found->config), " in place of ",
                          FormatConfig(had.config));
    });
  }
  const auto note = [&](const RealServerKey& real, absl::string_view what) {
    drift_.Add(DriftKind::kRealServer,
               [&] { return absl::StrCat(key.Format(), " -> ", real.Format(), " was ", what); });
  };
  for (const auto& [real, config] : found->real_servers) {
    const auto before = had.real_servers.find(real);
    if (before == had.real_servers.end()) {
      note(real, "there, put by somebody else");
    } else if (before->second != config) {
      note(real, absl::StrCat(FormatConfig(config), " in place of ", FormatConfig(before->second)));
    }
  }
  for (const auto& [real, config] : had.real_servers) {
    if (!found->real_servers.contains(real)) note(real, "gone");
  }
}

void Reconciler::Look(const VirtualServerKey& key) {
  if (Owns(key) && !unread_servers_.contains(key) && !CheckServer(key)) servers_suspect_ = true;
}

bool Reconciler::CheckServer(const VirtualServerKey& key) {
  absl::StatusOr<ipvs::VirtualServer> server = table_.Get(key);
  if (!server.ok()) return false;
  ActualVirtualServer found = ToActual(*server);
  CompareServer(key, found);
  SetActual(key, std::move(found));
  return true;
}

void Reconciler::CheckAllServers() {
  absl::StatusOr<std::vector<ipvs::VirtualServer>> servers = table_.Dump();
  if (!servers.ok()) return;  // The next tick sees the same.
  absl::flat_hash_set<VirtualServerKey> seen;
  for (const ipvs::VirtualServer& server : *servers) {
    seen.insert(server.key);
    if (unread_servers_.contains(server.key)) continue;
    ActualVirtualServer found = ToActual(server);
    if (Owns(server.key)) {
      CompareServer(server.key, found);
    } else {
      foreign_servers_.insert(server.key);
    }
    SetActual(server.key, std::move(found));
  }
  std::vector<VirtualServerKey> missing;
  for (const auto& [key, server] : actual_servers_) {
    if (!seen.contains(key) && !unread_servers_.contains(key)) missing.push_back(key);
  }
  for (const VirtualServerKey& key : missing) {
    // A dump may miss what is there while somebody else writes.
    absl::StatusOr<ipvs::VirtualServer> server = table_.Get(key);
    if (!absl::IsNotFound(server.status())) continue;
    if (Owns(key)) CompareServer(key, std::nullopt);
    foreign_servers_.erase(key);
    EraseActual(key);
  }
}

bool Reconciler::SeesFlush() {
  if (!options_.count_ipv4_servers) return false;
  const absl::StatusOr<uint32_t> count = options_.count_ipv4_servers();
  if (!count.ok()) return false;  // The audit sees it, later.
  const bool fewer = *count < ipv4_servers_ + more_ipv4_servers_;
  more_ipv4_servers_ = *count > ipv4_servers_ ? *count - ipv4_servers_ : 0;
  return fewer;
}

void Reconciler::RememberOrder() {
  // A listing costs as much as some hundred virtual servers read back.
  if (!options_.list_in_order || 10 * servers_since_order_ <= kernel_order_.size()) return;
  const absl::StatusOr<std::vector<VirtualServerKey>> keys = options_.list_in_order();
  // Fewer than there should be: somebody is writing, or has flushed it.
  if (!keys.ok() || keys->size() < actual_servers_.size()) return;
  kernel_order_.clear();
  kernel_order_.reserve(keys->size());
  for (size_t i = 0; i < keys->size(); ++i) {
    kernel_order_.insert_or_assign((*keys)[i], static_cast<uint32_t>(i));
  }
  servers_since_order_ = 0;
}

void Reconciler::Audit(absl::Time now) {
  if (options_.audit_cycle == absl::InfiniteDuration() || now < next_audit_) return;
  next_audit_ = now + kAuditTick;
  const bool begins = audit_.empty();
  if (begins) {
    if (audit_began_ != absl::InfinitePast()) audit_took_ = now - audit_began_;
    audit_began_ = now;
    audit_ = OwnedVirtualServers();
    std::reverse(audit_.begin(), audit_.end());
    const int64_t ticks = std::max<int64_t>(1, options_.audit_cycle / kAuditTick);
    audit_share_ = (audit_.size() + static_cast<size_t>(ticks) - 1) / static_cast<size_t>(ticks);
    // The kernel does not tell of routes that go with their source address.
    routes_suspect_ = true;
  }
  const absl::Time start = absl::Now();
  if (SeesFlush()) servers_suspect_ = true;
  if (begins && !servers_suspect_) RememberOrder();
  // Nothing counts those of IPv6, and they come last: one of them is looked at each time.
  while (!audit_.empty() && audit_.front().family == IpFamily::kIpv6 && !Owns(audit_.front())) {
    audit_.erase(audit_.begin());
  }
  if (!audit_.empty() && audit_.front().family == IpFamily::kIpv6) Look(audit_.front());
  for (size_t i = 0; i < audit_share_ && !servers_suspect_ && !audit_.empty(); ++i) {
    Look(audit_.back());
    audit_.pop_back();
    if (absl::Now() - start > options_.tick_budget) break;
  }
  if (!servers_suspect_ || now < next_servers_check_) return;
  servers_suspect_ = false;
  const absl::Time before = absl::Now();
  CheckAllServers();
  next_servers_check_ = now + std::max(kMinFullCheck, kFullCheckRest * (absl::Now() - before));
}

}  // namespace fairlead
