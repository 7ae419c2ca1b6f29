#include "ipvs/ip_address.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

namespace fairlead {
namespace {

IpAddress Parsed(const std::string& text) { return IpAddress::Parse(text).value(); }

TEST_CASE("an address is parsed and formatted in its canonical form") {
  struct Row {
    std::string text;
    std::string canonical;
    IpFamily family;
  };
  const std::vector<Row> rows = {
      {"0.0.0.0", "0.0.0.0", IpFamily::kIpv4},
      {"10.0.0.1", "10.0.0.1", IpFamily::kIpv4},
      {"255.255.255.255", "255.255.255.255", IpFamily::kIpv4},
      {"::", "::", IpFamily::kIpv6},
      {"::1", "::1", IpFamily::kIpv6},
      {"fd00:0:0:0:0:0:0:1", "fd00::1", IpFamily::kIpv6},
      {"FD00::ABCD", "fd00::abcd", IpFamily::kIpv6},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1", IpFamily::kIpv6},
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", IpFamily::kIpv6},
      {"::ffff:10.0.0.1", "::ffff:10.0.0.1", IpFamily::kIpv6},
      {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", IpFamily::kIpv6},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto address = IpAddress::Parse(row.text);
    REQUIRE(address.ok());
    CHECK(address->Format() == row.canonical);
    CHECK(address->family() == row.family);
    CHECK(address->bit_length() == (row.family == IpFamily::kIpv4 ? 32 : 128));
  }
}

TEST_CASE("what is not an address is refused by name") {
  const std::vector<std::string> texts = {"",
                                          " ",
                                          "10.0.0",
                                          "10.0.0.256",
                                          "10.0.0.01",
                                          "10.0.0.1 ",
                                          " 10.0.0.1",
                                          "10.0.0.1/32",
                                          "10.0.0.1:80",
                                          "a.b.c.d",
                                          "1.2.3.4.5",
                                          ":",
                                          ":::",
                                          "fd00::1%eth0",
                                          "[fd00::1]",
                                          "fd00::1::",
                                          "fd00::12345",
                                          "1:2:3:4:5:6:7",
                                          "::ffff:10.0.0.256",
                                          "0x0a000001",
                                          "167772161",
                                          std::string("10.0.0.1\0", 9),
                                          std::string(100, '1')};
  for (const std::string& text : texts) {
    INFO(text);
    const auto address = IpAddress::Parse(text);
    CHECK(absl::IsInvalidArgument(address.status()));
  }
  CHECK(IpAddress::Parse("nonsense").status().message() == "not an IP address: \"nonsense\"");
}

TEST_CASE("an address is made of 4 or 16 bytes") {
  CHECK(IpAddress::FromBytes(absl::string_view("\x0a\0\0\x01", 4)).value() == Parsed("10.0.0.1"));
  CHECK(IpAddress::FromBytes(std::string(15, '\0') + '\x01').value() == Parsed("::1"));
  for (const size_t size : {0, 3, 5, 15, 17}) {
    CHECK(absl::IsInvalidArgument(IpAddress::FromBytes(std::string(size, 'x')).status()));
  }
  CHECK(IpAddress::V4(0x7f000001) == Parsed("127.0.0.1"));
  CHECK(IpAddress() == Parsed("0.0.0.0"));
  CHECK(IpAddress::V6({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}) == Parsed("fd00::1"));
}

TEST_CASE("every address survives being formatted and parsed") {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(i % 2 == 0 ? 4 : 16, '\0');
    // Many zeros, for "::".
    for (char& byte : bytes) byte = random() % 3 == 0 ? static_cast<char>(random()) : '\0';
    const IpAddress address = IpAddress::FromBytes(bytes).value();
    INFO(address.Format());
    CHECK(IpAddress::Parse(address.Format()).value() == address);
    CHECK(address.bytes() == bytes);
  }
}

TEST_CASE("addresses sort as numbers, IPv4 first") {
  const std::vector<IpAddress> sorted = {Parsed("0.0.0.0"),     Parsed("9.255.255.255"),
                                         Parsed("10.0.0.1"),    Parsed("10.0.0.10"),
                                         Parsed("192.168.0.1"), Parsed("::"),
                                         Parsed("::1"),         Parsed("fd00::")};
  CHECK(std::is_sorted(sorted.begin(), sorted.end()));
  CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
  CHECK(Parsed("10.0.0.1") != Parsed("::10.0.0.1"));
}

TEST_CASE("an address knows what kind it is") {
  struct Row {
    std::string text;
    std::string kind;
  };
  const std::vector<Row> rows = {
      {"127.0.0.1", "loopback"},
      {"127.255.0.9", "loopback"},
      {"128.0.0.1", ""},
      {"::1", "loopback"},
      {"::2", ""},
      {"169.254.0.1", "link-local"},
      {"169.255.0.1", ""},
      {"fe80::1", "link-local"},
      {"febf::1", "link-local"},
      {"fec0::1", ""},
      {"0.0.0.0", "unspecified"},
      {"0.0.0.1", ""},
      {"::", "unspecified"},
      {"224.0.0.1", "multicast"},
      {"239.255.255.255", "multicast"},
      {"240.0.0.1", ""},
      {"223.255.255.255", ""},
      {"ff02::1", "multicast"},
      {"fd00::1", ""},
      {"10.0.0.1", ""},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const IpAddress address = Parsed(row.text);
    CHECK(address.IsLoopback() == (row.kind == "loopback"));
    CHECK(address.IsLinkLocal() == (row.kind == "link-local"));
    CHECK(address.IsUnspecified() == (row.kind == "unspecified"));
    CHECK(address.IsMulticast() == (row.kind == "multicast"));
  }
}

TEST_CASE("an offset is added with carry and wraps at the end") {
  CHECK(Parsed("10.0.0.255").Plus(1) == Parsed("10.0.1.0"));
  CHECK(Parsed("10.0.0.0").Plus(0x01020304) == Parsed("11.2.3.4"));
  CHECK(Parsed("255.255.255.255").Plus(2) == Parsed("0.0.0.1"));
  CHECK(Parsed("fd00::ffff:ffff").Plus(1) == Parsed("fd00::1:0:0"));
  CHECK(Parsed("fd00::ffff:ffff:ffff:ffff").Plus(1) == Parsed("fd00::1:0:0:0:0"));
  CHECK(Parsed("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").Plus(1) == Parsed("::"));
  CHECK(Parsed("::").Plus(~uint64_t{0}) == Parsed("::ffff:ffff:ffff:ffff"));
}

TEST_CASE("address and port are formatted with brackets for IPv6") {
  CHECK(FormatAddressPort(Parsed("10.0.0.1"), 80) == "10.0.0.1:80");
  CHECK(FormatAddressPort(Parsed("fd00::1"), 65535) == "[fd00::1]:65535");
}

TEST_CASE("an address with a port is parsed as it is formatted") {
  struct Row {
    std::string text;
    std::string address;
    uint16_t port;
  };
  const std::vector<Row> rows = {
      {"10.0.0.1:80", "10.0.0.1", 80},
      {"0.0.0.0:1", "0.0.0.0", 1},
      {"255.255.255.255:65535", "255.255.255.255", 65535},
      {"[fd00::1]:80", "fd00::1", 80},
      {"[::]:65535", "::", 65535},
      {"[::ffff:10.0.0.1]:53", "::ffff:10.0.0.1", 53},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto parsed = ParseAddressPort(row.text);
    REQUIRE(parsed.ok());
    CHECK(*parsed == AddressPort{Parsed(row.address), row.port});
    CHECK(FormatAddressPort(parsed->address, parsed->port) == row.text);
  }
}

TEST_CASE("what is no address with a port is refused by name") {
  struct Row {
    std::string text;
    std::string why;
  };
  const std::string port = "the port is not a number from 1 to 65535";
  const std::string brackets = "brackets are for IPv6 addresses, and only those";
  const std::vector<Row> rows = {
      {"", "it has no port"},
      {"10.0.0.1", "it has no port"},
      {"10.0.0.1:", port},
      {"10.0.0.1:0", port},
      {"10.0.0.1:65536", port},
      {"10.0.0.1:-1", port},
      {"10.0.0.1:http", port},
      {"10.0.0.1:+80", port},
      {"10.0.0.1:080", port},
      {"10.0.0.1: 80", port},
      {"10.0.0.1:4294967377", port},
      {"[fd00::1]", port},
      {"fd00::1:80", brackets},
      {"[10.0.0.1]:80", brackets},
      {":80", "not an IP address: \"\""},
      {"host:80", "not an IP address: \"host\""},
      {"[]:80", "not an IP address: \"\""},
      {"[fd00::1:80", "not an IP address: \"[fd00::1\""},
      {"[10.0.0.1:80", "not an IP address: \"[10.0.0.1\""},
      {"10.0.0.1]:80", "not an IP address: \"10.0.0.1]\""},
      {"fd00::1]:80", "not an IP address: \"fd00::1]\""},
      {"[fd00::1%eth0]:80", "not an IP address: \"fd00::1%eth0\""},
      {"10.0.0.1:80:81", "not an IP address: \"10.0.0.1:80\""},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const absl::Status status = ParseAddressPort(row.text).status();
    CHECK(absl::IsInvalidArgument(status));
    CHECK(status.message() ==
          "\"" + row.text +
              "\" is no address with a port such as 10.0.0.1:80 or [fd00::1]:80: " + row.why);
  }
}

TEST_CASE("a prefix is parsed, and its host bits are cleared") {
  struct Row {
    std::string text;
    std::string canonical;
  };
  const std::vector<Row> rows = {
      {"10.96.0.0/12", "10.96.0.0/12"},
      {"10.97.3.4/12", "10.96.0.0/12"},
      {"10.0.0.1/32", "10.0.0.1/32"},
      {"10.0.0.1/0", "0.0.0.0/0"},
      {"10.0.0.255/31", "10.0.0.254/31"},
      {"fd00::ffff/64", "fd00::/64"},
      {"fd00::1/128", "fd00::1/128"},
      {"fdff::/9", "fd80::/9"},
      {"::/0", "::/0"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto prefix = IpPrefix::Parse(row.text);
    REQUIRE(prefix.ok());
    CHECK(prefix->Format() == row.canonical);
  }
  for (const std::string text : {"", "/", "10.0.0.1", "10.0.0.1/", "10.0.0.1/33", "10.0.0.1/-1",
                                 "10.0.0.1/+8", "10.0.0.1/08", "10.0.0.1/ 8", "10.0.0.1/8 ",
                                 "fd00::/129", "/8", "10.0.0/8", "10.0.0.1/8/8", "::/1000"}) {
    INFO(text);
    CHECK(absl::IsInvalidArgument(IpPrefix::Parse(text).status()));
  }
  CHECK(absl::IsInvalidArgument(IpPrefix::Make(Parsed("10.0.0.0"), 33).status()));
  CHECK(absl::IsInvalidArgument(IpPrefix::Make(Parsed("10.0.0.0"), -1).status()));
}

TEST_CASE("a prefix ends with the address whose host bits are all one") {
  struct Row {
    std::string prefix;
    std::string last;
  };
  const std::vector<Row> rows = {
      {"10.96.0.0/12", "10.111.255.255"},
      {"0.0.0.0/0", "255.255.255.255"},
      {"10.0.0.1/32", "10.0.0.1"},
      {"10.0.0.254/31", "10.0.0.255"},
      {"128.0.0.0/1", "255.255.255.255"},
      {"::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
      {"fd00::/9", "fd7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
      {"fd00::/64", "fd00::ffff:ffff:ffff:ffff"},
      {"fd00::1/128", "fd00::1"},
  };
  for (const Row& row : rows) {
    INFO(row.prefix);
    const IpPrefix prefix = IpPrefix::Parse(row.prefix).value();
    CHECK(prefix.last() == Parsed(row.last));
    CHECK(prefix.Contains(prefix.last()));
  }
}

TEST_CASE("a prefix contains the addresses of its family between its ends") {
  struct Row {
    std::string prefix;
    std::string address;
    bool contains;
  };
  const std::vector<Row> rows = {
      {"10.96.0.0/12", "10.96.0.0", true},
      {"10.96.0.0/12", "10.111.255.255", true},
      {"10.96.0.0/12", "10.112.0.0", false},
      {"10.96.0.0/12", "10.95.255.255", false},
      {"0.0.0.0/0", "255.255.255.255", true},
      {"0.0.0.0/0", "::", false},
      {"::/0", "10.0.0.1", false},
      {"::/0", "fd00::1", true},
      {"10.0.0.1/32", "10.0.0.1", true},
      {"10.0.0.1/32", "10.0.0.2", false},
      {"fd00::/65", "fd00::7fff:0:0:0", true},
      {"fd00::/65", "fd00::8000:0:0:0", false},
      {"fd00::1/128", "fd00::1", true},
      {"fd00::1/128", "fd00::", false},
  };
  for (const Row& row : rows) {
    INFO(row.prefix << " and " << row.address);
    CHECK(IpPrefix::Parse(row.prefix)->Contains(Parsed(row.address)) == row.contains);
  }
}

}  // namespace
}  // namespace fairlead
