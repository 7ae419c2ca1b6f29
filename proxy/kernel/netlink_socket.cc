#include "proxy/kernel/netlink_socket.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ipvs/errors.h"

namespace fairlead {
namespace {

// Answers of one request that the kernel keeps for us: a thousand errors and more.
constexpr int kReceiveBufferBytes = 8 << 20;
// The kernel's dumps come in pieces of up to 32 KiB where the reader takes as much
// (net/netlink/af_netlink.c, netlink_recvmsg).
constexpr size_t kDatagramBytes = 64 << 10;
// struct sk_buff's share of the send buffer (netlink_sendmsg: sk_sndbuf - 32).
constexpr size_t kSendOverheadBytes = 32;

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
    case ESRCH:
    case ENODEV:
      return absl::StatusCode::kNotFound;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case EPERM:
    case EACCES:
      return absl::StatusCode::kPermissionDenied;
    case ENOMEM:
    case ENOBUFS:
    case EMSGSIZE:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
      return absl::StatusCode::kResourceExhausted;
    case EBUSY:
    case EINTR:
    case EAGAIN:
      return absl::StatusCode::kUnavailable;
    case EINVAL:
    case ERANGE:
      return absl::StatusCode::kInvalidArgument;
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
    case ENETDOWN:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kInternal;
  }
}

// What an operator does about it, as the end of a message.
absl::string_view Advice(int error) {
  switch (error) {
    case ENOSPC:
      return ": a limit of the kernel is reached";
    case ENFILE:
      // Of a socket it is the table of open files, of nftables a set that is full.
      return ": raise the sysctl fs.file-max, or the set's size";
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
    case EOPNOTSUPP:
      return ": this kernel lacks it, or its module is not loaded";
    case ENETDOWN:
      return ": is the device lo up? Run `ip link set lo up`";
    default:
      return ipvs::AdviceOnErrno(error);
  }
}

// The forced size is beyond net.core.*mem_max, and needs CAP_NET_ADMIN; else what may be had.
void SetBuffer(int fd, int forced_option, int option, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, forced_option, &bytes, sizeof(bytes)) != 0) {
    setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes));
  }
}

void SetOption(int fd, int option) {
  // An old kernel without it answers with less, and works.
  const int on = 1;
  setsockopt(fd, SOL_NETLINK, option, &on, sizeof(on));
}

// That answers were dropped and that a datagram is too long is said once.
bool CanReadOn(const absl::Status& status) {
  return absl::IsUnknown(status) || absl::IsDataLoss(status);
}

}  // namespace

absl::Status NetlinkStatus(int error, absl::string_view context, absl::string_view text) {
  const char* name = strerrordesc_np(error);
  return absl::Status(
      CodeOf(error),
      absl::StrCat(context, ": ", name != nullptr ? name : absl::StrCat(error),
                   text.empty() ? "" : " (", text, text.empty() ? "" : ")", Advice(error)));
}

absl::StatusOr<NetlinkSocket> NetlinkSocket::Open(int protocol) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0) {
    return NetlinkStatus(errno, absl::StrCat("cannot open a netlink socket, protocol ", protocol));
  }
  // The kernel chooses the port id.
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  socklen_t size = sizeof(address);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    const int error = errno;
    close(fd);
    return NetlinkStatus(error, absl::StrCat("cannot bind a netlink socket, protocol ", protocol));
  }
  return NetlinkSocket(fd, address.nl_pid);
}

NetlinkSocket::NetlinkSocket(int fd, uint32_t port_id)
    : fd_(fd), port_id_(port_id), buffer_(kDatagramBytes) {
  // The kernel doubles what it is asked for (net/core/sock.c, __sock_set_rcvbuf).
  SetBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, NetlinkSocket::kMaxRequestBytes);
  SetBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, kReceiveBufferBytes / 2);
  // Errors without an echo of the request, with the kernel's words and the place of the fault.
  SetOption(fd, NETLINK_CAP_ACK);
  SetOption(fd, NETLINK_EXT_ACK);
  // Dumps are filtered by the kernel.
  SetOption(fd, NETLINK_GET_STRICT_CHK);
  int bytes = 0;
  socklen_t size = sizeof(bytes);
  getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &size);
  max_request_bytes_ = std::min(static_cast<size_t>(bytes) - kSendOverheadBytes, kMaxRequestBytes);
}

