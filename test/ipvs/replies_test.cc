#include "ipvs/replies.h"

#include <linux/netlink.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "test/ipvs/goldens.h"
#include "test/ipvs/parity.h"

namespace fairlead::ipvs {
namespace {

using Code = absl::StatusCode;

constexpr uint32_t kFirst = 0xfffffffe;  // The numbers wrap within the batch.

// An NLMSG_ERROR as the kernel sends it with NETLINK_CAP_ACK.
std::string Reply(uint32_t sequence, int error, uint16_t type = NLMSG_ERROR) {
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } reply{};
  reply.header = {.nlmsg_len = sizeof(reply), .nlmsg_type = type, .nlmsg_seq = sequence};
  reply.error.error = -error;
  return std::string(reinterpret_cast<const char*>(&reply), sizeof(reply));
}

std::vector<Operation> FourOperations() {
  const auto key = Tcp("10.0.0.1", 80);
  return {Operation::AddVirtualServer(key, Config("rr")),
          Operation::AddRealServer(key, Real("10.1.0.1", 80), {}),
          Operation::AddRealServer(key, Real("10.1.0.2", 80), {}),
          Operation::DeleteVirtualServer(key)};
}

struct Row {
  std::string name;
  std::vector<std::string> datagrams;
  bool lost = false;
  std::vector<Code> expected;
};

TEST_CASE("replies tell what became of each operation") {
  const std::string ack = Reply(kFirst + 3, 0);
  const std::vector<Row> rows = {
      {.name = "only the acknowledgement of the last: all succeeded",
       .datagrams = {ack},
       .expected = {Code::kOk, Code::kOk, Code::kOk, Code::kOk}},
      {.name = "errors before it",
       .datagrams = {Reply(kFirst, EEXIST), Reply(kFirst + 2, EINVAL), ack},
       .expected = {Code::kAlreadyExists, Code::kOk, Code::kInvalidArgument, Code::kOk}},
      {.name = "several in one datagram",
       .datagrams = {Reply(kFirst, EEXIST) + Reply(kFirst + 2, EPERM) + Reply(kFirst + 3, ESRCH)},
       .expected = {Code::kAlreadyExists, Code::kOk, Code::kPermissionDenied, Code::kNotFound}},
      {.name = "replies to others are ignored",
       .datagrams = {Reply(kFirst - 1, EPERM), Reply(kFirst + 4, EPERM),
                     Reply(kFirst + 1, EPERM, NLMSG_DONE), ack},
       .expected = {Code::kOk, Code::kOk, Code::kOk, Code::kOk}},
      {.name = "some are lost, the last is there",
       .datagrams = {Reply(kFirst, EEXIST), ack},
       .lost = true,
       .expected = {Code::kAlreadyExists, Code::kUnknown, Code::kUnknown, Code::kOk}},
      {.name = "the last is lost",
       .datagrams = {Reply(kFirst, EEXIST)},
       .expected = {Code::kAlreadyExists, Code::kUnknown, Code::kUnknown, Code::kUnknown}},
      {.name = "nothing comes",
       .datagrams = {},
       .expected = {Code::kUnknown, Code::kUnknown, Code::kUnknown, Code::kUnknown}},
      {.name = "half a message",
       .datagrams = {Reply(kFirst, EEXIST).substr(0, 30), ack},
       .expected = {Code::kUnknown, Code::kUnknown, Code::kUnknown, Code::kOk}},
      {.name = "an impossible error number",
       .datagrams = {Reply(kFirst + 1, -5), ack},
       .expected = {Code::kUnknown, Code::kUnknown, Code::kUnknown, Code::kOk}},
  };
  const std::vector<Operation> operations = FourOperations();
  for (const Row& row : rows) {
    INFO(row.name);
    std::vector<absl::Status> statuses(operations.size());
    BatchReplies replies(kFirst, 3, operations, absl::MakeSpan(statuses));
    for (const std::string& datagram : row.datagrams) replies.Take(datagram);
    if (row.lost) replies.TakeLoss();
    replies.Finish();
    CHECK(CodesOf(statuses) == row.expected);
  }
}

TEST_CASE("an operation that was not sent keeps its status") {
  const std::vector<Operation> operations = FourOperations();
  std::vector<absl::Status> statuses(operations.size());
  statuses[1] = absl::InvalidArgumentError("bad");
  statuses[3] = absl::InvalidArgumentError("bad");
  BatchReplies replies(kFirst, 2, operations, absl::MakeSpan(statuses));
  replies.Take(Reply(kFirst + 2, 0));
  CHECK(replies.complete());
  replies.Finish();
  CHECK(CodesOf(statuses) ==
        std::vector<Code>{Code::kOk, Code::kInvalidArgument, Code::kOk, Code::kInvalidArgument});
}

constexpr uint16_t kFamily = 32;
constexpr uint32_t kSequence = 7;

// An entry of a dump, or its end where `type` says so.
std::string Entry(const std::string& payload, uint16_t type = kFamily, uint16_t flags = NLM_F_MULTI,
                  uint32_t sequence = kSequence) {
  const nlmsghdr header{.nlmsg_len = static_cast<uint32_t>(NLMSG_HDRLEN + payload.size()),
                        .nlmsg_type = type,
                        .nlmsg_flags = flags,
                        .nlmsg_seq = sequence};
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header)) + payload;
}

