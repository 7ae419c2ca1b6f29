#include "proxy/kernel/address_monitor.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstring>
#include <optional>
#include <string>
#include <utility>

namespace fairlead {
namespace {

std::string EncodeAddressDump(uint32_t sequence) {
  const ifaddrmsg header{};  // Both families.
  std::string out;
  MessageWriter(out, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, sequence, AsBytes(header)).Finish();
  return out;
}

bool IsUsable(uint32_t flags) {
  // An optimistic address is used while it is tentative (RFC 4429).
  return (flags & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)) != IFA_F_TENTATIVE;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AddressMonitor>> AddressMonitor::Start(
    std::function<void()> changed) {
  // Subscribed first: what happens between is heard, and taken in after what was read.
  absl::StatusOr<NetlinkEvents> events =
      NetlinkEvents::Open({.protocol = NETLINK_ROUTE,
                           .groups = {RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR},
                           .what = "changes of addresses"});
  if (!events.ok()) return events.status();
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!socket.ok()) return socket.status();
  std::unique_ptr<AddressMonitor> monitor(
      new AddressMonitor(std::move(changed), *std::move(events), *std::move(socket)));
  if (absl::Status status = monitor->ReadAddresses(); !status.ok()) return status;
  auto thread = EventThread::Start({monitor->events_.fd()}, [raw = monitor.get()] {
    if (raw->ReadEvents()) raw->changed_();
  });
  if (!thread.ok()) return thread.status();
  monitor->thread_ = *std::move(thread);
  return monitor;
}

absl::Status AddressMonitor::ReadAddresses() {
  return RetryInterrupted([&] {
    seen_.clear();
    return socket_.Dump(EncodeAddressDump(socket_.TakeSequences(1)), "dump of addresses",
                        [&](const Message& message) { return Take(message).status(); });
  });
}

absl::StatusOr<bool> AddressMonitor::Take(const Message& message) {
  ifaddrmsg header;
  absl::string_view rest = message.payload;
  if (message.type != RTM_NEWADDR && message.type != RTM_DELADDR) return false;
  if (!ConsumeHeader(rest, &header, sizeof(header))) {
    return absl::DataLossError("rtnetlink: not an address");
  }
  uint32_t flags = header.ifa_flags;
  // Where there is IFA_LOCAL, it is the node's own and IFA_ADDRESS its peer's.
  std::optional<absl::string_view> local, address;
  absl::Status status = ForEachAttribute(rest, [&](uint16_t type, absl::string_view payload) {
    if (type == IFA_LOCAL) local = payload;
    if (type == IFA_ADDRESS) address = payload;
    // All flags; the header has room for eight.
    if (type == IFA_FLAGS && payload.size() == sizeof(flags)) {
      std::memcpy(&flags, payload.data(), sizeof(flags));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  absl::StatusOr<IpAddress> own = IpAddress::FromBytes(local.value_or(address.value_or("")));
  if (!own.ok()) return absl::DataLossError(own.status().message());
  Key key = {header.ifa_index, *own};
  if (own->is_v4()) {
    absl::StatusOr<IpAddress> peer = IpAddress::FromBytes(address.value_or(own->bytes()));
    if (!peer.ok()) return absl::DataLossError(peer.status().message());
    key.peer = *peer;
    key.prefix_length = header.ifa_prefixlen;
  }
  if (message.type == RTM_DELADDR) {
    seen_.erase(key);
    // Also of one that was not seen: an address can be read while it is tentative, and be deleted
    // before the kernel has told of it.
    return true;
  }
  const bool usable = IsUsable(flags);
  const auto [entry, added] = seen_.try_emplace(key, usable);
  const bool became_usable = usable && !entry->second;
  entry->second = usable;
  return added || became_usable;
}

bool AddressMonitor::ReadEvents() {
  bool changed = false;
  const bool complete = events_.Read([&](const Message& message) {
    absl::StatusOr<bool> difference = Take(message);
    changed |= difference.ok() && *difference;
    return difference.status();
  });
  if (complete) return changed;
  // Only now that all is read does the kernel queue again. Should the dump fail, addresses that are
  // missing in seen_ are told once more.
  ReadAddresses().IgnoreError();
  return true;
}

}  // namespace fairlead