NetlinkSocket::NetlinkSocket(NetlinkSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      port_id_(other.port_id_),
      max_request_bytes_(other.max_request_bytes_),
      next_sequence_(other.next_sequence_),
      buffer_(std::move(other.buffer_)) {}

NetlinkSocket::~NetlinkSocket() {
  if (fd_ >= 0) close(fd_);
}

uint32_t NetlinkSocket::TakeSequences(uint32_t count) {
  return std::exchange(next_sequence_, next_sequence_ + count);
}

absl::Status NetlinkSocket::Send(absl::string_view request) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent = sendto(fd_, request.data(), request.size(), 0,
                              reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel));
  if (sent >= 0) return absl::OkStatus();
  return NetlinkStatus(errno, absl::StrCat("cannot send ", request.size(), " bytes by netlink"));
}

absl::StatusOr<absl::string_view> NetlinkSocket::Receive() {
  for (;;) {
    sockaddr_nl sender{};
    iovec part = {buffer_.data(), buffer_.size()};
    msghdr datagram{};
    datagram.msg_name = &sender;
    datagram.msg_namelen = sizeof(sender);
    datagram.msg_iov = &part;
    datagram.msg_iovlen = 1;
    const ssize_t received = recvmsg(fd_, &datagram, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == EAGAIN) return absl::string_view();
    if (received < 0 && errno == ENOBUFS) {
      return absl::UnknownError("netlink: answers were lost, as they were too many at once");
    }
    if (received < 0) return NetlinkStatus(errno, "cannot receive by netlink");
    // Any process may send to us; only the kernel is believed.
    if (sender.nl_pid != 0) continue;
    if ((datagram.msg_flags & MSG_TRUNC) != 0) {
      return absl::DataLossError("netlink: an answer is longer than the buffer");
    }
    return absl::string_view(buffer_.data(), static_cast<size_t>(received));
  }
}

void NetlinkSocket::Drain() {
  for (;;) {
    absl::StatusOr<absl::string_view> datagram = Receive();
    // An error is of a request that has been reported as failed.
    if (datagram.ok() ? datagram->empty() : !CanReadOn(datagram.status())) return;
  }
}

absl::Status NetlinkSocket::Exchange(absl::string_view request,
                                     absl::FunctionRef<absl::Status(const Message&)> visit) {
  Drain();
  if (absl::Status status = Send(request); !status.ok()) return status;
  absl::Status result;
  for (;;) {
    absl::StatusOr<absl::string_view> datagram = Receive();
    // After a loss the answers that were kept still count.
    if (datagram.ok() && datagram->empty()) return result;
    result.Update(datagram.ok() ? ForEachMessage(*datagram, visit) : datagram.status());
    if (!datagram.ok() && !CanReadOn(datagram.status())) return result;
  }
}

absl::Status NetlinkSocket::Dump(absl::string_view request, absl::string_view context,
                                 absl::FunctionRef<absl::Status(const Message&)> visit) {
  bool done = false;
  bool interrupted = false;
  absl::Status status = Exchange(request, [&](const Message& message) {
    interrupted |= (message.flags & NLM_F_DUMP_INTR) != 0;
    if (message.type == NLMSG_ERROR) {
      absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
      if (!ack.ok()) return ack.status();
      return ack->error == 0 ? absl::OkStatus() : NetlinkStatus(ack->error, context, ack->text);
    }
    if (message.type == NLMSG_DONE) {
      done = true;
      int error = 0;
      absl::string_view payload = message.payload;
      // A dump that fails on its way says so in its last message.
      if (ConsumeHeader(payload, &error, sizeof(error)) && error < 0) {
        return NetlinkStatus(-error, context);
      }
      return absl::OkStatus();
    }
    return message.type < NLMSG_MIN_TYPE ? absl::OkStatus() : visit(message);
  });
  if (absl::IsUnknown(status)) {
    return absl::UnknownError(absl::StrCat(context, ": ", status.message()));
  }
  if (!status.ok()) return status;
  if (interrupted || !done) {
    return absl::UnavailableError(absl::StrCat(context, ": changed while it was read"));
  }
  return absl::OkStatus();
}

absl::Status RetryInterrupted(absl::FunctionRef<absl::Status()> dump) {
  absl::Status status;
  for (int attempt = 0; attempt < kMaxDumpAttempts; ++attempt) {
    status = dump();
    if (!absl::IsUnavailable(status) && !absl::IsUnknown(status)) return status;
  }
  return status;
}

}  // namespace fairlead
