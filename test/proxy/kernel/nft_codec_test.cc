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
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::vector<char> bytes(good.begin(), good.end());
    for (int flips = 0; flips < 3; ++flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const auto elements = Decode({bytes.data(), bytes.size()}, SetName::kOwned, IpFamily::kIpv6);
    CHECK((elements.ok() || absl::IsDataLoss(elements.status())));
  }
}

std::vector<ElementChange> Many(Verb verb, SetName set, const std::string& first, size_t count) {
  std::vector<ElementChange> changes;
  for (size_t i = 0; i < count; ++i) {
    changes.push_back({verb, {set, IpAddress::Parse(first)->Plus(i), ipvs::Protocol::kTcp, 80}});
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
  append(Many(Verb::kAdd, SetName::kHairpin, "fd00::1", kMaxElementsPerMessage + 1));

  const auto transactions = EncodeTransactions(changes, 100, 1 << 20);
  REQUIRE(transactions.size() == 1);
  const NftTransaction& transaction = transactions[0];
  CHECK(MessagesOf(transaction) ==
        std::vector<Shape>{{0, 3}, {3, 2}, {5, 1}, {6, 1}, {7, 700}, {707, 1}});
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
  CHECK(second.first == 700);
  const auto offset = [&](size_t index) {
    return static_cast<uint32_t>(second.elements_offset + index * second.element_bytes);
  };
  CHECK(transaction.FindChange(second.sequence, offset(0)) == 700U);
  CHECK(transaction.FindChange(second.sequence, offset(299)) == 999U);
  CHECK(transaction.FindChange(second.sequence, offset(300)) == std::nullopt);
  CHECK(transaction.FindChange(second.sequence, 20) == std::nullopt);
  CHECK(transaction.FindChange(second.sequence, std::nullopt) == std::nullopt);
  CHECK(transaction.FindChange(transaction.begin_sequence, offset(0)) == std::nullopt);
}

TEST_CASE("only what does not fit a request is split into several transactions") {
  const auto changes = Many(Verb::kAdd, SetName::kOpen, "fd00::1", 5000);
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
