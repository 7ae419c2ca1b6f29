// A netlink socket, and what its errors mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proxy/kernel/netlink_message.h"

namespace fairlead {

// What an errno of a netlink request means to callers. The message has `context`, the error's name,
// the kernel's `text` if there is one, and what an operator does about it if there is something.
//   NOT_FOUND            ENOENT, ESRCH, ENODEV
//   ALREADY_EXISTS       EEXIST
//   PERMISSION_DENIED    EPERM, EACCES
//   RESOURCE_EXHAUSTED   ENOMEM, ENOBUFS, EMSGSIZE, ENOSPC, EMFILE, ENFILE
//   UNAVAILABLE          EBUSY, EINTR, EAGAIN: somebody else is at it, try again
//   INVALID_ARGUMENT     EINVAL, ERANGE
//   FAILED_PRECONDITION  EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT: not in this kernel; ENETDOWN
//   INTERNAL             anything else
absl::Status NetlinkStatus(int error, absl::string_view context, absl::string_view text = "");

// Requests to the kernel and its answers. Belongs to the network namespace of the thread that
// opened it. Thread-compatible.
//
// nfnetlink and rtnetlink carry requests out within sendmsg(), so that all answers are there when
// it returns: nothing here waits.
class NetlinkSocket {
 public:
  // `protocol` is NETLINK_ROUTE, NETLINK_NETFILTER, …. FAILED_PRECONDITION if the kernel lacks it.
  static absl::StatusOr<NetlinkSocket> Open(int protocol);

  NetlinkSocket(NetlinkSocket&& other) noexcept;
  NetlinkSocket& operator=(NetlinkSocket&&) = delete;
  ~NetlinkSocket();

  // What notifications of changes that were made by this socket carry as nlmsg_pid. No other socket
  // of the protocol has it in this network namespace.
  uint32_t port_id() const { return port_id_; }

  // The first of `count` sequence numbers that are not used otherwise.
  uint32_t TakeSequences(uint32_t count);

  // The largest request that can be sent: kMaxRequestBytes where the process may have that much
  // (CAP_NET_ADMIN), else by net.core.wmem_max.
  size_t max_request_bytes() const { return max_request_bytes_; }
  static constexpr size_t kMaxRequestBytes = 8 << 20;

  // Sends the request, of any number of messages, and calls `visit` for every answer. UNKNOWN where
  // answers were lost (the requests were carried out all the same: read back); an error of `visit`
  // is returned as it is.
  absl::Status Exchange(absl::string_view request,
                        absl::FunctionRef<absl::Status(const Message&)> visit);

  // Sends a dump request and calls `visit` for each message of the answer. OK only if the kernel
  // said that the answer is complete and consistent. UNAVAILABLE if somebody changed what was
  // dumped meanwhile (NLM_F_DUMP_INTR, EINTR, EBUSY), UNKNOWN if a part of it was lost. Errors name
  // `context`.
  absl::Status Dump(absl::string_view request, absl::string_view context,
                    absl::FunctionRef<absl::Status(const Message&)> visit);

 private:
  NetlinkSocket(int fd, uint32_t port_id);

  absl::Status Send(absl::string_view request);
  // The next datagram, in buffer_; empty where there is none.
  absl::StatusOr<absl::string_view> Receive();
  // Throws away answers to requests that ended with an error.
  void Drain();

  int fd_;
  uint32_t port_id_;
  size_t max_request_bytes_ = 0;
  uint32_t next_sequence_ = 1;
  std::vector<char> buffer_;
};

// Calls `dump` until its result is neither UNAVAILABLE nor UNKNOWN, at most kMaxDumpAttempts times.
inline constexpr int kMaxDumpAttempts = 16;
absl::Status RetryInterrupted(absl::FunctionRef<absl::Status()> dump);

}  // namespace fairlead
