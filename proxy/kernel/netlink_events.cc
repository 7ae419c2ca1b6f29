#include "proxy/kernel/netlink_events.h"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "proxy/kernel/netlink_socket.h"

namespace fairlead {
namespace {

// Notifications are of one object, or of several in a page (net/netfilter/nf_tables_api.c,
// nft_commit_notify).
constexpr size_t kDatagramBytes = 64 << 10;

absl::Status AttachFilter(int fd, const std::vector<sock_filter>& filter) {
  if (filter.empty()) return absl::OkStatus();
  const sock_fprog program = {static_cast<uint16_t>(filter.size()),
                              const_cast<sock_filter*>(filter.data())};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0) {
    return absl::OkStatus();
  }
  return NetlinkStatus(errno, "cannot attach a filter");
}

void SetReceiveBuffer(int fd, int bytes) {
  if (bytes == 0) return;
  // The kernel doubles what it is asked for (net/core/sock.c, __sock_set_rcvbuf).
  const int half = bytes / 2;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &half, sizeof(half)) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &half, sizeof(half));
  }
}

}  // namespace

absl::StatusOr<NetlinkEvents> NetlinkEvents::Open(const NetlinkEventsOptions& options) {
  const std::string context = absl::StrCat("cannot hear of ", options.what);
  NetlinkEvents events(
      socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, options.protocol));
  if (events.fd_ < 0) return NetlinkStatus(errno, context);
  SetReceiveBuffer(events.fd_, options.receive_buffer_bytes);
  // Before it hears the first one.
  if (absl::Status status = AttachFilter(events.fd_, options.filter); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
  }
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (bind(events.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return NetlinkStatus(errno, context);
  }
  for (const uint32_t group : options.groups) {
    if (absl::Status joined = events.Join(group); !joined.ok()) {
      return absl::Status(joined.code(), absl::StrCat(context, ": ", joined.message()));
    }
  }
  return events;
}

absl::Status NetlinkEvents::Leave(uint32_t group) const {
  if (setsockopt(fd_, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, &group, sizeof(group)) == 0) {
    return absl::OkStatus();
  }
  return NetlinkStatus(errno, absl::StrCat("cannot leave group ", group));
}

absl::Status NetlinkEvents::Join(uint32_t group) const {
  if (setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0) {
    return absl::OkStatus();
  }
  return NetlinkStatus(errno, absl::StrCat("cannot join group ", group));
}

NetlinkEvents::~NetlinkEvents() {
  if (fd_ >= 0) close(fd_);
}

bool NetlinkEvents::Read(absl::FunctionRef<absl::Status(const Message&)> visit) {
  bool complete = true;
  std::array<char, kDatagramBytes> buffer;
  for (;;) {
    sockaddr_nl sender{};
    iovec part = {buffer.data(), buffer.size()};
    msghdr datagram{};
    datagram.msg_name = &sender;
    datagram.msg_namelen = sizeof(sender);
    datagram.msg_iov = &part;
    datagram.msg_iovlen = 1;
    const ssize_t received = recvmsg(fd_, &datagram, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == EAGAIN) return complete;
    if (received < 0) {
      complete = false;
      // ENOBUFS is said once; what was there before is still there to read. Until the last one is
      // read, the kernel drops all that comes, and does not say it again
      // (net/netlink/af_netlink.c, netlink_overrun).
      if (errno == ENOBUFS) continue;
      return complete;
    }
    // Any process may send to us; only the kernel is believed.
    if (sender.nl_pid != 0) continue;
    const absl::Status status =
        ForEachMessage(absl::string_view(buffer.data(), static_cast<size_t>(received)), visit);
    complete &= status.ok() && (datagram.msg_flags & MSG_TRUNC) == 0;
  }
}

absl::StatusOr<std::unique_ptr<EventThread>> EventThread::Start(std::vector<int> descriptors,
                                                                std::function<void()> ready) {
  const int stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stop_fd < 0) return absl::ErrnoToStatus(errno, "eventfd");
  return std::unique_ptr<EventThread>(
      new EventThread(std::move(descriptors), std::move(ready), stop_fd));
}

EventThread::EventThread(std::vector<int> descriptors, std::function<void()> ready, int stop_fd)
    : descriptors_(std::move(descriptors)),
      ready_(std::move(ready)),
      stop_fd_(stop_fd),
      thread_([this] { Run(); }) {}

EventThread::~EventThread() {
  eventfd_write(stop_fd_, 1);
  thread_.join();
  close(stop_fd_);
}

void EventThread::Run() {
  std::vector<pollfd> fds = {{stop_fd_, POLLIN, 0}};
  for (const int descriptor : descriptors_) fds.push_back({descriptor, POLLIN, 0});
  for (;;) {
    // It fails when a signal comes; then there is nothing to read.
    poll(fds.data(), fds.size(), -1);
    if (fds[0].revents != 0) return;
    ready_();
  }
}

}  // namespace fairlead
