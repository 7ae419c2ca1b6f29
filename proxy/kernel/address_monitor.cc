#include "proxy/kernel/address_monitor.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

namespace fairlead {
namespace {

// The kernel tells of one address per datagram, in some hundred bytes.
constexpr size_t kDatagramBytes = 16 << 10;

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
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!socket.ok()) return socket.status();
  std::unique_ptr<AddressMonitor> monitor(
      new AddressMonitor(std::move(changed), *std::move(socket)));
  // Subscribed first: what happens between is heard, and taken in after what was read.
  if (absl::Status status = monitor->Subscribe(); !status.ok()) return status;
  if (absl::Status status = monitor->ReadAddresses(); !status.ok()) return status;
  monitor->thread_ = std::thread([raw = monitor.get()] { raw->Run(); });
  return monitor;
}

AddressMonitor::~AddressMonitor() {
  if (thread_.joinable()) {
    eventfd_write(stop_fd_, 1);
    thread_.join();
  }
  if (events_fd_ >= 0) close(events_fd_);
  if (stop_fd_ >= 0) close(stop_fd_);
}

absl::Status AddressMonitor::Subscribe() {
  stop_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stop_fd_ < 0) return absl::ErrnoToStatus(errno, "eventfd");
  events_fd_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (events_fd_ < 0) return NetlinkStatus(errno, "cannot open a netlink socket for events");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (bind(events_fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return NetlinkStatus(errno, "cannot subscribe to changes of addresses");
  }
  return absl::OkStatus();
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

void AddressMonitor::Run() {
  for (;;) {
    std::array<pollfd, 2> fds = {{{events_fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}}};
    // It fails when a signal comes; then there is nothing to read.
    poll(fds.data(), fds.size(), -1);
    if (fds[1].revents != 0) return;
    if (ReadEvents()) changed_();
  }
}

bool AddressMonitor::ReadEvents() {
  bool changed = false;
  bool lost = false;
  std::array<char, kDatagramBytes> buffer;
  for (;;) {
    sockaddr_nl sender{};
    iovec part = {buffer.data(), buffer.size()};
    msghdr datagram{};
    datagram.msg_name = &sender;
    datagram.msg_namelen = sizeof(sender);
    datagram.msg_iov = &part;
    datagram.msg_iovlen = 1;
    const ssize_t received = recvmsg(events_fd_, &datagram, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == EAGAIN) break;
    if (received < 0) {
      lost = true;
      // ENOBUFS is said once; what was there before is still there to read.
      if (errno == ENOBUFS) continue;
      break;
    }
    // Any process may send to us; only the kernel is believed.
    if (sender.nl_pid != 0) continue;
    absl::Status status =
        ForEachMessage(absl::string_view(buffer.data(), static_cast<size_t>(received)),
                       [&](const Message& message) {
                         absl::StatusOr<bool> difference = Take(message);
                         changed |= difference.ok() && *difference;
                         return difference.status();
                       });
    lost |= !status.ok() || (datagram.msg_flags & MSG_TRUNC) != 0;
  }
  if (!lost) return changed;
  // Only now: until the last one is read, the kernel drops all that comes, and does not say it
  // again (net/netlink/af_netlink.c, netlink_overrun). Should the dump fail, addresses that are
  // missing in seen_ are told once more.
  ReadAddresses().IgnoreError();
  return true;
}

}  // namespace fairlead
