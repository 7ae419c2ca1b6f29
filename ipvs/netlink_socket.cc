#include "ipvs/netlink_socket.h"

#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ipvs/errors.h"

namespace fairlead::ipvs {
namespace {

// The kernel fills dump pages of up to 32 KiB if the reader offers as much, and never longer ones:
// net/netlink/af_netlink.c. Smaller pages make a dump several times slower.
constexpr size_t kReceiveBytes = 64 << 10;

// netlink_sendmsg refuses more than the send buffer less 32 bytes.
constexpr int kSendOverhead = 32;

// Sets and reads back: the kernel doubles what it is given and has bounds of its own.
size_t SetBufferSize(int fd, int forced_option, int option, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, forced_option, &bytes, sizeof(bytes)) != 0) {
    setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes));
  }
  int actual = 0;
  socklen_t size = sizeof(actual);
  getsockopt(fd, SOL_SOCKET, option, &actual, &size);
  return actual > kSendOverhead ? actual - kSendOverhead : 0;
}

absl::Status StatusFromLibnl(int error, absl::string_view action) {
  switch (-error) {
    case NLE_OBJ_NOTFOUND:
      return StatusFromErrno(ENOENT, action);
    case NLE_PERM:
    case NLE_NOACCESS:
      return StatusFromErrno(EPERM, action);
    case NLE_NOMEM:
      return StatusFromErrno(ENOMEM, action);
    case NLE_BUSY:
    case NLE_AGAIN:
    case NLE_INTR:
      return StatusFromErrno(EBUSY, action);
    default:
      return absl::InternalError(absl::StrCat(action, ": ", nl_geterror(error)));
  }
}

}  // namespace

void NetlinkSocket::Deleter::operator()(nl_sock* socket) const { nl_socket_free(socket); }

NetlinkSocket::NetlinkSocket(std::unique_ptr<nl_sock, Deleter> socket, uint16_t family_id,
                             const Options& options)
    : socket_(std::move(socket)),
      fd_(nl_socket_get_fd(socket_.get())),
      family_id_(family_id),
      send_limit_(SetBufferSize(fd_, SO_SNDBUFFORCE, SO_SNDBUF, options.send_buffer_bytes)),
      receive_limit_(SetBufferSize(fd_, SO_RCVBUFFORCE, SO_RCVBUF, options.receive_buffer_bytes)),
      reply_timeout_(options.reply_timeout),
      buffer_(kReceiveBytes, '\0') {
  // Error replies without a copy of the request, where the kernel knows how (4.2): less memory.
  const int on = 1;
  setsockopt(fd_, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
}

absl::StatusOr<NetlinkSocket> NetlinkSocket::Open(const Options& options) {
  std::unique_ptr<nl_sock, Deleter> socket(nl_socket_alloc());
  if (socket == nullptr) return absl::ResourceExhaustedError("open a netlink socket: no memory");
  if (const int error = genl_connect(socket.get()); error < 0) {
    return StatusFromLibnl(error, "open a generic netlink socket");
  }
  const int family_id = genl_ctrl_resolve(socket.get(), IPVS_GENL_NAME);
  if (family_id < 0) return StatusFromLibnl(family_id, "find the netlink family of IPVS");
  return NetlinkSocket(std::move(socket), static_cast<uint16_t>(family_id), options);
}

absl::Status NetlinkSocket::Send(absl::string_view messages) {
  // The destination of an unconnected netlink socket is the kernel.
  ssize_t sent;
  do {
    sent = send(fd_, messages.data(), messages.size(), 0);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return StatusFromErrno(errno, "send to IPVS");
  return absl::OkStatus();
}

absl::StatusOr<absl::string_view> NetlinkSocket::Receive() {
  return ReceiveOne(Wait::kUntilTimeout);
}

absl::StatusOr<absl::string_view> NetlinkSocket::ReceivePending() { return ReceiveOne(Wait::kNo); }

void NetlinkSocket::DiscardReplies() {
  absl::Status status;
  do {
    status = ReceivePending().status();
  } while (status.ok() || absl::IsDataLoss(status));
}

absl::StatusOr<absl::string_view> NetlinkSocket::ReceiveOne(Wait wait) {
  while (true) {
    sockaddr_nl sender{};
    socklen_t sender_size = sizeof(sender);
    // MSG_TRUNC gives the datagram's own length, should it be longer than the buffer after all.
    const ssize_t received = recvfrom(fd_, buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC,
                                      reinterpret_cast<sockaddr*>(&sender), &sender_size);
    if (received >= 0) {
      if (sender.nl_pid != 0) continue;  // From a process that claims to be the kernel.
      if (static_cast<size_t>(received) > buffer_.size()) {
        return absl::DataLossError("a netlink datagram is longer than any should be");
      }
      return absl::string_view(buffer_.data(), received);
    }
    if (errno == EINTR) continue;
    if (errno == ENOBUFS) return absl::DataLossError("replies of IPVS were dropped");
    if (errno != EAGAIN) return StatusFromErrno(errno, "receive from IPVS");
    if (wait == Wait::kNo) return absl::DeadlineExceededError("no reply of IPVS is there");
    pollfd poll_fd{.fd = fd_, .events = POLLIN, .revents = 0};
    const int ready =
        poll(&poll_fd, 1, static_cast<int>(absl::ToInt64Milliseconds(reply_timeout_)));
    if (ready == 0) return absl::DeadlineExceededError("IPVS does not reply");
    if (ready < 0 && errno != EINTR) return StatusFromErrno(errno, "wait for IPVS");
  }
}

}  // namespace fairlead::ipvs
