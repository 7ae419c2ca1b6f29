#include "proxy/kernel/netlink_message.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

void Pad(std::string& out, size_t start) {
  out.append(NLMSG_ALIGN(out.size() - start) - (out.size() - start), '\0');
}

absl::string_view After(absl::string_view bytes, size_t size) {
  return bytes.substr(std::min<size_t>(NLMSG_ALIGN(size), bytes.size()));
}

uint32_t NativeU32(absl::string_view bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

}  // namespace

MessageWriter::MessageWriter(std::string& out, uint16_t type, uint16_t flags, uint32_t sequence,
                             absl::string_view header)
    : out_(out), start_(out.size()) {
  nlmsghdr message{};
  message.nlmsg_type = type;
  message.nlmsg_flags = flags;
  message.nlmsg_seq = sequence;
  absl::StrAppend(&out_, AsBytes(message), header);
  Pad(out_, start_);
}

void MessageWriter::Put(uint16_t type, absl::string_view payload) {
  nlattr attribute{};
  attribute.nla_len = static_cast<uint16_t>(NLA_HDRLEN + payload.size());
  attribute.nla_type = type;
  absl::StrAppend(&out_, AsBytes(attribute), payload);
  Pad(out_, start_);
}

void MessageWriter::PutText(uint16_t type, absl::string_view text) {
  Put(type, std::string(text) + '\0');
}

void MessageWriter::PutU32(uint16_t type, uint32_t value) { Put(type, AsBytes(value)); }

size_t MessageWriter::BeginNest(uint16_t type) {
  const size_t nest = out_.size();
  Put(NLA_F_NESTED | type, "");
  return nest;
}

void MessageWriter::EndNest(size_t nest) {
  const uint16_t length = static_cast<uint16_t>(out_.size() - nest);
  std::memcpy(&out_[nest + offsetof(nlattr, nla_len)], &length, sizeof(length));
}

void MessageWriter::Finish() {
  const uint32_t length = static_cast<uint32_t>(size());
  std::memcpy(&out_[start_ + offsetof(nlmsghdr, nlmsg_len)], &length, sizeof(length));
}

bool ConsumeHeader(absl::string_view& payload, void* header, size_t size) {
  if (payload.size() < size) return false;
  std::memcpy(header, payload.data(), size);
  payload = After(payload, size);
  return true;
}

absl::Status ForEachMessage(absl::string_view datagram,
                            absl::FunctionRef<absl::Status(const Message&)> visit) {
  while (!datagram.empty()) {
    nlmsghdr header;
    if (datagram.size() < sizeof(header)) {
      return absl::DataLossError("netlink: a message is cut off in its header");
    }
    std::memcpy(&header, datagram.data(), sizeof(header));
    if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > datagram.size()) {
      return absl::DataLossError(absl::StrCat("netlink: a message says that it has ",
                                              header.nlmsg_len, " bytes, of ", datagram.size()));
    }
    const Message message = {header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq,
                             datagram.substr(sizeof(header), header.nlmsg_len - sizeof(header)),
                             header.nlmsg_pid};
    if (absl::Status status = visit(message); !status.ok()) return status;
    datagram = After(datagram, header.nlmsg_len);
  }
  return absl::OkStatus();
}

absl::Status ForEachAttribute(
    absl::string_view bytes,
    absl::FunctionRef<absl::Status(uint16_t type, absl::string_view payload)> visit) {
  while (!bytes.empty()) {
    nlattr header;
    if (bytes.size() < sizeof(header)) {
      return absl::DataLossError("netlink: an attribute is cut off in its header");
    }
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.nla_len < sizeof(header) || header.nla_len > bytes.size()) {
      return absl::DataLossError(absl::StrCat("netlink: an attribute says that it has ",
                                              header.nla_len, " bytes, of ", bytes.size()));
    }
    absl::Status status = visit(header.nla_type & NLA_TYPE_MASK,
                                bytes.substr(NLA_HDRLEN, header.nla_len - NLA_HDRLEN));
    if (!status.ok()) return status;
    bytes = After(bytes, header.nla_len);
  }
  return absl::OkStatus();
}

absl::StatusOr<Acknowledgement> DecodeAcknowledgement(const Message& message) {
  nlmsgerr error;
  absl::string_view rest = message.payload;
  if (message.type != NLMSG_ERROR || !ConsumeHeader(rest, &error, sizeof(error))) {
    return absl::DataLossError("netlink: not an acknowledgement");
  }
  Acknowledgement result;
  // Negated as unsigned: a broken message may hold INT_MIN.
  result.error = static_cast<int>(0U - static_cast<unsigned>(error.error));
  if ((message.flags & NLM_F_ACK_TLVS) == 0) return result;
  // Unless NETLINK_CAP_ACK is set, an error echoes the request before its attributes.
  if ((message.flags & NLM_F_CAPPED) == 0 && error.error != 0) {
    if (error.msg.nlmsg_len < sizeof(nlmsghdr)) {
      return absl::DataLossError("netlink: an error echoes no request");
    }
    rest = After(rest, error.msg.nlmsg_len - sizeof(nlmsghdr));
  }
  absl::Status status = ForEachAttribute(rest, [&](uint16_t type, absl::string_view payload) {
    if (type == NLMSGERR_ATTR_MSG) {
      result.text = std::string(payload.substr(0, payload.find('\0')));
    } else if (type == NLMSGERR_ATTR_OFFS && payload.size() == sizeof(uint32_t)) {
      result.offset = NativeU32(payload);
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return result;
}

}  // namespace fairlead
