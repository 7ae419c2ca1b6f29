#include "watcher/feed/subscriber.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "watcher/feed/batch_bytes.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/feed/field_decoder.h"

namespace fairlead {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

// The request, or INVALID_ARGUMENT for bytes that are none.
absl::StatusOr<v1::SubscribeRequest> Parse(grpc::ByteBuffer& bytes) {
  v1::SubscribeRequest request;
  const grpc::Status status =
      grpc::SerializationTraits<v1::SubscribeRequest>::Deserialize(&bytes, &request);
  if (!status.ok()) return absl::InvalidArgumentError("the request cannot be parsed");
  return request;
}

}  // namespace

Subscriber::Subscriber(const Journal& journal, SubscriberOwner& owner, std::string peer,
                       absl::Time now)
    : journal_(journal), owner_(owner) {
  status_.peer = std::move(peer);
  status_.connected = now;
}

void Subscriber::Wake() { Advance(); }

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
  const absl::StatusOr<v1::SubscribeRequest> request = Parse(incoming_);
  bool go_on;
  {
    std::lock_guard lock(mutex_);
    absl::Status status = request.ok() ? Receive(*request) : request.status();
    if (!status.ok() && !closing_) closing_ = std::move(status);
    go_on = !closing_;
  }
  // OnDone waits for this reaction, so the read is started in time even if another thread finishes
  // the stream meanwhile.
  if (go_on) StartRead(&incoming_);
  Advance();
  if (go_on) owner_.OnChanged();
}

void Subscriber::OnWriteDone(bool ok) {
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok && !closing_) closing_ = absl::CancelledError("the agent is gone");
  }
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
  status_.acked_revision = ack.revision();
  status_.programming_time = absl::Seconds(ack.programming_time().seconds()) +
                             absl::Nanoseconds(ack.programming_time().nanos());
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
  if (!complete_due_) {
    const absl::StatusOr<JournalRead> read = journal_.Read(*cursor_, kMaxBatchBytes);
    if (!read.ok()) {
      closing_ = read.status();
      return false;
    }
    cursor_ = read->next;
    complete_due_ =
        read->complete && (!complete_sent_ || cursor_->revision != status_.sent_revision);
    if (!read->changes.empty()) {
      outgoing_ = JoinBatch(read->changes);
      return true;
    }
    if (!complete_due_) return false;
  }
  // The mark is that of the cursor, even if the journal has gone on since it was due.
  response.mutable_complete()->set_revision(cursor_->revision);
  outgoing_ = SerializeResponse(response);
  complete_due_ = false;
  complete_sent_ = true;
  status_.sent_revision = reached_ = cursor_->revision;
  return true;
}

}  // namespace fairlead
