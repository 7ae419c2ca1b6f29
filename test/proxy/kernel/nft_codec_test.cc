#include "proxy/kernel/nft_codec.h"

#include <linux/netlink.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"

namespace fairlead {
namespace {

using Verb = ElementChange::Verb;

Element Port(SetName set, const std::string& address, ipvs::Protocol protocol, uint16_t port) {
  return {set, *IpAddress::Parse(address), protocol, port};
}

Element Address(SetName set, const std::string& address) {
  return {set, *IpAddress::Parse(address)};
}

Element Allowed(const std::string& address, ipvs::Protocol protocol, uint16_t port,
                const std::string& sources) {
  return {SetName::kAllowed,        *IpAddress::Parse(address), protocol, port, 0,
          *IpPrefix::Parse(sources)};
}

Element Mark(const std::string& address, uint16_t port, uint32_t mark) {
  return {SetName::kMark, *IpAddress::Parse(address), ipvs::Protocol::kTcp, port, mark};
}

Element OwnedMark(const std::string& any, uint32_t mark) {
  return {SetName::kOwnedMark, *IpAddress::Parse(any), ipvs::Protocol::kTcp, 0, mark};
}

std::string Bytes(const std::string& hex) {
  return absl::HexStringToBytes(absl::StrReplaceAll(hex, {{" ", ""}, {"\n", ""}}));
}

std::string Hex(const std::string& bytes) { return absl::BytesToHexString(bytes); }

// What nft sends, in our manner: it names the set a second time by a number that is of use only
// where the transaction makes the set (8 bytes in front of the elements), and reads its answers
// without having asked for one.
std::string InOurManner(std::string bytes, bool has_set_id, size_t set_id_offset) {
  constexpr size_t kElementsMessage = 20;  // Behind NFNL_MSG_BATCH_BEGIN.
  uint16_t flags;
  std::memcpy(&flags, &bytes[kElementsMessage + 6], sizeof(flags));
  flags |= NLM_F_ACK;
  std::memcpy(&bytes[kElementsMessage + 6], &flags, sizeof(flags));
  if (!has_set_id) return bytes;
  bytes.erase(set_id_offset, 8);
  bytes[kElementsMessage] = static_cast<char>(bytes[kElementsMessage] - 8);
  return bytes;
}

// Captured with nft 1.0.6: strace -e trace=sendmsg -e write=3 nft COMMAND.
struct Golden {
  std::string command;
  std::vector<ElementChange> changes;
  size_t set_id_offset;  // 0: none.
  std::string hex;
};

const std::vector<Golden>& Goldens() {
  static const auto* const goldens = new std::vector<Golden>{
      {"add element inet fairlead owned4 { 10.96.0.1 . tcp . 443, 10.96.0.10 . udp . 53 }",
       {{Verb::kAdd, Port(SetName::kOwned, "10.96.0.1", ipvs::Protocol::kTcp, 443)},
        {Verb::kAdd, Port(SetName::kOwned, "10.96.0.10", ipvs::Protocol::kUdp, 53)}},
       68,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a 6c 00 00 00  0c 0a 01 04 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  0b 00 02 00 6f 77 6e 65"
       "64 34 00 00 08 00 04 00  00 00 00 01 34 00 03 80"
       "18 00 01 80 14 00 01 80  10 00 01 00 0a 60 00 01"
       "06 00 00 00 01 bb 00 00  18 00 02 80 14 00 01 80"
       "10 00 01 00 0a 60 00 0a  11 00 00 00 00 35 00 00"
       "14 00 00 00 11 00 01 00  02 00 00 00 00 00 00 00"
       "00 00 00 0a"},
      {"add element inet fairlead guarded4 { 10.96.0.1 }",
       {{Verb::kAdd, Address(SetName::kGuarded, "10.96.0.1")}},
       72,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a 50 00 00 00  0c 0a 01 04 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  0d 00 02 00 67 75 61 72"
       "64 65 64 34 00 00 00 00  08 00 04 00 00 00 00 03"
       "14 00 03 80 10 00 01 80  0c 00 01 80 08 00 01 00"
       "0a 60 00 01 14 00 00 00  11 00 01 00 02 00 00 00"
       "00 00 00 00 00 00 00 0a"},
      {"add element inet fairlead owned6 { fd00::1 . sctp . 9899 }",
       {{Verb::kAdd, Port(SetName::kOwned, "fd00::1", ipvs::Protocol::kSctp, 9899)}},
       68,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a 60 00 00 00  0c 0a 01 04 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  0b 00 02 00 6f 77 6e 65"
       "64 36 00 00 08 00 04 00  00 00 00 02 28 00 03 80"
       "24 00 01 80 20 00 01 80  1c 00 01 00 fd 00 00 00"
       "00 00 00 00 00 00 00 00  00 00 00 01 84 00 00 00"
       "26 ab 00 00 14 00 00 00  11 00 01 00 02 00 00 00"
       "00 00 00 00 00 00 00 0a"},
      {"add element inet fairlead hairpin6 { fd00::5 . fd00::5 }",
       {{Verb::kAdd, Address(SetName::kHairpin, "fd00::5")}},
       72,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a 6c 00 00 00  0c 0a 01 04 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  0d 00 02 00 68 61 69 72"
       "70 69 6e 36 00 00 00 00  08 00 04 00 00 00 00 04"
       "30 00 03 80 2c 00 01 80  28 00 01 80 24 00 01 00"
       "fd 00 00 00 00 00 00 00  00 00 00 00 00 00 00 05"
       "fd 00 00 00 00 00 00 00  00 00 00 00 00 00 00 05"
       "14 00 00 00 11 00 01 00  02 00 00 00 00 00 00 00"
       "00 00 00 0a"},
      {"delete element inet fairlead owned4 { 10.96.0.10 . udp . 53 }",
       {{Verb::kDelete, Port(SetName::kOwned, "10.96.0.10", ipvs::Protocol::kUdp, 53)}},
       0,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a 4c 00 00 00  0e 0a 01 00 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  0b 00 02 00 6f 77 6e 65"
       "64 34 00 00 1c 00 03 80  18 00 01 80 14 00 01 80"
       "10 00 01 00 0a 60 00 0a  11 00 00 00 00 35 00 00"
       "14 00 00 00 11 00 01 00  02 00 00 00 00 00 00 00"
       "00 00 00 0a"},
      {"add element inet fairlead owned_mark4 { 0x46000001 }",
       {{Verb::kAdd, OwnedMark("0.0.0.0", 0x46000001)}},
       72,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a 50 00 00 00  0c 0a 01 04 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  10 00 02 00 6f 77 6e 65"
       "64 5f 6d 61 72 6b 34 00  08 00 04 00 00 00 00 03"
       "14 00 03 80 10 00 01 80  0c 00 01 80 08 00 01 00"
       "01 00 00 46 14 00 00 00  11 00 01 00 02 00 00 00"
       "00 00 00 00 00 00 00 0a"},
      {"add element inet fairlead allowed4 { 203.0.113.1 . tcp . 443 . 10.0.0.0/8 }",
       {{Verb::kAdd, Allowed("203.0.113.1", ipvs::Protocol::kTcp, 443, "10.0.0.0/8")}},
       72,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a 74 00 00 00  0c 0a 01 04 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  0d 00 02 00 61 6c 6c 6f"
       "77 65 64 34 00 00 00 00  08 00 04 00 00 00 00 11"
       "38 00 03 80 34 00 01 80  18 00 01 80 14 00 01 00"
       "cb 00 71 01 06 00 00 00  01 bb 00 00 0a 00 00 00"
       "18 00 0a 80 14 00 01 00  cb 00 71 01 06 00 00 00"
       "01 bb 00 00 0a ff ff ff  14 00 00 00 11 00 01 00"
       "02 00 00 00 00 00 00 00  00 00 00 0a"},
      {"add element inet fairlead allowed4 { 203.0.113.1 . tcp . 443 . 198.51.100.7 }",
       {{Verb::kAdd, Allowed("203.0.113.1", ipvs::Protocol::kTcp, 443, "198.51.100.7/32")}},
       72,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a 74 00 00 00  0c 0a 01 04 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  0d 00 02 00 61 6c 6c 6f"
       "77 65 64 34 00 00 00 00  08 00 04 00 00 00 00 11"
       "38 00 03 80 34 00 01 80  18 00 01 80 14 00 01 00"
       "cb 00 71 01 06 00 00 00  01 bb 00 00 c6 33 64 07"
       "18 00 0a 80 14 00 01 00  cb 00 71 01 06 00 00 00"
       "01 bb 00 00 c6 33 64 07  14 00 00 00 11 00 01 00"
       "02 00 00 00 00 00 00 00  00 00 00 0a"},
      {"add element inet fairlead allowed6 { 2001:db8::1 . udp . 53 . fd00::/9 }",
       {{Verb::kAdd, Allowed("2001:db8::1", ipvs::Protocol::kUdp, 53, "fd00::/9")}},
       72,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a a4 00 00 00  0c 0a 01 04 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  0d 00 02 00 61 6c 6c 6f"
       "77 65 64 36 00 00 00 00  08 00 04 00 00 00 00 12"
       "68 00 03 80 64 00 01 80  30 00 01 80 2c 00 01 00"
       "20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 01"
       "11 00 00 00 00 35 00 00  fd 00 00 00 00 00 00 00"
       "00 00 00 00 00 00 00 00  30 00 0a 80 2c 00 01 00"
       "20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 01"
       "11 00 00 00 00 35 00 00  fd 7f ff ff ff ff ff ff"
       "ff ff ff ff ff ff ff ff  14 00 00 00 11 00 01 00"
       "02 00 00 00 00 00 00 00  00 00 00 0a"},
      {"delete element inet fairlead allowed4 { 203.0.113.1 . tcp . 443 . 10.0.0.0/8 }",
       {{Verb::kDelete, Allowed("203.0.113.1", ipvs::Protocol::kTcp, 443, "10.0.0.0/8")}},
       0,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a 6c 00 00 00  0e 0a 01 00 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  0d 00 02 00 61 6c 6c 6f"
       "77 65 64 34 00 00 00 00  38 00 03 80 34 00 01 80"
       "18 00 01 80 14 00 01 00  cb 00 71 01 06 00 00 00"
       "01 bb 00 00 0a 00 00 00  18 00 0a 80 14 00 01 00"
       "cb 00 71 01 06 00 00 00  01 bb 00 00 0a ff ff ff"
       "14 00 00 00 11 00 01 00  02 00 00 00 00 00 00 00"
       "00 00 00 0a"},
      {"add element inet fairlead mark4 { 203.0.113.1 . tcp . 443 : 0x46000001 }",
       {{Verb::kAdd, Mark("203.0.113.1", 443, 0x46000001)}},
       68,
       "14 00 00 00 10 00 01 00  00 00 00 00 00 00 00 00"
       "00 00 00 0a 60 00 00 00  0c 0a 01 04 01 00 00 00"
       "00 00 00 00 01 00 00 00  0d 00 01 00 66 61 69 72"
       "6c 65 61 64 00 00 00 00  0a 00 02 00 6d 61 72 6b"
       "34 00 00 00 08 00 04 00  00 00 00 13 28 00 03 80"
       "24 00 01 80 14 00 01 80  10 00 01 00 cb 00 71 01"
       "06 00 00 00 01 bb 00 00  0c 00 02 80 08 00 01 00"
       "01 00 00 46 14 00 00 00  11 00 01 00 02 00 00 00"
       "00 00 00 00 00 00 00 0a"},
  };
  return *goldens;
}

TEST_CASE("a transaction has the bytes that nft sends") {
  for (const Golden& golden : Goldens()) {
    INFO("nft " << golden.command);
    const auto transactions = EncodeTransactions(golden.changes, 0, 1 << 20);
    REQUIRE(transactions.size() == 1);
    CHECK(Hex(transactions[0].bytes) ==
          Hex(InOurManner(Bytes(golden.hex), golden.set_id_offset != 0, golden.set_id_offset)));
  }
}

// The answers to a dump of owned6 with the element fd00::1 . sctp . 9899 on Linux 6.18: strace -e
// trace=recvmsg -e read=3 nft list set inet fairlead owned6. The kernel ends with an empty list.
constexpr char kDumped[] =
    "58 00 00 00 0c 0a 02 00  00 00 00 00 3c 45 00 00"
    "01 00 00 07 0d 00 01 00  66 61 69 72 6c 65 61 64"
    "00 00 00 00 0b 00 02 00  6f 77 6e 65 64 36 00 00"
    "28 00 03 00 24 00 01 00  20 00 01 00 1c 00 01 00"
    "fd 00 00 00 00 00 00 00  00 00 00 00 00 00 00 01"
    "84 00 00 00 26 ab 00 00"
    "34 00 00 00 0c 0a 02 00  00 00 00 00 3c 45 00 00"
    "01 00 00 07 0d 00 01 00  66 61 69 72 6c 65 61 64"
    "00 00 00 00 0b 00 02 00  6f 77 6e 65 64 36 00 00"
    "04 00 03 00";

// The same of other sets. Of an interval there are both ends, of a map's element the value.
constexpr char kDumpedOwnedMark6[] =
    "48 00 00 00 0c 0a 02 00  00 00 00 00 88 24 00 00"
    "01 00 00 05 0d 00 01 00  66 61 69 72 6c 65 61 64"
    "00 00 00 00 10 00 02 00  6f 77 6e 65 64 5f 6d 61"
    "72 6b 36 00 14 00 03 00  10 00 01 00 0c 00 01 00"
    "08 00 01 00 01 00 00 46";
constexpr char kDumpedAllowed4[] =
    "6c 00 00 00 0c 0a 02 00  00 00 00 00 8f 24 00 00"
    "01 00 00 05 0d 00 01 00  66 61 69 72 6c 65 61 64"
    "00 00 00 00 0d 00 02 00  61 6c 6c 6f 77 65 64 34"
    "00 00 00 00 38 00 03 00  34 00 01 00 18 00 01 00"
    "14 00 01 00 cb 00 71 01  06 00 00 00 01 bb 00 00"
    "0a 80 00 00 18 00 0a 00  14 00 01 00 cb 00 71 01"
    "06 00 00 00 01 bb 00 00  0a ff ff ff";
constexpr char kDumpedMark4[] =
    "58 00 00 00 0c 0a 02 00  00 00 00 00 96 24 00 00"
    "01 00 00 05 0d 00 01 00  66 61 69 72 6c 65 61 64"
    "00 00 00 00 0a 00 02 00  6d 61 72 6b 34 00 00 00"
    "28 00 03 00 24 00 01 00  14 00 01 00 10 00 01 00"
    "cb 00 71 01 06 00 00 00  01 bb 00 00 0c 00 02 00"
    "08 00 01 00 01 00 00 46";
// Where things are in the dump of allowed4.
constexpr size_t kFirstSource = 80;
constexpr size_t kEndAttribute = 84;
constexpr size_t kEndAddress = 92;
constexpr size_t kLastSource = 104;

absl::StatusOr<std::vector<Element>> Decode(absl::string_view bytes, SetName set, IpFamily family) {
  std::vector<Element> elements;
  absl::Status status = ForEachMessage(bytes, [&](const Message& message) {
    return DecodeElements(message, set, family, elements);
  });
  if (!status.ok()) return status;
  return elements;
}

TEST_CASE("a dump of the kernel's elements is read") {
  const auto elements = Decode(Bytes(kDumped), SetName::kOwned, IpFamily::kIpv6);
  REQUIRE(elements.ok());
  CHECK(*elements ==
        std::vector<Element>{Port(SetName::kOwned, "fd00::1", ipvs::Protocol::kSctp, 9899)});
}

TEST_CASE("dumps of marks and of intervals are read") {
  struct Row {
    std::string hex;
    IpFamily family;
    Element element;
  };
  const std::vector<Row> rows = {
      {kDumpedOwnedMark6, IpFamily::kIpv6, OwnedMark("::", 0x46000001)},
      {kDumpedAllowed4, IpFamily::kIpv4,
       Allowed("203.0.113.1", ipvs::Protocol::kTcp, 443, "10.128.0.0/9")},
      {kDumpedMark4, IpFamily::kIpv4, Mark("203.0.113.1", 443, 0x46000001)},
  };
  for (const Row& row : rows) {
    INFO(row.element.Format());
    const auto elements = Decode(Bytes(row.hex), row.element.set, row.family);
    REQUIRE(elements.ok());
    CHECK(*elements == std::vector<Element>{row.element});
  }
  // An attribute that is not known in the place of the interval's end: it is of one address.
  std::string one = Bytes(kDumpedAllowed4);
  one[kEndAttribute + 2] = 0x7f;
  CHECK(*Decode(one, SetName::kAllowed, IpFamily::kIpv4) ==
        std::vector<Element>{Allowed("203.0.113.1", ipvs::Protocol::kTcp, 443, "10.128.0.0/32")});
}

TEST_CASE("an interval is a prefix or not Fairlead's") {
  struct Row {
    std::string name;
    size_t place;
    std::string bytes;
    std::string sources;  // Empty: not listed.
  };
  const std::vector<Row> rows = {
      {"everything", kFirstSource, "00 00 00 00", ""},
      {"the last but one", kLastSource, "0a ff ff fe", ""},
      {"the end before the start", kLastSource, "0a 7f ff ff", ""},
      {"one address", kLastSource, "0a 80 00 00", "10.128.0.0/32"},
      {"two addresses", kLastSource, "0a 80 00 01", "10.128.0.0/31"},
      {"two addresses that are no prefix", kLastSource, "0a 80 00 02", ""},
      {"a start within a prefix", kFirstSource, "0a 80 00 01", ""},
      {"an interval of addresses of Services too", kEndAddress, "cb 00 71 02", ""},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    std::string bytes = Bytes(kDumpedAllowed4);
    bytes.replace(row.place, 4, Bytes(row.bytes));
    const auto elements = Decode(bytes, SetName::kAllowed, IpFamily::kIpv4);
    REQUIRE(elements.ok());
    if (row.sources.empty()) {
      CHECK(elements->empty());
    } else {
      CHECK(*elements ==
            std::vector<Element>{Allowed("203.0.113.1", ipvs::Protocol::kTcp, 443, row.sources)});
    }
  }
  std::string all = Bytes(kDumpedAllowed4);
  all.replace(kFirstSource, 4, Bytes("00 00 00 00"));
  all.replace(kLastSource, 4, Bytes("ff ff ff ff"));
  CHECK(*Decode(all, SetName::kAllowed, IpFamily::kIpv4) ==
        std::vector<Element>{Allowed("203.0.113.1", ipvs::Protocol::kTcp, 443, "0.0.0.0/0")});
}

TEST_CASE("an interval's end of another size, or a map's element without a value, is an error") {
  std::string end = Bytes(kDumpedAllowed4);
  end[kEndAttribute + 4] = 0x10;  // Of the value within, which has 4 bytes less.
  CHECK(absl::IsDataLoss(Decode(end, SetName::kAllowed, IpFamily::kIpv4).status()));
  // An element of a set is one of the map without a value.
  CHECK(Decode(Bytes(kDumped), SetName::kOwned, IpFamily::kIpv6).ok());
  CHECK(absl::IsDataLoss(Decode(Bytes(kDumped), SetName::kMark, IpFamily::kIpv6).status()));
  CHECK(absl::IsDataLoss(Decode(Bytes(kDumped), SetName::kAllowed, IpFamily::kIpv6).status()));
  CHECK(absl::IsDataLoss(Decode(Bytes(kDumped), SetName::kOwnedMark, IpFamily::kIpv6).status()));
}

TEST_CASE("every element survives being sent and read") {
  std::mt19937 random(1);
  const auto address = [&](bool v4) {
    std::string bytes(v4 ? 4 : 16, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return *IpAddress::FromBytes(bytes);
  };
  constexpr ipvs::Protocol kProtocols[] = {ipvs::Protocol::kTcp, ipvs::Protocol::kUdp,
                                           ipvs::Protocol::kSctp};
  for (int set = 0; set < kSetNames; ++set) {
    for (const bool v4 : {true, false}) {
      std::vector<ElementChange> changes;
      for (int i = 0; i < 200; ++i) {
        Element element{.set = static_cast<SetName>(set), .address = address(v4)};
        const SetKey key = KeyOf(element.set);
        if (key == SetKey::kPort || key == SetKey::kPortAndSources) {
          element.protocol = kProtocols[random() % 3];
          element.port = static_cast<uint16_t>(random());
        }
        if (key == SetKey::kPortAndSources) {
          const int length = static_cast<int>(random() % (element.address.bit_length() + 1));
          element.sources = *IpPrefix::Make(address(v4), length);
        }
        if (key == SetKey::kMark) element.address = v4 ? IpAddress::V4(0) : IpAddress::V6({});
        if (key == SetKey::kMark || element.set == SetName::kMark) {
          element.mark = static_cast<uint32_t>(random());
        }
        changes.push_back({Verb::kAdd, element});
      }
      INFO(changes[0].element.Format());
      const auto transactions = EncodeTransactions(changes, 1, 1 << 20);
      REQUIRE(transactions.size() == 1);
      // What is sent has the shape of what is dumped, between the ends of the batch.
      const NftTransaction& transaction = transactions[0];
      const IpFamily family = v4 ? IpFamily::kIpv4 : IpFamily::kIpv6;
      std::vector<Element> elements;
      CHECK(ForEachMessage(transaction.bytes, [&](const Message& message) {
              if (message.type < 0x100) return absl::OkStatus();
              return DecodeElements(message, static_cast<SetName>(set), family, elements);
            }).ok());
      REQUIRE(elements.size() == changes.size());
      for (size_t i = 0; i < elements.size(); ++i) CHECK(elements[i] == changes[i].element);
      // The size of an element is the one that leads from an error's place to it.
      const auto& message = transaction.messages[0];
      const size_t batch_begin = 20;
      const size_t sent = transaction.bytes.size() - batch_begin - 20;
      CHECK(sent == message.elements_offset + message.count * message.element_bytes);
    }
  }
}

TEST_CASE("what cannot be an element of Fairlead is not listed") {
  std::string icmp = Bytes(kDumped);
  icmp[80] = 1;  // The protocol.
  CHECK(Decode(icmp, SetName::kOwned, IpFamily::kIpv6)->empty());
  // A key of another size is of another kind of set: that is an error.
  CHECK(absl::IsDataLoss(Decode(Bytes(kDumped), SetName::kGuarded, IpFamily::kIpv6).status()));
}

TEST_CASE("malformed dumps are errors") {
  const std::string good = Bytes(kDumped);
  for (size_t size = 1; size < 88; ++size) {
    const std::vector<char> cut(good.begin(), good.begin() + static_cast<long>(size));
    INFO("cut to " << size);
    CHECK(absl::IsDataLoss(
        Decode({cut.data(), cut.size()}, SetName::kOwned, IpFamily::kIpv6).status()));
  }
  struct Row {
    std::string hex;
    SetName set;
    IpFamily family;
  };
  const std::vector<Row> rows = {
      {kDumped, SetName::kOwned, IpFamily::kIpv6},
      {kDumpedOwnedMark6, SetName::kOwnedMark, IpFamily::kIpv6},
      {kDumpedAllowed4, SetName::kAllowed, IpFamily::kIpv4},
      {kDumpedMark4, SetName::kMark, IpFamily::kIpv4},
  };
  std::mt19937 random(1);
  for (const Row& row : rows) {
    const std::string whole = Bytes(row.hex);
    for (int i = 0; i < 20000; ++i) {
      std::vector<char> bytes(whole.begin(), whole.end());
      for (int flips = 0; flips < 3; ++flips) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      const auto elements = Decode({bytes.data(), bytes.size()}, row.set, row.family);
      CHECK((elements.ok() || absl::IsDataLoss(elements.status())));
    }
  }
}

std::vector<ElementChange> Many(Verb verb, SetName set, const std::string& first, size_t count) {
  std::vector<ElementChange> changes;
  for (size_t i = 0; i < count; ++i) {
    const IpAddress address = IpAddress::Parse(first)->Plus(i);
    Element element = {set, address, ipvs::Protocol::kTcp, 80};
    if (set == SetName::kAllowed) element.sources = *IpPrefix::Make(address, 1);
    changes.push_back({verb, element});
  }
  return changes;
}

struct Shape {
  size_t first;
  size_t count;
  friend bool operator==(const Shape&, const Shape&) = default;
};

std::vector<Shape> MessagesOf(const NftTransaction& transaction) {
  std::vector<Shape> shapes;
  for (const auto& message : transaction.messages) shapes.push_back({message.first, message.count});
  return shapes;
}

TEST_CASE("consecutive changes of one set and verb share messages, up to the limit") {
  std::vector<ElementChange> changes = Many(Verb::kAdd, SetName::kOpen, "10.0.0.1", 3);
  const auto append = [&](const std::vector<ElementChange>& more) {
    changes.insert(changes.end(), more.begin(), more.end());
  };
  append(Many(Verb::kDelete, SetName::kOpen, "10.0.0.1", 2));
  append(Many(Verb::kDelete, SetName::kOpen, "fd00::1", 1));
  append(Many(Verb::kDelete, SetName::kOwned, "fd00::1", 1));
  append(Many(Verb::kAdd, SetName::kAllowed, "fd00::1", kMaxElementsPerMessage + 1));

  const auto transactions = EncodeTransactions(changes, 100, 1 << 20);
  REQUIRE(transactions.size() == 1);
  const NftTransaction& transaction = transactions[0];
  CHECK(MessagesOf(transaction) ==
        std::vector<Shape>{{0, 3}, {3, 2}, {5, 1}, {6, 1}, {7, 650}, {657, 1}});
  CHECK(transaction.count == changes.size());
  CHECK(transaction.begin_sequence == 100);
  CHECK(transaction.last_sequence() == 106);

  // Only the last message of elements is acknowledged, and every length is right.
  std::vector<bool> acknowledged;
  CHECK(ForEachMessage(transaction.bytes, [&](const Message& message) {
          acknowledged.push_back((message.flags & NLM_F_ACK) != 0);
          return absl::OkStatus();
        }).ok());
  CHECK(acknowledged == std::vector<bool>{false, false, false, false, false, false, true, false});
}

TEST_CASE("the place of an error leads to the change") {
  const auto changes = Many(Verb::kAdd, SetName::kOpen, "10.0.0.1", 1000);
  const NftTransaction transaction = EncodeTransactions(changes, 1, 1 << 20)[0];
  const auto& second = transaction.messages[1];
  CHECK(second.first == 650);
  const auto offset = [&](size_t index) {
    return static_cast<uint32_t>(second.elements_offset + index * second.element_bytes);
  };
  CHECK(transaction.FindChange(second.sequence, offset(0)) == 650U);
  CHECK(transaction.FindChange(second.sequence, offset(349)) == 999U);
  CHECK(transaction.FindChange(second.sequence, offset(350)) == std::nullopt);
  CHECK(transaction.FindChange(second.sequence, 20) == std::nullopt);
  CHECK(transaction.FindChange(second.sequence, std::nullopt) == std::nullopt);
  CHECK(transaction.FindChange(transaction.begin_sequence, offset(0)) == std::nullopt);
}

TEST_CASE("only what does not fit a request is split into several transactions") {
  // The largest elements that there are.
  const auto changes = Many(Verb::kAdd, SetName::kAllowed, "fd00::1", 5000);
  const size_t one = EncodeTransactions(changes, 1, 1 << 24)[0].bytes.size();
  CHECK(EncodeTransactions(changes, 1, 1 << 24).size() == 1);
  for (const size_t limit : {one / 2, size_t{10000}, kMinTransactionBytes}) {
    INFO(limit);
    size_t next = 0;
    uint32_t sequence = 1;
    for (const NftTransaction& transaction : EncodeTransactions(changes, 1, limit)) {
      CHECK(transaction.bytes.size() <= limit);
      CHECK(transaction.first == next);
      CHECK(transaction.begin_sequence == sequence);
      CHECK(transaction.count > 0);
      next += transaction.count;
      sequence = transaction.last_sequence() + 2;
    }
    CHECK(next == changes.size());
  }
  CHECK(EncodeTransactions({}, 1, 1 << 20).empty());
}

}  // namespace
}  // namespace fairlead
