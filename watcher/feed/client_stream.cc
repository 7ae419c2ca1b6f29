#include "watcher/feed/client_stream.h"

#include <utility>

namespace fairlead {

ClientStream::ClientStream(ClientStreamOwner& owner, const std::string& node_name,
                           const std::string& agent, const FeedPosition& position,
                           std::function<absl::Time()> now)
    : owner_(owner),
      now_(std::move(now)),
      last_heard_(std::chrono::steady_clock::now()),
      assembler_(position) {
  v1::Hello* hello = outgoing_.mutable_hello();
  hello->set_agent(agent);
  hello->set_node_name(node_name);
  hello->set_epoch(position.epoch);
  hello->set_revision(position.revision);
}

void ClientStream::Begin(v1::Feed::Stub& stub) {
  stub.async()->Subscribe(&context_, this);
  AddHold();
  StartWrite(&outgoing_);
  StartRead(&incoming_);
  StartCall();
}

void ClientStream::SendAck(v1::Ack ack) {
  {
    std::lock_guard lock(mutex_);
    waiting_ack_ = std::move(ack);
  }
  WriteNext();
}

void ClientStream::Cancel(absl::Status reason) {
  {
    std::lock_guard lock(mutex_);
    cancelled_.Update(reason);
  }
  context_.TryCancel();
}

std::chrono::steady_clock::time_point ClientStream::last_heard() const {
  std::lock_guard lock(mutex_);
  return last_heard_;
}

void ClientStream::WriteNext() {
  {
    std::lock_guard lock(mutex_);
    if (writing_ || reading_ended_ || !waiting_ack_) return;
    *outgoing_.mutable_ack() = *std::exchange(waiting_ack_, std::nullopt);
    writing_ = true;
  }
  StartWrite(&outgoing_);
}

void ClientStream::OnWriteDone(bool ok) {
  bool last;
  {
    std::lock_guard lock(mutex_);
    // After a failed write reading fails too, and gives the reason.
    if (!ok) waiting_ack_.reset();
    writing_ = false;
    last = reading_ended_;
  }
  if (last) {
    RemoveHold();
  } else {
    WriteNext();
  }
}

void ClientStream::OnReadDone(bool ok) {
  if (ok && Receive()) {
    StartRead(&incoming_);
  } else {
    EndReading();
  }
}

void ClientStream::EndReading() {
  bool idle;
  {
    std::lock_guard lock(mutex_);
    reading_ended_ = true;
    idle = !writing_;
  }
  if (idle) RemoveHold();
}

bool ClientStream::Receive() {
  std::optional<FeedUpdate> update;
  std::optional<std::string> started;
  bool broken = false;
  {
    std::lock_guard lock(mutex_);
    last_heard_ = std::chrono::steady_clock::now();
    absl::StatusOr<std::optional<FeedUpdate>> received = assembler_.Receive(incoming_, now_());
    if (received.ok()) {
      update = *std::move(received);
      if (incoming_.has_start()) started = assembler_.epoch();
    } else {
      broken_ = received.status();
      broken = true;
    }
  }
  if (broken) {
    context_.TryCancel();
    return false;
  }
  if (started) owner_.OnStart(*started);
  if (update) owner_.OnUpdate(*std::move(update));
  if (incoming_.has_heartbeat()) owner_.OnHeartbeat(incoming_.heartbeat().head_revision());
  return true;
}

void ClientStream::OnDone(const grpc::Status& status) {
  absl::Status reason(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  bool broken;
  {
    std::lock_guard lock(mutex_);
    broken = !broken_.ok();
    if (!cancelled_.ok()) reason = cancelled_;
    if (broken) reason = broken_;
  }
  owner_.OnClosed(reason, broken);
}

}  // namespace fairlead
