#include "proxy/kernel/netlink_message.h"

#include <linux/netlink.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <random>

#include "proxy/kernel/netlink_socket.h"

namespace fairlead {
namespace {

// NLMSG_ERROR as the kernel sends it with NETLINK_CAP_ACK and NETLINK_EXT_ACK.
std::string ErrorMessage(int error, uint16_t flags, const std::string& text, uint32_t offset) {
  nlmsgerr payload{};
  payload.error = error;
  payload.msg.nlmsg_len = sizeof(nlmsghdr) + 100;
  std::string out;
  MessageWriter writer(out, NLMSG_ERROR, flags, 7, AsBytes(payload));
  if ((flags & NLM_F_ACK_TLVS) != 0) {
    if ((flags & NLM_F_CAPPED) == 0 && error != 0) out.append(100, 'x');
    writer.PutText(NLMSGERR_ATTR_MSG, text);
    writer.PutU32(NLMSGERR_ATTR_OFFS, offset);
  }
  writer.Finish();
  return out;
}

TEST_CASE("acknowledgements tell the error, the kernel's words and the place") {
  struct Row {
    std::string name;
    std::string bytes;
    int error;
    std::string text;
    std::optional<uint32_t> offset;
  };
  const std::vector<Row> rows = {
      {"success", ErrorMessage(0, 0, "", 0), 0, "", std::nullopt},
      {"an error alone", ErrorMessage(-ENOENT, NLM_F_CAPPED, "", 0), ENOENT, "", std::nullopt},
      {"with words", ErrorMessage(-EINVAL, NLM_F_CAPPED | NLM_F_ACK_TLVS, "no", 52), EINVAL, "no",
       52},
      {"behind an echoed request", ErrorMessage(-EINVAL, NLM_F_ACK_TLVS, "no", 52), EINVAL, "no",
       52},
      {"success with a warning", ErrorMessage(0, NLM_F_ACK_TLVS, "hm", 0), 0, "hm", 0},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    int messages = 0;
    absl::Status status = ForEachMessage(row.bytes, [&](const Message& message) {
      ++messages;
      CHECK(message.sequence == 7);
      const absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
      REQUIRE(ack.ok());
      CHECK(ack->error == row.error);
      CHECK(ack->text == row.text);
      CHECK(ack->offset == row.offset);
      return absl::OkStatus();
    });
    CHECK(status.ok());
    CHECK(messages == 1);
  }
}

TEST_CASE("bytes that are no messages are an error, and never read beyond their end") {
  const std::string good = ErrorMessage(-EINVAL, NLM_F_CAPPED | NLM_F_ACK_TLVS, "no", 52);
  const auto decode = [](absl::string_view bytes) {
    return ForEachMessage(
        bytes, [](const Message& message) { return DecodeAcknowledgement(message).status(); });
  };
  CHECK(decode(good).ok());
  for (size_t size = 1; size < good.size(); ++size) {
    // On the heap and of that size, so that a sanitizer sees what is read beyond.
    const std::vector<char> cut(good.begin(), good.begin() + static_cast<long>(size));
    INFO("cut to " << size);
    CHECK(absl::IsDataLoss(decode({cut.data(), cut.size()})));
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::vector<char> bytes(good.begin(), good.end());
    for (int flips = 0; flips < 3; ++flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const absl::Status status = decode({bytes.data(), bytes.size()});
    CHECK((status.ok() || absl::IsDataLoss(status)));
  }
}

TEST_CASE("an errno has one status code, and its message says what and why") {
  const std::vector<std::pair<int, absl::StatusCode>> rows = {
      {ENOENT, absl::StatusCode::kNotFound},
      {ESRCH, absl::StatusCode::kNotFound},
      {EEXIST, absl::StatusCode::kAlreadyExists},
      {EPERM, absl::StatusCode::kPermissionDenied},
      {ENOMEM, absl::StatusCode::kResourceExhausted},
      {ENOBUFS, absl::StatusCode::kResourceExhausted},
      {EMSGSIZE, absl::StatusCode::kResourceExhausted},
      {EBUSY, absl::StatusCode::kUnavailable},
      {EINTR, absl::StatusCode::kUnavailable},
      {EINVAL, absl::StatusCode::kInvalidArgument},
      {EOPNOTSUPP, absl::StatusCode::kFailedPrecondition},
      {EPROTO, absl::StatusCode::kInternal},
  };
  for (const auto& [error, code] : rows) {
    INFO(error);
    CHECK(NetlinkStatus(error, "x").code() == code);
  }
  CHECK(NetlinkStatus(ENOENT, "delete y", "no such set").message() ==
        "delete y: No such file or directory (no such set)");
}

TEST_CASE("an error that an operator can do something about says what") {
  struct Row {
    int error;
    std::string message;
  };
  const std::vector<Row> rows = {
      {EPERM, "x: Operation not permitted: run as root, or with CAP_NET_ADMIN"},
      {EACCES, "x: Permission denied: run as root, or with CAP_NET_ADMIN"},
      {ENOMEM, "x: Cannot allocate memory: the kernel has no memory for it, free some"},
      {ENOBUFS, "x: No buffer space available: the kernel has no memory for it, free some"},
      {EMSGSIZE,
       "x: Message too long: run with CAP_NET_ADMIN, or raise the sysctl net.core.wmem_max"},
      {ENOSPC, "x: No space left on device: a limit of the kernel is reached"},
      {EMFILE, "x: Too many open files: raise the limit of open files (ulimit -n, LimitNOFILE=)"},
      {ENFILE, "x: Too many open files in system: raise the sysctl fs.file-max, or the set's size"},
      {EBUSY, "x: Device or resource busy: somebody else is at it, try again"},
      {EINTR, "x: Interrupted system call: somebody else is at it, try again"},
      {EAGAIN, "x: Resource temporarily unavailable: somebody else is at it, try again"},
      {EOPNOTSUPP, "x: Operation not supported: this kernel lacks it, or its module is not loaded"},
      {EPROTONOSUPPORT,
       "x: Protocol not supported: this kernel lacks it, or its module is not loaded"},
      {EAFNOSUPPORT,
       "x: Address family not supported by protocol: this kernel lacks it, or its "
       "module is not loaded"},
      {ENETDOWN, "x: Network is down: is the device lo up? Run `ip link set lo up`"},
      {ENOENT, "x: No such file or directory"},
      {EEXIST, "x: File exists"},
      {EINVAL, "x: Invalid argument"},
  };
  for (const Row& row : rows) CHECK(NetlinkStatus(row.error, "x").message() == row.message);
}

TEST_CASE("an interrupted dump is tried again, not for ever") {
  int calls = 0;
  const absl::Status never = RetryInterrupted([&] {
    ++calls;
    return absl::UnavailableError("changed");
  });
  CHECK(absl::IsUnavailable(never));
  CHECK(calls == kMaxDumpAttempts);

  calls = 0;
  CHECK(RetryInterrupted([&] {
          return ++calls < 3 ? absl::UnavailableError("changed") : absl::OkStatus();
        }).ok());
  CHECK(calls == 3);

  calls = 0;
  CHECK(RetryInterrupted([&] {
          return ++calls < 3 ? absl::UnknownError("lost") : absl::OkStatus();
        }).ok());
  CHECK(calls == 3);

  calls = 0;
  CHECK(absl::IsPermissionDenied(RetryInterrupted([&] {
    ++calls;
    return absl::PermissionDeniedError("no");
  })));
  CHECK(calls == 1);

  calls = 0;
  CHECK(absl::IsNotFound(RetryInterrupted([&] {
    ++calls;
    return absl::NotFoundError("gone");
  })));
  CHECK(calls == 1);
}

}  // namespace
}  // namespace fairlead
