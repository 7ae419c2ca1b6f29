// The IPVS table of the running kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "ipvs/codec.h"
#include "ipvs/netlink_socket.h"
#include "ipvs/table.h"

namespace fairlead::ipvs {

class BatchReplies;

// Most operations in one send. Beyond some hundreds the kernel gains nothing, and the replies to
// this many, should all fail, take 1 MiB of the receive buffer.
inline constexpr size_t kMaxBatch = 1024;

// How often a dump is read that the kernel says was interrupted by a change.
inline constexpr int kMaxDumpAttempts = 5;

// The kernel's dump of virtual servers is an index into a hash table that all network namespaces
// share: while virtual servers come or go, be it in another namespace, it skips or repeats others.
// So they are read until two readings in a row agree, at most this often, and all that any reading
// has found are looked at.
inline constexpr int kMaxReadings = 10;

// The table of one network namespace: the one that the thread is in which calls Open.
// Thread-compatible; may be used by another thread than the one that opened it.
//
// Needs CAP_NET_ADMIN: without it every call is PERMISSION_DENIED. Where another process adds or
// deletes many real servers of one virtual server, Dump and Get can miss others of the same. An
// interrupted dump is read again, up to kMaxDumpAttempts times; after that, as when replies are
// lost, Dump and Get are UNAVAILABLE.
class KernelTable : public Table {
 public:
  struct Options {
    NetlinkSocket::Options socket;
    // At most kMaxBatch, and never more than the socket's buffers hold; at least 1.
    size_t batch = kMaxBatch;
  };

  // FAILED_PRECONDITION where the kernel has no IPVS; it is not loaded from here.
  static absl::StatusOr<std::unique_ptr<KernelTable>> Open(const Options& options);
  static absl::StatusOr<std::unique_ptr<KernelTable>> Open() { return Open(Options()); }

  absl::StatusOr<std::vector<VirtualServer>> Dump() override;
  absl::StatusOr<std::vector<VirtualServer>> DumpWhere(
      absl::FunctionRef<bool(const VirtualServer&)> whole) override;
  absl::StatusOr<VirtualServer> Get(const VirtualServerKey& key) override;
  std::vector<absl::Status> Apply(absl::Span<const Operation> operations) override;

  // The virtual servers in the order of the kernel's own table, which is the one in which a flush
  // takes them out. Some may be missing, or there twice, where somebody else writes meanwhile.
  absl::StatusOr<std::vector<VirtualServerKey>> ListInOrder();

  // Operations per send: Options::batch within its limits.
  size_t batch() const { return batch_; }

 private:
  KernelTable(NetlinkSocket socket, size_t batch);

  Frame NextFrame() { return {.family_id = socket_.family_id(), .sequence = ++sequence_}; }

  void ApplyBatch(absl::Span<const Operation> operations, absl::Span<absl::Status> statuses);
  void ReceiveReplies(BatchReplies* replies);

  // Virtual servers without their real servers, sorted; some may have been deleted meanwhile.
  absl::StatusOr<std::vector<VirtualServer>> ReadVirtualServers();
  absl::StatusOr<std::vector<VirtualServer>> ReadVirtualServersOnce();
  // As the kernel has them.
  absl::StatusOr<std::vector<VirtualServer>> ReadVirtualServersInOrder();
  // One, without its real servers.
  absl::StatusOr<VirtualServer> GetAlone(const VirtualServerKey& key);
  // The real servers of `server`, sorted. NOT_FOUND if there is no such virtual server (any more).
  absl::Status ReadRealServers(VirtualServer* server);

  // Sends the request that `encode` appends, and hands the payload of each entry to `take`, which
  // starts from nothing when `restart` is called. A failure of `take` fails the dump.
  absl::Status RunDump(absl::string_view action,
                       absl::FunctionRef<void(const Frame&, std::string*)> encode,
                       absl::FunctionRef<void()> restart,
                       absl::FunctionRef<absl::Status(absl::string_view)> take);
  absl::Status RunDumpOnce(absl::string_view action,
                           absl::FunctionRef<void(const Frame&, std::string*)> encode,
                           absl::FunctionRef<absl::Status(absl::string_view)> take);
  // Sends buffer_, which holds one request, after throwing away what an earlier one left.
  absl::Status SendRequest();

  NetlinkSocket socket_;
  const size_t batch_;
  uint32_t sequence_ = 0;
  std::string buffer_;  // What is sent; kept for its capacity.
  bool stale_replies_ = false;
};

}  // namespace fairlead::ipvs
