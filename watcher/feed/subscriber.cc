#include "watcher/feed/subscriber.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/feed/field_decoder.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

// The request; INVALID_ARGUMENT for bytes that are none, RESOURCE_EXHAUSTED for too many.
absl::StatusOr<v1::SubscribeRequest> Parse(grpc::ByteBuffer& bytes) {
  if (const size_t length = bytes.Length(); length > kMaxRequestBytes) {
    bytes.Clear();
    return absl::ResourceExhaustedError(
        absl::StrCat("a request of ", length, " bytes: at most ", kMaxRequestBytes, " are taken"));
  }
  v1::SubscribeRequest request;
  const grpc::Status status =
      grpc::SerializationTraits<v1::SubscribeRequest>::Deserialize(&bytes, &request);
  if (!status.ok()) return absl::InvalidArgumentError("the request cannot be parsed");
  return request;
}

}  // namespace

Subscriber::Subscriber(const Journal& journal, ReadCache& reads, SubscriberOwner& owner,
                       std::string peer, std::shared_ptr<const grpc::AuthContext> identity,
                       const std::function<absl::Time()>& now)
    : journal_(journal), reads_(reads), owner_(owner), identity_(std::move(identity)), now_(now) {
  status_.peer = std::move(peer);
  status_.connected = now_();
}

void Subscriber::CheckHello(absl::Duration patience) {
  {
    std::lock_guard lock(mutex_);
    if (cursor_ || now_() - status_.connected < patience) return;
  }
  Close(absl::DeadlineExceededError("no Hello has come"));
}

void Subscriber::Admit() {
  {
    std::lock_guard lock(mutex_);
    place_ = Place::kGiven;
    // Removals since it came need not be known any more.
    cursor_ = journal_.Open("", 0).cursor;
  }
  Advance();
}

void Subscriber::Heartbeat() {
  {
    std::lock_guard lock(mutex_);
    // What is under way is a sign of life as good.
    if (writing_ || !start_sent_) return;
    heartbeat_due_ = true;
  }
  Advance();
}

void Subscriber::Close(absl::Status reason) {
  {
    std::lock_guard lock(mutex_);
    if (!closing_) closing_ = std::move(reason);
  }
  Advance();
}

std::optional<SubscriberStatus> Subscriber::Status() const {
  std::lock_guard lock(mutex_);
  if (!cursor_) return std::nullopt;
  return status_;
}

void Subscriber::OnReadDone(bool ok) {
  if (!ok) {
    // The agent has closed its side, or is gone.
    Close(absl::OkStatus());
    return;
  }
  absl::Status fault;
  std::optional<uint64_t> acked;
  bool go_on;
  const absl::StatusOr<v1::SubscribeRequest> request = Parse(incoming_);
  {
    std::lock_guard lock(mutex_);
    const uint64_t acked_before = status_.acked_revision;
    const absl::Status status = request.ok() ? Receive(*request) : request.status();
    if (!status.ok() && !closing_) closing_ = status;
    go_on = !closing_;
    if (status_.acked_revision > acked_before) acked = status_.acked_revision;
    if (!status.ok()) {
      const std::string node = absl::CHexEscape(status_.node_name);
      fault = {status.code(), absl::StrCat(node.empty() ? "" : absl::StrCat("node ", node, ", "),
                                           status_.peer, ": ", status.message())};
    }
  }
  if (!fault.ok()) owner_.OnFault(fault);
  // OnDone waits for this reaction, so the read is started in time even if another thread finishes
  // the stream meanwhile.
  if (go_on) StartRead(&incoming_);
  Advance();
  if (acked) owner_.OnAcked(*acked);
  if (go_on) owner_.OnChanged();
}

void Subscriber::OnWriteDone(bool ok) {
  bool whole;
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok && !closing_) closing_ = absl::CancelledError("the agent is gone");
    whole = status_.snapshot && complete_sent_ && !snapshot_sent_;
    snapshot_sent_ |= whole;
  }
  if (whole) owner_.OnSnapshotSent(*this);
  Advance();
}

void Subscriber::OnCancel() { Close(absl::CancelledError("the agent is gone")); }

void Subscriber::OnDone() { owner_.OnDone(this); }

absl::Status Subscriber::Receive(const v1::SubscribeRequest& request) {
  switch (request.kind_case()) {
    case v1::SubscribeRequest::kHello:
      return ReceiveHello(request.hello());
    case v1::SubscribeRequest::kAck:
      return ReceiveAck(request.ack());
    default:
      if (!cursor_) return absl::InvalidArgumentError("the first request is not a Hello");
      // A kind that a newer agent knows.
      return absl::OkStatus();
  }
}

