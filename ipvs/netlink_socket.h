// A generic netlink socket to IPVS: datagrams in and out, and what can go wrong with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

struct nl_sock;

namespace fairlead::ipvs {

// Owns the socket. Thread-compatible. It belongs to the network namespace that the thread had which
// opened it, whichever thread uses it later.
class NetlinkSocket {
 public:
  struct Options {
    // What is asked of the kernel. Without CAP_NET_ADMIN it gives less, which the limits below
    // tell.
    int send_buffer_bytes = 4 << 20;
    int receive_buffer_bytes = 4 << 20;
    // The kernel answers before send returns, so that waiting means that something is wrong.
    absl::Duration reply_timeout = absl::Seconds(10);
  };

  // FAILED_PRECONDITION where the kernel has no IPVS.
  static absl::StatusOr<NetlinkSocket> Open(const Options& options);

  uint16_t family_id() const { return family_id_; }
  // For poll, or to do without this class; stays this object's.
  int fd() const { return fd_; }

  // Bytes that one Send takes at most, and that replies may occupy in the kernel until they are
  // received; both as the kernel counts them.
  size_t send_limit() const { return send_limit_; }
  size_t receive_limit() const { return receive_limit_; }

  // Sends messages to the kernel in one go, which has carried them all out when this returns; after
  // an error, none of them.
  absl::Status Send(absl::string_view messages);

  // The next datagram, valid until the next call. DATA_LOSS where the kernel dropped replies for
  // lack of room, which it says once and at any time; the replies that it kept can still be
  // received. DEADLINE_EXCEEDED when nothing came.
  absl::StatusOr<absl::string_view> Receive();

  // The same without waiting: DEADLINE_EXCEEDED when nothing is there.
  absl::StatusOr<absl::string_view> ReceivePending();

  // Throws away what is left of earlier answers, and with it ends a dump that was not read out.
  void DiscardReplies();

 private:
  struct Deleter {
    void operator()(nl_sock* socket) const;
  };

  NetlinkSocket(std::unique_ptr<nl_sock, Deleter> socket, uint16_t family_id,
                const Options& options);

  enum class Wait { kNo, kUntilTimeout };
  absl::StatusOr<absl::string_view> ReceiveOne(Wait wait);

  std::unique_ptr<nl_sock, Deleter> socket_;
  int fd_;
  uint16_t family_id_;
  size_t send_limit_;
  size_t receive_limit_;
  absl::Duration reply_timeout_;
  std::string buffer_;
};

}  // namespace fairlead::ipvs
