#include "ipvs/kernel_table.h"

#include <linux/netlink.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ipvs/errors.h"
#include "ipvs/replies.h"
#include "ipvs/validate.h"

namespace fairlead::ipvs {
namespace {

// What an error reply occupies in the receive buffer: struct sk_buff and its data, rounded up.
constexpr size_t kReplyBytes = 1024;

// Codes of the socket's that a caller is not to see.
absl::Status AsUnavailable(const absl::Status& status, absl::string_view action) {
  if (!absl::IsDataLoss(status) && !absl::IsDeadlineExceeded(status) && !absl::IsAborted(status)) {
    return status;
  }
  return absl::UnavailableError(absl::StrCat(action, ": ", status.message()));
}

bool KeyLess(const VirtualServer& a, const VirtualServer& b) { return a.key < b.key; }
bool SameKey(const VirtualServer& a, const VirtualServer& b) { return a.key == b.key; }

}  // namespace

absl::StatusOr<std::unique_ptr<KernelTable>> KernelTable::Open(const Options& options) {
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(options.socket);
  if (!socket.ok()) return socket.status();
  const size_t batch = std::min({options.batch, kMaxBatch, socket->send_limit() / kMaxRequestSize,
                                 socket->receive_limit() / kReplyBytes});
  return std::unique_ptr<KernelTable>(
      new KernelTable(*std::move(socket), std::max<size_t>(batch, 1)));
}

KernelTable::KernelTable(NetlinkSocket socket, size_t batch)
    : socket_(std::move(socket)), batch_(batch) {}

std::vector<absl::Status> KernelTable::Apply(absl::Span<const Operation> operations) {
  std::vector<absl::Status> statuses(operations.size());
  for (size_t begin = 0; begin < operations.size(); begin += batch_) {
    ApplyBatch(operations.subspan(begin, batch_), absl::MakeSpan(statuses).subspan(begin, batch_));
  }
  return statuses;
}

void KernelTable::ApplyBatch(absl::Span<const Operation> operations,
                             absl::Span<absl::Status> statuses) {
  buffer_.clear();
  const uint32_t first_sequence = sequence_ + 1;
  size_t last = 0;
  size_t last_offset = 0;
  for (size_t i = 0; i < operations.size(); ++i) {
    const Frame frame = NextFrame();
    statuses[i] = ValidateOperation(operations[i]);
    if (!statuses[i].ok()) continue;
    last = i;
    last_offset = buffer_.size();
    EncodeOperation(operations[i], frame, &buffer_);
  }
  if (buffer_.empty()) return;
  RequestAcknowledgement(last_offset, &buffer_);

  if (const absl::Status sent = SendRequest(); !sent.ok()) {
    for (absl::Status& status : statuses) {
      if (status.ok()) status = sent;
    }
    return;
  }
  BatchReplies replies(first_sequence, last, operations, statuses);
  ReceiveReplies(&replies);
  replies.Finish();
}

void KernelTable::ReceiveReplies(BatchReplies* replies) {
  while (!replies->complete()) {
    // Once replies are lost the last may be among them: what is there was there before send
    // returned, and a wait would be in vain.
    const absl::StatusOr<absl::string_view> datagram =
        replies->lost() ? socket_.ReceivePending() : socket_.Receive();
    if (datagram.ok()) {
      replies->Take(*datagram);
      continue;
    }
    replies->TakeLoss();
    if (!absl::IsDataLoss(datagram.status())) {
      stale_replies_ = true;
      return;
    }
  }
}

absl::StatusOr<std::vector<VirtualServer>> KernelTable::Dump() {
  return DumpWhere([](const VirtualServer&) { return true; });
}

absl::StatusOr<std::vector<VirtualServer>> KernelTable::DumpWhere(
    absl::FunctionRef<bool(const VirtualServer&)> whole) {
  absl::StatusOr<std::vector<VirtualServer>> servers = ReadVirtualServers();
  if (!servers.ok()) return servers;
  std::vector<VirtualServer> result;
  result.reserve(servers->size());
  for (VirtualServer& server : *servers) {
    if (whole(server)) {
      const absl::Status status = ReadRealServers(&server);
      if (absl::IsNotFound(status)) continue;  // Deleted meanwhile.
      if (!status.ok()) return status;
    }
    result.push_back(std::move(server));
  }
  return result;
}

absl::StatusOr<std::vector<VirtualServer>> KernelTable::ReadVirtualServers() {
  absl::StatusOr<std::vector<VirtualServer>> last = ReadVirtualServersOnce();
  if (!last.ok()) return last;
  std::vector<VirtualServer> known = *last;
  for (int readings = 1; readings < kMaxReadings; ++readings) {
    absl::StatusOr<std::vector<VirtualServer>> next = ReadVirtualServersOnce();
    if (!next.ok()) return next;
    const bool agree = std::equal(next->begin(), next->end(), last->begin(), last->end(), SameKey);
    // Of two with the same key, std::set_union takes that of the first range: the newer one.
    std::vector<VirtualServer> united;
    std::set_union(next->begin(), next->end(), std::make_move_iterator(known.begin()),
                   std::make_move_iterator(known.end()), std::back_inserter(united), KeyLess);
    known = std::move(united);
    if (agree) break;
    last = std::move(next);
  }
  return known;
}

absl::StatusOr<std::vector<VirtualServer>> KernelTable::ReadVirtualServersOnce() {
  absl::StatusOr<std::vector<VirtualServer>> servers = ReadVirtualServersInOrder();
  if (!servers.ok()) return servers;
  std::sort(servers->begin(), servers->end(), KeyLess);
  servers->erase(std::unique(servers->begin(), servers->end(), SameKey), servers->end());
  return servers;
}

absl::StatusOr<std::vector<VirtualServerKey>> KernelTable::ListInOrder() {
  const absl::StatusOr<std::vector<VirtualServer>> servers = ReadVirtualServersInOrder();
  if (!servers.ok()) return servers.status();
  std::vector<VirtualServerKey> keys;
  keys.reserve(servers->size());
  for (const VirtualServer& server : *servers) keys.push_back(server.key);
  return keys;
}

absl::StatusOr<std::vector<VirtualServer>> KernelTable::ReadVirtualServersInOrder() {
  std::vector<VirtualServer> servers;
  const absl::Status status = RunDump(
      "dump virtual servers", EncodeDumpVirtualServers, [&] { servers.clear(); },
      [&](absl::string_view payload) {
        absl::StatusOr<VirtualServer> server = DecodeVirtualServer(payload);
        if (!server.ok()) return server.status();
        servers.push_back(*std::move(server));
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  return servers;
}

absl::StatusOr<VirtualServer> KernelTable::Get(const VirtualServerKey& key) {
  absl::StatusOr<VirtualServer> server = GetAlone(key);
  if (!server.ok()) return server;
  const absl::Status status = ReadRealServers(&*server);
  if (!status.ok()) return status;
  return server;
}

absl::StatusOr<VirtualServer> KernelTable::GetAlone(const VirtualServerKey& key) {
  const std::string action = absl::StrCat("get virtual server ", key.Format());
  buffer_.clear();
  const Frame frame = NextFrame();
  EncodeGetVirtualServer(key, frame, &buffer_);
  if (absl::Status sent = SendRequest(); !sent.ok()) return sent;
  while (true) {
    absl::StatusOr<absl::string_view> datagram = socket_.Receive();
    if (!datagram.ok()) {
      stale_replies_ = true;
      return AsUnavailable(datagram.status(), action);
    }
    while (!datagram->empty()) {
      const absl::StatusOr<Message> message = DecodeMessage(&*datagram);
      if (!message.ok()) return message.status();
      if (message->sequence != frame.sequence) continue;
      if (message->type == socket_.family_id()) return DecodeVirtualServer(message->payload);
      if (message->type != NLMSG_ERROR) continue;
      const absl::StatusOr<int> error = DecodeErrno(message->payload);
      if (!error.ok()) return error.status();
      if (*error != 0) return StatusFromErrno(*error, action);
    }
  }
}

absl::Status KernelTable::ReadRealServers(VirtualServer* server) {
  std::vector<RealServer>& real_servers = server->real_servers;
  const absl::Status status = RunDump(
      "dump real servers",
      [&](const Frame& frame, std::string* buffer) {
        EncodeDumpRealServers(server->key, frame, buffer);
      },
      [&] { real_servers.clear(); },
      [&](absl::string_view payload) {
        absl::StatusOr<RealServer> real_server = DecodeRealServer(payload, server->key.family);
        if (real_server.ok()) real_servers.push_back(*real_server);
        return real_server.status();
      });
  if (!status.ok()) return status;
  std::sort(real_servers.begin(), real_servers.end(),
            [](const RealServer& a, const RealServer& b) { return a.key < b.key; });
  // The kernel answers in the same way for a virtual server that does not exist.
  if (real_servers.empty()) return GetAlone(server->key).status();
  return absl::OkStatus();
}

absl::Status KernelTable::RunDump(absl::string_view action,
                                  absl::FunctionRef<void(const Frame&, std::string*)> encode,
                                  absl::FunctionRef<void()> restart,
                                  absl::FunctionRef<absl::Status(absl::string_view)> take) {
  absl::Status status;
  for (int attempt = 0; attempt < kMaxDumpAttempts; ++attempt) {
    restart();
    status = RunDumpOnce(action, encode, take);
    // Busy is a dump that is under way on this socket: the next one ends it first.
    stale_replies_ |= absl::IsUnavailable(status);
    if (!absl::IsAborted(status) && !absl::IsDataLoss(status) && !absl::IsUnavailable(status)) {
      break;
    }
  }
  return AsUnavailable(status, action);
}

absl::Status KernelTable::RunDumpOnce(absl::string_view action,
                                      absl::FunctionRef<void(const Frame&, std::string*)> encode,
                                      absl::FunctionRef<absl::Status(absl::string_view)> take) {
  buffer_.clear();
  const Frame frame = NextFrame();
  encode(frame, &buffer_);
  if (absl::Status sent = SendRequest(); !sent.ok()) return sent;
  DumpReplies replies(frame.sequence, frame.family_id, action);
  while (!replies.complete()) {
    const absl::StatusOr<absl::string_view> datagram = socket_.Receive();
    if (!datagram.ok()) {
      stale_replies_ = true;
      return datagram.status();
    }
    replies.Take(*datagram, take);
  }
  return replies.status();
}

absl::Status KernelTable::SendRequest() {
  if (std::exchange(stale_replies_, false)) socket_.DiscardReplies();
  return socket_.Send(buffer_);
}

}  // namespace fairlead::ipvs
