#include "proxy/kernel/node_addresses.h"

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"

namespace fairlead {
namespace {

std::string Join(const std::vector<IpAddress>& addresses) {
  return absl::StrJoin(
      addresses, " ", [](std::string* out, const IpAddress& address) { *out += address.Format(); });
}

TEST_CASE("node ports are served on the addresses that the flag selects") {
  const auto on = [](const std::string& address, const std::string& device) {
    return NodeAddress{*IpAddress::Parse(address), device};
  };
  const std::vector<NodeAddress> addresses = {
      on("::1", "lo"),           on("127.0.0.1", "lo"),         on("fe80::1", "eth0"),
      on("fd00::5", "eth0"),     on("192.0.2.5", "eth0"),       on("10.0.0.5", "eth1"),
      on("192.0.2.5", "bridge"), on("10.96.0.1", "kube-ipvs0"),
  };
  const std::vector<IpAddress> node_ips = {*IpAddress::Parse("192.0.2.5"),
                                           *IpAddress::Parse("fd00::5"),
                                           *IpAddress::Parse("203.0.113.9")};
  struct Row {
    std::string name;
    std::string flag;
    std::string expected;
  };
  const std::vector<Row> rows = {
      {"all but loopback, link-local and kube-proxy's", "", "10.0.0.5 192.0.2.5 fd00::5"},
      {"spaces are nothing", "  ", "10.0.0.5 192.0.2.5 fd00::5"},
      {"a CIDR", "10.0.0.0/8", "10.0.0.5"},
      {"several, of both families", "10.0.0.0/8, fd00::/64", "10.0.0.5 fd00::5"},
      {"overlapping", "192.0.2.0/24,192.0.0.0/16", "192.0.2.5"},
      {"everything of one family", "0.0.0.0/0", "10.0.0.5 192.0.2.5"},
      {"loopback is never served", "127.0.0.0/8,::1/128", ""},
      {"link-local is never served", "fe80::/10", ""},
      {"the node's own, where it has them", "primary", "192.0.2.5 fd00::5"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const absl::StatusOr<NodePortSelector> selector = ParseNodePortAddresses(row.flag);
    REQUIRE(selector.ok());
    CHECK(Join(SelectNodePortAddresses(addresses, *selector, node_ips)) == row.expected);
  }
}

TEST_CASE("a wrong --nodeport-addresses is explained") {
  struct Row {
    std::string flag;
    std::string says;
  };
  const std::vector<Row> rows = {
      {"10.0.0.5", "10.0.0.5"},
      {"10.0.0.0/33", "10.0.0.0/33"},
      {"10.0.0.0/8,", "neither `primary` nor CIDRs"},
      {"Primary", "Primary"},
      {"primary,10.0.0.0/8", "`primary` cannot be together with CIDRs"},
  };
  for (const Row& row : rows) {
    INFO(row.flag);
    const absl::Status status = ParseNodePortAddresses(row.flag).status();
    INFO(status.ToString());
    CHECK(absl::IsInvalidArgument(status));
    CHECK(absl::StartsWith(status.message(), "--nodeport-addresses: "));
    CHECK(absl::StrContains(status.message(), row.says));
  }
}

}  // namespace
}  // namespace fairlead
