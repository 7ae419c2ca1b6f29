// Netlink messages as bytes: headers and attributes of include/uapi/linux/netlink.h. No I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead {

// Appends one message to a buffer. Finish() completes it; attributes are put between. An attribute
// has at most 65,535 bytes, nested ones included: callers bound what they put.
class MessageWriter {
 public:
  // `header` is the family's fixed header (struct nfgenmsg, rtmsg, …).
  MessageWriter(std::string& out, uint16_t type, uint16_t flags, uint32_t sequence,
                absl::string_view header);

  void Put(uint16_t type, absl::string_view payload);
  void PutText(uint16_t type, absl::string_view text);  // With its terminating zero.
  void PutU32(uint16_t type, uint32_t value);           // In the machine's byte order.

  // The result is for EndNest.
  size_t BeginNest(uint16_t type);
  void EndNest(size_t nest);

  // Bytes of the message so far: where its next attribute will start.
  size_t size() const { return out_.size() - start_; }

  void Finish();

 private:
  std::string& out_;
  const size_t start_;
};

// The bytes of a struct, for MessageWriter.
template <typename T>
absl::string_view AsBytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// A message that was received.
struct Message {
  uint16_t type = 0;
  uint16_t flags = 0;
  uint32_t sequence = 0;
  absl::string_view payload;  // What follows struct nlmsghdr, in the caller's buffer.
  // In a notification: the port id of the socket whose request it follows from; 0: the kernel's
  // own.
  uint32_t port_id = 0;
};

// Calls `visit` for each message of a datagram, and stops at its first error. DATA_LOSS if the
// bytes are not messages.
absl::Status ForEachMessage(absl::string_view datagram,
                            absl::FunctionRef<absl::Status(const Message&)> visit);

// The same for attributes; `type` is without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER.
absl::Status ForEachAttribute(
    absl::string_view bytes,
    absl::FunctionRef<absl::Status(uint16_t type, absl::string_view payload)> visit);

// Reads the fixed header T from the start of a payload, and removes it; false if it is too short.
bool ConsumeHeader(absl::string_view& payload, void* header, size_t size);

// What NLMSG_ERROR says (struct nlmsgerr and extended acknowledgements).
struct Acknowledgement {
  int error = 0;     // errno, positive; 0: the request was carried out.
  std::string text;  // The kernel's own words, where it has some.
  // Where in the request the kernel saw the fault, from the start of its header.
  std::optional<uint32_t> offset;
};

// DATA_LOSS if the message is none.
absl::StatusOr<Acknowledgement> DecodeAcknowledgement(const Message& message);

}  // namespace fairlead