absl::Status Subscriber::ReceiveHello(const v1::Hello& hello) {
  if (cursor_) return absl::InvalidArgumentError("Hello is the first request, and only that");
  FieldDecoder fields;
  status_.node_name = fields.Name({"node_name"}, hello.node_name());
  if (!fields.ok()) {
    return absl::InvalidArgumentError("Hello: node_name: is empty or too long");
  }
  if (!owner_.MayBeNode(identity_.get(), hello.node_name())) {
    return absl::PermissionDeniedError(
        absl::StrCat("the certificate of this connection is not that of node ", hello.node_name()));
  }
  owner_.OnHello(hello.node_name());
  status_.agent = EncodeText(hello.agent(), kMaxTextLength);
  const JournalStart start = journal_.Open(hello.epoch(), hello.revision());
  cursor_ = start.cursor;
  status_.snapshot = start.snapshot;
  // An agent of this epoch may still acknowledge what it got before.
  if (hello.epoch() == journal_.epoch()) reached_ = hello.revision();
  return absl::OkStatus();
}

absl::Status Subscriber::ReceiveAck(const v1::Ack& ack) {
  if (!cursor_) return absl::InvalidArgumentError("the first request is not a Hello");
  if (ack.revision() > reached_) {
    return absl::InvalidArgumentError(
        absl::StrCat("Ack: revision: ", ack.revision(), " was not sent, the last is ", reached_));
  }
  // Of one that is sent again because the failures are others, the time says nothing.
  if (ack.revision() != status_.acked_revision || status_.acked_at == absl::InfinitePast()) {
    status_.programming_time = DecodeDuration(ack.programming_time());
  }
  status_.acked_revision = ack.revision();
  status_.acked_at = now_();
  status_.failure_count = ack.failure_count();
  status_.failures.clear();
  for (const v1::Failure& failure : ack.failures()) {
    if (status_.failures.size() == kMaxAckFailures) break;
    absl::StatusOr<ObjectId> object = DecodeRef(failure.object());
    if (!object.ok()) continue;
    status_.failures.push_back(
        {*std::move(object), EncodeText(failure.message(), kMaxFailureMessage)});
  }
  return absl::OkStatus();
}

void Subscriber::Advance() {
  std::optional<absl::Status> reason;
  {
    std::lock_guard lock(mutex_);
    if (writing_ || finished_) return;
    const bool prepared = !closing_ && cursor_ && PrepareMessage();
    if (!prepared && !closing_) return;
    reason = closing_;
    (reason ? finished_ : writing_) = true;
  }
  if (reason) {
    Finish(ToGrpc(*reason));
  } else {
    StartWrite(&outgoing_);
  }
}

bool Subscriber::PrepareMessage() {
  v1::SubscribeResponse response;
  if (!start_sent_) {
    response.mutable_start()->set_epoch(journal_.epoch());
    response.mutable_start()->set_mode(status_.snapshot ? v1::Start::SNAPSHOT : v1::Start::DELTA);
    outgoing_ = SerializeResponse(response);
    start_sent_ = true;
    return true;
  }
  if (MayRead() && PrepareBatch()) {
    heartbeat_due_ = false;
    return true;
  }
  if (closing_ || !std::exchange(heartbeat_due_, false)) return false;
  response.mutable_heartbeat()->set_head_revision(journal_.head_revision());
  outgoing_ = SerializeResponse(response);
  return true;
}

bool Subscriber::MayRead() {
  if (!status_.snapshot || place_ == Place::kGiven) return true;
  if (place_ == Place::kAsked) return false;
  place_ = owner_.MayBeginSnapshot(*this) ? Place::kGiven : Place::kAsked;
  return place_ == Place::kGiven;
}

bool Subscriber::PrepareBatch() {
  const absl::StatusOr<std::shared_ptr<const EncodedRead>> read =
      reads_.Read(*cursor_, status_.node_name);
  if (!read.ok()) {
    closing_ = read.status();
    return false;
  }
  const EncodedRead& what = **read;
  cursor_ = what.next;
  const bool mark_due =
      what.complete && (!complete_sent_ || cursor_->revision != status_.sent_revision ||
                        what.partial != partial_sent_);
  if (!what.has_changes && !mark_due) return false;
  outgoing_ = what.message;
  if (what.complete) {
    complete_sent_ = true;
    partial_sent_ = what.partial;
    status_.sent_revision = reached_ = cursor_->revision;
  }
  return true;
}

}  // namespace fairlead
