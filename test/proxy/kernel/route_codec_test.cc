#include "proxy/kernel/route_codec.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <catch2/catch.hpp>
#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"

namespace fairlead {
namespace {

const IpAddress kVip4 = *IpAddress::Parse("10.96.0.1");
const IpAddress kVip6 = *IpAddress::Parse("fd00:96::1");
const IpAddress kSource4 = *IpAddress::Parse("192.0.2.5");
const IpAddress kSource6 = *IpAddress::Parse("fd00::5");
// iproute2 takes the time of day.
constexpr uint32_t kSequence = 0x6b00f147;

std::string Bytes(const std::string& hex) {
  return absl::HexStringToBytes(absl::StrReplaceAll(hex, {{" ", ""}}));
}

// Captured with iproute2 6.1: strace -e trace=sendmsg,sendto -e write=3,4 ip COMMAND.
TEST_CASE("requests have the bytes that iproute2 sends") {
  struct Golden {
    std::string command;
    std::string bytes;
    std::string hex;
  };
  const auto encode = [](RouteVerb verb, const VipRoute& route) {
    std::string out;
    EncodeRoute(verb, route, kSequence, /*acknowledge=*/true, out);
    return out;
  };
  std::string lookup;
  EncodeRouteLookup(kVip4, kSequence, lookup);
  const std::vector<Golden> goldens = {
      {"route add local 10.96.0.1/32 dev lo table local proto 119 src 192.0.2.5",
       encode(RouteVerb::kAdd, {kVip4, kSource4}),
       "34 00 00 00 18 00 05 06  47 f1 00 6b 00 00 00 00"
       "02 20 00 00 ff 77 fe 02  00 00 00 00 08 00 01 00"
       "0a 60 00 01 08 00 07 00  c0 00 02 05 08 00 04 00"
       "01 00 00 00"},
      {"route prepend local 10.96.0.1/32 dev lo table local proto 119 src 192.0.2.5",
       encode(RouteVerb::kPrepend, {kVip4, kSource4}),
       "34 00 00 00 18 00 05 04  47 f1 00 6b 00 00 00 00"
       "02 20 00 00 ff 77 fe 02  00 00 00 00 08 00 01 00"
       "0a 60 00 01 08 00 07 00  c0 00 02 05 08 00 04 00"
       "01 00 00 00"},
      {"-6 route add local fd00:96::1/128 dev lo table local proto 119 src fd00::5",
       encode(RouteVerb::kPrepend, {kVip6, kSource6}),
       "4c 00 00 00 18 00 05 06  47 f1 00 6b 00 00 00 00"
       "0a 80 00 00 ff 77 00 02  00 00 00 00 14 00 01 00"
       "fd 00 00 96 00 00 00 00  00 00 00 00 00 00 00 01"
       "14 00 07 00 fd 00 00 00  00 00 00 00 00 00 00 00"
       "00 00 00 05 08 00 04 00  01 00 00 00"},
      {"-6 route replace local fd00:96::1/128 dev lo table local proto 119 src fd00::5",
       encode(RouteVerb::kReplace, {kVip6, kSource6}),
       "4c 00 00 00 18 00 05 05  47 f1 00 6b 00 00 00 00"
       "0a 80 00 00 ff 77 00 02  00 00 00 00 14 00 01 00"
       "fd 00 00 96 00 00 00 00  00 00 00 00 00 00 00 01"
       "14 00 07 00 fd 00 00 00  00 00 00 00 00 00 00 00"
       "00 00 00 05 08 00 04 00  01 00 00 00"},
      {"route del local 10.96.0.1/32 dev lo table local proto 119",
       encode(RouteVerb::kDelete, {kVip4, kSource4}),
       "2c 00 00 00 19 00 05 00  47 f1 00 6b 00 00 00 00"
       "02 20 00 00 ff 77 fe 02  00 00 00 00 08 00 01 00"
       "0a 60 00 01 08 00 04 00  01 00 00 00"},
      {"route get fibmatch 10.96.0.1", lookup,
       "24 00 00 00 1a 00 01 00  47 f1 00 6b 00 00 00 00"
       "02 20 00 00 00 00 00 00  00 30 00 00 08 00 01 00"
       "0a 60 00 01"},
  };
  for (const Golden& golden : goldens) {
    INFO("ip " << golden.command);
    CHECK(absl::BytesToHexString(golden.bytes) == absl::BytesToHexString(Bytes(golden.hex)));
  }
}

// Answers of Linux 6.18: strace -e trace=recvmsg -e read=3,4 ip route list table local proto 119.
constexpr char kDumped4[] =
    "3c 00 00 00 18 00 22 00  47 f1 00 6b e4 4a 00 00"
    "02 20 00 00 ff 77 fe 02  00 00 00 00 08 00 0f 00"
    "ff 00 00 00 08 00 01 00  0a 60 00 01 08 00 07 00"
    "c0 00 02 05 08 00 04 00  01 00 00 00";
constexpr char kDumped6[] =
    "88 00 00 00 18 00 22 00  47 f1 00 6b ea 4a 00 00"
    "0a 80 00 00 ff 77 00 02  00 00 00 00 08 00 0f 00"
    "ff 00 00 00 14 00 01 00  fd 00 00 96 00 00 00 00"
    "00 00 00 00 00 00 00 01  14 00 07 00 fd 00 00 00"
    "00 00 00 00 00 00 00 00  00 00 00 05 08 00 06 00"
    "00 04 00 00 08 00 04 00  01 00 00 00 24 00 0c 00"
    "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00"
    "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00"
    "05 00 14 00 00 00 00 00";

// What iproute2 asks has RTM_F_LOOKUP_TABLE for IPv4; we do not ask for the table.
TEST_CASE("the question for a device has the bytes that iproute2 sends, without the table's") {
  struct Golden {
    std::string command;
    std::string address;
    std::string hex;
  };
  const std::vector<Golden> goldens = {
      {"route get 192.0.2.9", "192.0.2.9",
       "24 00 00 00 1a 00 01 00  47 f1 00 6b 00 00 00 00"
       "02 20 00 00 00 00 00 00  00 10 00 00 08 00 01 00"
       "c0 00 02 09"},
      {"-6 route get fd00::9", "fd00::9",
       "30 00 00 00 1a 00 01 00  47 f1 00 6b 00 00 00 00"
       "0a 80 00 00 00 00 00 00  00 00 00 00 14 00 01 00"
       "fd 00 00 00 00 00 00 00  00 00 00 00 00 00 00 09"},
  };
  for (const Golden& golden : goldens) {
    INFO("ip " << golden.command);
    std::string expected = Bytes(golden.hex);
    constexpr size_t kFlags = 24;
    expected.replace(kFlags, 4, std::string(4, '\0'));
    std::string bytes;
    EncodeDeviceLookup(*IpAddress::Parse(golden.address), kSequence, bytes);
    CHECK(absl::BytesToHexString(bytes) == absl::BytesToHexString(expected));
  }
}

// Answers of Linux 6.18 to these; eth0 has the index 3.
constexpr char kDevice4[] =
    "68 00 00 00 18 00 00 00  47 f1 00 6b 19 2a 00 00"
    "02 20 00 00 fe 00 00 01  00 02 00 00 08 00 0f 00"
    "fe 00 00 00 08 00 01 00  c0 00 02 09 08 00 04 00"
    "03 00 00 00 08 00 07 00  c0 00 02 05 08 00 19 00"
    "00 00 00 00 24 00 0c 00  02 00 00 00 00 00 00 00"
    "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00"
    "00 00 00 00 00 00 00 00";
constexpr char kDevice6[] =
    "9c 00 00 00 18 00 00 00  47 f1 00 6b 1e 2a 00 00"
    "0a 80 80 00 fe 02 00 01  00 00 00 00 08 00 0f 00"
    "fe 00 00 00 14 00 01 00  fd 00 00 00 00 00 00 00"
    "00 00 00 00 00 00 00 09  14 00 02 00 00 00 00 00"
    "00 00 00 00 00 00 00 00  00 00 00 00 14 00 07 00"
    "fd 00 00 00 00 00 00 00  00 00 00 00 00 00 00 05"
    "08 00 06 00 00 01 00 00  08 00 04 00 03 00 00 00"
    "24 00 0c 00 02 00 00 00  00 00 00 00 00 00 00 00"
    "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00"
    "00 00 00 00 05 00 14 00  00 00 00 00";

absl::StatusOr<uint32_t> DeviceIn(absl::string_view bytes) {
  uint32_t device = 0;
  absl::Status status = ForEachMessage(bytes, [&](const Message& message) {
    absl::StatusOr<uint32_t> found = DecodeDevice(message);
    if (found.ok()) device = *found;
    return found.status();
  });
  if (!status.ok()) return status;
  return device;
}

TEST_CASE("the device is read from the kernel's answer") {
  struct Row {
    std::string hex;
    size_t device_attribute;
  };
  for (const Row& row : {Row{kDevice4, 44}, Row{kDevice6, 104}}) {
    const std::string good = Bytes(row.hex);
    CHECK(DeviceIn(good).value() == 3);
    // The attribute is another one, or has no index.
    std::string without = good;
    without[row.device_attribute + 2] = 0x7f;
    CHECK(absl::IsDataLoss(DeviceIn(without).status()));
    std::string none = good;
    none[row.device_attribute + 4] = 0;
    CHECK(absl::IsDataLoss(DeviceIn(none).status()));
    // The message is another one.
    std::string other = good;
    other[4] = RTM_DELROUTE;
    CHECK(absl::IsDataLoss(DeviceIn(other).status()));
    for (size_t size = 1; size < good.size(); ++size) {
      const std::vector<char> cut(good.begin(), good.begin() + static_cast<long>(size));
      CHECK(absl::IsDataLoss(DeviceIn({cut.data(), cut.size()}).status()));
    }
    std::mt19937 random(1);
    for (int i = 0; i < 20000; ++i) {
      std::vector<char> bytes(good.begin(), good.end());
      for (int flips = 0; flips < 3; ++flips) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      const absl::Status status = DeviceIn({bytes.data(), bytes.size()}).status();
      CHECK((status.ok() || absl::IsDataLoss(status)));
    }
  }
}

absl::StatusOr<std::optional<RouteEntry>> Decode(absl::string_view bytes) {
  std::optional<RouteEntry> result;
  absl::Status status = ForEachMessage(bytes, [&](const Message& message) {
    absl::StatusOr<std::optional<RouteEntry>> route = DecodeRoute(message);
    if (route.ok()) result = *route;
    return route.status();
  });
  if (!status.ok()) return status;
  return result;
}

TEST_CASE("a dump of the kernel's routes is read") {
  struct Row {
    std::string hex;
    IpAddress vip;
    IpAddress source;
  };
  for (const Row& row : {Row{kDumped4, kVip4, kSource4}, Row{kDumped6, kVip6, kSource6}}) {
    const auto decoded = Decode(Bytes(row.hex));
    REQUIRE(decoded.ok());
    REQUIRE(decoded->has_value());
    const RouteEntry& route = **decoded;
    CHECK(route.IsOurs());
    CHECK(route.IsInTableLocal());
    CHECK(route.IsLocalTo(row.vip));
    CHECK_FALSE(route.IsLocalTo(row.source));
    CHECK(route.source == row.source);
    CHECK(route.device == 1);
  }
}

TEST_CASE("malformed routes are errors, and never read beyond their end") {
  for (const std::string& hex : {std::string(kDumped4), std::string(kDumped6)}) {
    const std::string good = Bytes(hex);
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
