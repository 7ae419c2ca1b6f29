#include "proxy/kernel/conntrack_codec.h"

#include <catch2/catch.hpp>
#include <random>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"

namespace fairlead {
namespace {

// The tool takes the time of day.
constexpr uint32_t kSequence = 0x6b011aaf;

std::string Bytes(const std::string& hex) {
  return absl::HexStringToBytes(absl::StrReplaceAll(hex, {{" ", ""}}));
}

// The same bytes, but for some.
std::string Replaced(const std::string& bytes, const std::string& from_hex,
                     const std::string& to_hex) {
  const std::string replaced = absl::StrReplaceAll(bytes, {{Bytes(from_hex), Bytes(to_hex)}});
  REQUIRE(replaced != bytes);
  REQUIRE(replaced.size() == bytes.size());
  return replaced;
}

// Answers of Linux 6.18: strace -e trace=recvmsg -e read=3,4 conntrack -L -p udp -f FAMILY, of
// datagrams that `dnat` translated; the one of IPv6 in conntrack zone 7.
const std::string kDumped4 = Bytes(
    "a4 00 00 00 00 01 22 00  af 1a 01 6b cc 37 00 00"
    "02 00 00 00 34 00 01 80  14 00 01 80 08 00 01 00"
    "c0 00 02 09 08 00 02 00  0a 60 00 0a 1c 00 02 80"
    "05 00 01 00 11 00 00 00  06 00 02 00 03 e9 00 00"
    "06 00 03 00 00 35 00 00  34 00 02 80 14 00 01 80"
    "08 00 01 00 0a f4 00 02  08 00 02 00 c0 00 02 09"
    "1c 00 02 80 05 00 01 00  11 00 00 00 06 00 02 00"
    "14 e9 00 00 06 00 03 00  03 e9 00 00 08 00 03 00"
    "00 00 01 a8 08 00 08 00  00 00 00 00 08 00 0c 00"
    "1c 1a 64 72 08 00 0b 00  00 00 00 01 08 00 07 00"
    "00 00 00 1d");
const std::string kDumped6 = Bytes(
    "dc 00 00 00 00 01 22 00  af 1a 01 6b d1 37 00 00"
    "0a 00 00 00 4c 00 01 80  2c 00 01 80 14 00 03 00"
    "fd 00 00 01 00 00 00 00  00 00 00 00 00 00 00 09"
    "14 00 04 00 fd 00 00 96  00 00 00 00 00 00 00 00"
    "00 00 00 0a 1c 00 02 80  05 00 01 00 11 00 00 00"
    "06 00 02 00 03 e9 00 00  06 00 03 00 00 35 00 00"
    "4c 00 02 80 2c 00 01 80  14 00 03 00 fd 00 02 44"
    "00 00 00 00 00 00 00 00  00 00 00 02 14 00 04 00"
    "fd 00 00 01 00 00 00 00  00 00 00 00 00 00 00 09"
    "1c 00 02 80 05 00 01 00  11 00 00 00 06 00 02 00"
    "14 e9 00 00 06 00 03 00  03 e9 00 00 06 00 12 00"
    "00 07 00 00 08 00 03 00  00 00 01 a8 08 00 08 00"
    "00 00 00 00 08 00 0c 00  cb 98 16 eb 08 00 0b 00"
    "00 00 00 01 08 00 07 00  00 00 00 1d");

FlowAddress At(const std::string& address, uint16_t port) {
  return {*IpAddress::Parse(address), port};
}

Flow FlowOf(const FlowAddress& client, const FlowAddress& destination,
            const FlowAddress& endpoint) {
  return {ipvs::Protocol::kUdp, client, destination, endpoint.address, endpoint.port};
}

// Calls `visit` with the one message.
absl::Status Visit(absl::string_view bytes, absl::FunctionRef<void(const Message&)> visit) {
  return ForEachMessage(bytes, [&](const Message& message) {
    visit(message);
    return absl::OkStatus();
  });
}

// The flow; unset: of no interest.
absl::StatusOr<std::optional<Flow>> Decode(absl::string_view bytes) {
  absl::StatusOr<std::optional<Flow>> result = std::nullopt;
  absl::Status status = Visit(bytes, [&](const Message& message) {
    absl::StatusOr<std::optional<FlowEntry>> entry = DecodeFlow(message);
    if (!entry.ok()) {
      result = entry.status();
    } else if (entry->has_value()) {
      result = (*entry)->flow;
    }
  });
  if (!status.ok()) return status;
  return result;
}

// The request to delete the entry of a dump.
std::string Deletion(const std::string& bytes) {
  std::string out;
  REQUIRE(Visit(bytes, [&](const Message& message) {
            const auto entry = DecodeFlow(message);
            REQUIRE(entry.ok());
            REQUIRE(entry->has_value());
            EncodeFlowDelete(**entry, kSequence, out);
          }).ok());
  return out;
}

TEST_CASE("a dump is asked for by family, and by protocol where there is one") {
  struct Row {
    std::string name;
    std::string bytes;
    std::string hex;
  };
  const std::vector<Row> rows = {
      // Captured: strace -e trace=sendto -e write=3,4 conntrack -L -f ipv4.
      {"IPv4, all protocols", EncodeFlowDump(IpFamily::kIpv4, std::nullopt, kSequence),
       "14 00 00 00 01 01 01 03  af 1a 01 6b 00 00 00 00"
       "02 00 00 00"},
      {"IPv6, all protocols", EncodeFlowDump(IpFamily::kIpv6, std::nullopt, kSequence),
       "14 00 00 00 01 01 01 03  af 1a 01 6b 00 00 00 00"
       "0a 00 00 00"},
      // As nfnetlink_conntrack.h has it: CTA_TUPLE_ORIG with CTA_TUPLE_PROTO with CTA_PROTO_NUM,
      // and CTA_FILTER with CTA_FILTER_ORIG_FLAGS.
      {"IPv4, UDP", EncodeFlowDump(IpFamily::kIpv4, ipvs::Protocol::kUdp, kSequence),
       "30 00 00 00 01 01 01 03  af 1a 01 6b 00 00 00 00"
       "02 00 00 00 10 00 01 80  0c 00 02 80 05 00 01 00"
       "11 00 00 00 0c 00 19 80  08 00 01 00 08 00 00 00"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(absl::BytesToHexString(row.bytes) == absl::BytesToHexString(Bytes(row.hex)));
  }
}

TEST_CASE("flows of the kernel are read") {
  // ICMP: an echo request has a type, a code and an id instead of ports.
  const std::string icmp =
      Replaced(Replaced(kDumped4, "05 00 01 00 11 00 00 00", "05 00 01 00 01 00 00 00"),
               "06 00 02 00", "06 00 04 00");
  struct Row {
    std::string name;
    std::string bytes;
    std::optional<Flow> flow;
  };
  Flow tcp = FlowOf(At("192.0.2.9", 1001), At("10.96.0.10", 53), At("10.244.0.2", 5353));
  tcp.protocol = ipvs::Protocol::kTcp;
  const std::vector<Row> rows = {
      {"IPv4", kDumped4,
       FlowOf(At("192.0.2.9", 1001), At("10.96.0.10", 53), At("10.244.0.2", 5353))},
      {"IPv6", kDumped6,
       FlowOf(At("fd00:1::9", 1001), At("fd00:96::a", 53), At("fd00:244::2", 5353))},
      {"not translated", Replaced(kDumped4, "0a f4 00 02", "0a 60 00 0a"),
       FlowOf(At("192.0.2.9", 1001), At("10.96.0.10", 53), At("10.96.0.10", 5353))},
      {"TCP", Replaced(kDumped4, "05 00 01 00 11", "05 00 01 00 06"), tcp},
      {"ICMP", icmp, std::nullopt},
      {"GRE", Replaced(kDumped4, "05 00 01 00 11", "05 00 01 00 2f"), std::nullopt},
      {"another family", Replaced(kDumped4, "02 00 00 00 34", "07 00 00 00 34"), std::nullopt},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto flow = Decode(row.bytes);
    INFO(flow.status().ToString());
    REQUIRE(flow.ok());
    CHECK(*flow == row.flow);
  }
}

TEST_CASE("a deletion names the original tuple, the zone and the id as they were dumped") {
  // As conntrack -D sends them, which names timeouts and the reply too and no id.
  CHECK(absl::BytesToHexString(Deletion(kDumped4)) ==
        absl::BytesToHexString(Bytes("50 00 00 00 02 01 05 00  af 1a 01 6b 00 00 00 00"
                                     "02 00 00 00 34 00 01 80  14 00 01 80 08 00 01 00"
                                     "c0 00 02 09 08 00 02 00  0a 60 00 0a 1c 00 02 80"
                                     "05 00 01 00 11 00 00 00  06 00 02 00 03 e9 00 00"
                                     "06 00 03 00 00 35 00 00  08 00 0c 00 1c 1a 64 72")));
  CHECK(absl::BytesToHexString(Deletion(kDumped6)) ==
        absl::BytesToHexString(Bytes("70 00 00 00 02 01 05 00  af 1a 01 6b 00 00 00 00"
                                     "0a 00 00 00 4c 00 01 80  2c 00 01 80 14 00 03 00"
                                     "fd 00 00 01 00 00 00 00  00 00 00 00 00 00 00 09"
                                     "14 00 04 00 fd 00 00 96  00 00 00 00 00 00 00 00"
                                     "00 00 00 0a 1c 00 02 80  05 00 01 00 11 00 00 00"
                                     "06 00 02 00 03 e9 00 00  06 00 03 00 00 35 00 00"
                                     "06 00 12 00 00 07 00 00  08 00 0c 00 cb 98 16 eb")));
}

TEST_CASE("what is no whole flow is an error") {
  struct Row {
    std::string name;
    std::string bytes;
    std::string message;
  };
  const std::string& good = kDumped4;
  const std::vector<Row> rows = {
      {"another message", Replaced(good, "a4 00 00 00 00 01", "a4 00 00 00 01 01"), "not a flow"},
      {"another subsystem", Replaced(good, "a4 00 00 00 00 01", "a4 00 00 00 00 02"), "not a flow"},
      // Without its original tuple a deletion would flush the table.
      {"no original tuple", Replaced(good, "34 00 01 80", "34 00 7f 80"), "without its addresses"},
      {"an empty original tuple",
       Replaced(good, "34 00 01 80 14 00 01 80", "34 00 01 80 30 00 7f 80"),
       "without its addresses"},
      {"no reply", Replaced(good, "34 00 02 80", "34 00 7f 80"), "without its addresses"},
      {"no source", Replaced(good, "08 00 01 00 c0", "08 00 7f 00 c0"), "without its addresses"},
      {"no destination", Replaced(good, "08 00 02 00  0a", "08 00 7f 00  0a"),
       "without its addresses"},
      {"no protocol", Replaced(good, "05 00 01 00 11", "05 00 7f 00 11"), "without its addresses"},
      {"no port", Replaced(good, "06 00 03 00 00 35", "06 00 7f 00 00 35"), "without its ports"},
      {"a short address", Replaced(good, "08 00 01 00 c0", "06 00 01 00 c0"),
       "an IPv4 address of 2 bytes"},
      {"a long protocol", Replaced(good, "05 00 01 00 11", "06 00 01 00 11"), "not one byte"},
      {"a long port", Replaced(good, "06 00 03 00 00 35", "08 00 03 00 00 35"), "not two bytes"},
      {"no id", Replaced(good, "08 00 0c 00", "08 00 7f 00"), "without its id"},
      {"a short id", Replaced(good, "08 00 0c 00", "06 00 0c 00"), "without its id"},
      {"a long zone", Replaced(kDumped6, "06 00 12 00", "08 00 12 00"), "a zone"},
      {"addresses of the other family", Replaced(good, "02 00 00 00 34", "0a 00 00 00 34"),
       "without its addresses"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const absl::Status status = Decode(row.bytes).status();
    INFO(status.ToString());
    CHECK(absl::IsDataLoss(status));
    CHECK(absl::StrContains(status.message(), row.message));
  }
}

TEST_CASE("malformed flows are errors, and never read beyond their end") {
  for (const std::string& good : {kDumped4, kDumped6}) {
    for (size_t size = 1; size < good.size(); ++size) {
      const std::vector<char> cut(good.begin(), good.begin() + static_cast<long>(size));
      CHECK(absl::IsDataLoss(Decode({cut.data(), cut.size()}).status()));
    }
    std::mt19937 random(1);
    for (int i = 0; i < 20000; ++i) {
      std::vector<char> bytes(good.begin(), good.end());
      for (int flips = 0; flips < 3; ++flips) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      const absl::Status status = Decode({bytes.data(), bytes.size()}).status();
      CHECK((status.ok() || absl::IsDataLoss(status)));
    }
  }
}

}  // namespace
}  // namespace fairlead