std::string End(int error = 0, uint16_t type = NLMSG_DONE) {
  const int32_t number = -error;
  return Entry(std::string(reinterpret_cast<const char*>(&number), sizeof(number)), type);
}

TEST_CASE("a dump is its entries and what went wrong") {
  struct DumpRow {
    std::string name;
    std::vector<std::string> datagrams;
    std::vector<std::string> entries;
    bool complete = true;
    Code code = Code::kOk;
  };
  const std::vector<DumpRow> rows = {
      {.name = "nothing", .datagrams = {End()}, .entries = {}},
      {.name = "entries in several datagrams",
       .datagrams = {Entry("aaaa") + Entry("bbbb"), Entry("cccc"), End()},
       .entries = {"aaaa", "bbbb", "cccc"}},
      {.name = "the end is missing",
       .datagrams = {Entry("aaaa")},
       .entries = {"aaaa"},
       .complete = false},
      {.name = "an error in place of entries",
       .datagrams = {End(EPERM, NLMSG_ERROR)},
       .entries = {},
       .code = Code::kPermissionDenied},
      {.name = "an error at the end",
       .datagrams = {Entry("aaaa"), End(ENOMEM)},
       .entries = {"aaaa"},
       .code = Code::kResourceExhausted},
      {.name = "an interruption that an entry tells of",
       .datagrams = {Entry("aaaa", kFamily, NLM_F_MULTI | NLM_F_DUMP_INTR) + Entry("bbbb"), End()},
       .entries = {"aaaa", "bbbb"},
       .code = Code::kAborted},
      {.name = "an interruption that only the end tells of",
       .datagrams = {Entry(std::string(4, '\0'), NLMSG_DONE, NLM_F_DUMP_INTR)},
       .entries = {},
       .code = Code::kAborted},
      {.name = "an entry that is refused, and one after it",
       .datagrams = {Entry("bad!") + Entry("bbbb"), End()},
       .entries = {"bbbb"},
       .code = Code::kInternal},
      {.name = "entries of another dump, and its end",
       .datagrams = {Entry("aaaa", kFamily, 0, 6) + Entry("\0\0\0\0", NLMSG_DONE, 0, 6),
                     Entry("bbbb"), End()},
       .entries = {"bbbb"}},
      {.name = "half a message",
       .datagrams = {Entry("aaaa").substr(0, 18), End()},
       .entries = {},
       .code = Code::kInternal},
      {.name = "half an error number",
       .datagrams = {Entry("", NLMSG_DONE)},
       .entries = {},
       .code = Code::kInternal},
  };
  for (const DumpRow& row : rows) {
    INFO(row.name);
    DumpReplies replies(kSequence, kFamily, "dump");
    std::vector<std::string> entries;
    for (const std::string& datagram : row.datagrams) {
      replies.Take(datagram, [&](absl::string_view payload) {
        if (payload == "bad!") return absl::InternalError("bad");
        entries.emplace_back(payload);
        return absl::OkStatus();
      });
    }
    CHECK(entries == row.entries);
    CHECK(replies.complete() == row.complete);
    CHECK(replies.status().code() == row.code);
  }
}

}  // namespace
}  // namespace fairlead::ipvs
