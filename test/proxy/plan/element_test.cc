#include "proxy/plan/element.h"

#include <catch2/catch.hpp>

#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using ipvs::Protocol;
using testing::Address;
using testing::Lines;
using testing::Prefix;

PlannedVirtualServer MakeServer(AddressKind kind, Masquerade masquerade, Verdict verdict,
                                const std::string& address = "10.96.0.1") {
  PlannedVirtualServer server;
  server.key = ipvs::VirtualServerKey::ForAddress(Protocol::kUdp, Address(address), 53);
  server.kind = kind;
  server.vip = kind == AddressKind::kClusterIp;
  server.masquerade = masquerade;
  server.verdict = verdict;
  return server;
}

PlannedVirtualServer WithEndpoints(PlannedVirtualServer server) {
  const auto add = [&server](const char* address, uint16_t port, bool local) {
    PlannedRealServer& real = server.real_servers.emplace_back();
    real.key = {Address(address), port};
    real.local = local;
  };
  add("10.244.1.2", 53, true);
  add("10.244.1.2", 54, true);
  add("10.244.1.3", 53, true);
  add("10.244.2.2", 53, false);
  return server;
}

// An address of a load balancer that drops those from outside.
PlannedVirtualServer LoadBalancer(const std::string& address, bool vip, uint32_t mark,
                                  const std::vector<std::string>& sources) {
  PlannedVirtualServer server =
      MakeServer(AddressKind::kLoadBalancer, Masquerade::kNever, Verdict::kDrop, address);
  server.vip = vip;
  server.mark = mark;
  for (const std::string& source : sources) server.sources.push_back(Prefix(source));
  return server;
}

PlannedVirtualServer Marked(PlannedVirtualServer server) {
  server.mark = 0x46000001;
  return server;
}

PlannedVirtualServer Limited(PlannedVirtualServer server) {
  server.sources = {Prefix("10.0.0.0/8")};
  return server;
}

PlannedVirtualServer Internal(IpFamily family, Verdict verdict) {
  PlannedVirtualServer server = MakeServer(AddressKind::kInternal, Masquerade::kNever, verdict);
  server.key = ipvs::VirtualServerKey::ForMark(family, 0x46000001);
  return server;
}

struct ElementCase {
  std::string name;
  PlannedVirtualServer server;
  Lines expected;
};

TEST_CASE("A virtual server needs the elements of its kind, masquerade and verdict") {
  constexpr auto kVip = AddressKind::kClusterIp;
  constexpr auto kNodePort = AddressKind::kNodePort;
  const auto row = GENERATE(values<ElementCase>({
      {"a VIP is guarded, and served at its port",
       MakeServer(kVip, Masquerade::kNever, Verdict::kBalance),
       {"owned4 10.96.0.1 . udp . 53", "served4 10.96.0.1 . udp . 53", "guarded4 10.96.0.1"}},
      {"a node port is served and not guarded",
       MakeServer(kNodePort, Masquerade::kNever, Verdict::kBalance, "192.168.1.1"),
       {"owned4 192.168.1.1 . udp . 53", "served4 192.168.1.1 . udp . 53"}},
      {"masquerade of outsiders, of a VIP that refuses and is open all the same",
       MakeServer(kVip, Masquerade::kOutsiders, Verdict::kReject),
       {"owned4 10.96.0.1 . udp . 53", "open4 10.96.0.1 . udp . 53", "guarded4 10.96.0.1",
        "masquerade_outsiders4 10.96.0.1 . udp . 53", "reject4 10.96.0.1 . udp . 53"}},
      {"masquerade of everyone",
       MakeServer(kNodePort, Masquerade::kAlways, Verdict::kBalance, "192.168.1.1"),
       {"owned4 192.168.1.1 . udp . 53", "served4 192.168.1.1 . udp . 53",
        "masquerade_always4 192.168.1.1 . udp . 53"}},
      {"a VIP that drops is open all the same, as the drop comes first",
       MakeServer(kVip, Masquerade::kNever, Verdict::kDrop),
       {"owned4 10.96.0.1 . udp . 53", "open4 10.96.0.1 . udp . 53", "guarded4 10.96.0.1",
        "drop4 10.96.0.1 . udp . 53"}},
      {"a node port that drops",
       MakeServer(kNodePort, Masquerade::kNever, Verdict::kDrop, "192.168.1.1"),
       {"owned4 192.168.1.1 . udp . 53", "drop4 192.168.1.1 . udp . 53"}},
      {"a hairpin for each local endpoint, once",
       WithEndpoints(MakeServer(kNodePort, Masquerade::kNever, Verdict::kBalance, "192.168.1.1")),
       {"owned4 192.168.1.1 . udp . 53", "served4 192.168.1.1 . udp . 53",
        "hairpin4 10.244.1.2 . 10.244.1.2", "hairpin4 10.244.1.3 . 10.244.1.3"}},
      {"a node port that refuses",
       MakeServer(kNodePort, Masquerade::kNever, Verdict::kReject, "192.168.1.1"),
       {"owned4 192.168.1.1 . udp . 53", "reject4 192.168.1.1 . udp . 53"}},
      {"IPv6 has sets of its own",
       MakeServer(kVip, Masquerade::kAlways, Verdict::kDrop, "fd00:96::1"),
       {"owned6 fd00:96::1 . udp . 53", "open6 fd00:96::1 . udp . 53", "guarded6 fd00:96::1",
        "masquerade_always6 fd00:96::1 . udp . 53", "drop6 fd00:96::1 . udp . 53"}},
      {"a mark for pods and the node",
       LoadBalancer("203.0.113.1", true, 0x46000001, {}),
       {"owned4 203.0.113.1 . udp . 53", "open4 203.0.113.1 . udp . 53", "guarded4 203.0.113.1",
        "mark4 203.0.113.1 . udp . 53 : 0x46000001", "drop4 203.0.113.1 . udp . 53"}},
      {"a mark on a port that balances: nothing leads past it",
       Marked(MakeServer(kVip, Masquerade::kNever, Verdict::kBalance)),
       {"owned4 10.96.0.1 . udp . 53", "open4 10.96.0.1 . udp . 53", "guarded4 10.96.0.1",
        "mark4 10.96.0.1 . udp . 53 : 0x46000001"}},
      {"sources of a port that balances: nothing leads past them",
       Limited(MakeServer(kNodePort, Masquerade::kNever, Verdict::kBalance, "192.168.1.1")),
       {"owned4 192.168.1.1 . udp . 53", "limited4 192.168.1.1 . udp . 53",
        "allowed4 192.168.1.1 . udp . 53 . 10.0.0.0/8"}},
      {"an external address that is the node's is neither guarded nor open",
       LoadBalancer("192.168.1.1", false, 0x46000001, {}),
       {"owned4 192.168.1.1 . udp . 53", "mark4 192.168.1.1 . udp . 53 : 0x46000001",
        "drop4 192.168.1.1 . udp . 53"}},
      {"sources that are let in, each for itself",
       LoadBalancer("203.0.113.1", true, 0, {"10.0.0.0/8", "203.0.113.1/32"}),
       {"owned4 203.0.113.1 . udp . 53", "open4 203.0.113.1 . udp . 53", "guarded4 203.0.113.1",
        "limited4 203.0.113.1 . udp . 53", "allowed4 203.0.113.1 . udp . 53 . 10.0.0.0/8",
        "allowed4 203.0.113.1 . udp . 53 . 203.0.113.1/32", "drop4 203.0.113.1 . udp . 53"}},
      {"the same in IPv6, on the node's own address",
       LoadBalancer("2001:db8::1", false, 0xffffffff, {"2001:db8::1/128", "fd00::/9"}),
       {"owned6 2001:db8::1 . udp . 53", "limited6 2001:db8::1 . udp . 53",
        "allowed6 2001:db8::1 . udp . 53 . 2001:db8::1/128",
        "allowed6 2001:db8::1 . udp . 53 . fd00::/9", "mark6 2001:db8::1 . udp . 53 : 0xffffffff",
        "drop6 2001:db8::1 . udp . 53"}},
      {"one for a mark: a record of it, and its endpoints' hairpins",
       WithEndpoints(Internal(IpFamily::kIpv4, Verdict::kBalance)),
       {"owned_mark4 0x46000001", "hairpin4 10.244.1.2 . 10.244.1.2",
        "hairpin4 10.244.1.3 . 10.244.1.3"}},
      {"one for a mark of IPv6",
       Internal(IpFamily::kIpv6, Verdict::kReject),
       {"owned_mark6 0x46000001"}},
      {"one for a mark neither refuses nor drops: its addresses do",
       Internal(IpFamily::kIpv4, Verdict::kDrop),
       {"owned_mark4 0x46000001"}},
  }));
  INFO(row.name);
  Lines lines;
  for (const Element& element : ElementsOf(row.server)) lines.push_back(element.Format());
  CHECK(lines == row.expected);
}

TEST_CASE("Elements of addresses alone have neither protocol nor port") {
  const auto elements = ElementsOf(
      WithEndpoints(MakeServer(AddressKind::kClusterIp, Masquerade::kNever, Verdict::kBalance)));
  CHECK(elements == std::vector<Element>{
                        {SetName::kOwned, Address("10.96.0.1"), Protocol::kUdp, 53},
                        {SetName::kServed, Address("10.96.0.1"), Protocol::kUdp, 53},
                        {SetName::kGuarded, Address("10.96.0.1"), Protocol::kTcp, 0},
                        {SetName::kHairpin, Address("10.244.1.2"), Protocol::kTcp, 0},
                        {SetName::kHairpin, Address("10.244.1.3"), Protocol::kTcp, 0},
                    });
}

TEST_CASE("What is not of an element's key or value is at its default") {
  CHECK(
      ElementsOf(LoadBalancer("203.0.113.1", false, 7, {"10.0.0.0/8"})) ==
      std::vector<Element>{
          {SetName::kOwned, Address("203.0.113.1"), Protocol::kUdp, 53},
          {SetName::kLimited, Address("203.0.113.1"), Protocol::kUdp, 53},
          {SetName::kAllowed, Address("203.0.113.1"), Protocol::kUdp, 53, 0, Prefix("10.0.0.0/8")},
          {SetName::kMark, Address("203.0.113.1"), Protocol::kUdp, 53, 7},
          {SetName::kDrop, Address("203.0.113.1"), Protocol::kUdp, 53},
      });
  CHECK(ElementsOf(Internal(IpFamily::kIpv4, Verdict::kBalance)) ==
        std::vector<Element>{
            {SetName::kOwnedMark, Address("0.0.0.0"), Protocol::kTcp, 0, 0x46000001}});
  CHECK(ElementsOf(Internal(IpFamily::kIpv6, Verdict::kBalance)) ==
        std::vector<Element>{{SetName::kOwnedMark, Address("::"), Protocol::kTcp, 0, 0x46000001}});
}

TEST_CASE("Every set has a key, and a name of its own in either family") {
  struct Row {
    SetName set;
    SetKey key;
    std::string v4;
    std::string value;
  };
  const std::vector<Row> rows = {
      {SetName::kOwned, SetKey::kPort, "owned4", "10.96.0.1 . sctp . 443"},
      {SetName::kOwnedMark, SetKey::kMark, "owned_mark4", "0x0000002a"},
      {SetName::kServed, SetKey::kPort, "served4", "10.96.0.1 . sctp . 443"},
      {SetName::kOpen, SetKey::kPort, "open4", "10.96.0.1 . sctp . 443"},
      {SetName::kGuarded, SetKey::kAddress, "guarded4", "10.96.0.1"},
      {SetName::kMasqueradeAlways, SetKey::kPort, "masquerade_always4", "10.96.0.1 . sctp . 443"},
      {SetName::kMasqueradeOutsiders, SetKey::kPort, "masquerade_outsiders4",
       "10.96.0.1 . sctp . 443"},
      {SetName::kHairpin, SetKey::kAddressTwice, "hairpin4", "10.96.0.1 . 10.96.0.1"},
      {SetName::kLimited, SetKey::kPort, "limited4", "10.96.0.1 . sctp . 443"},
      {SetName::kAllowed, SetKey::kPortAndSources, "allowed4",
       "10.96.0.1 . sctp . 443 . 198.51.100.0/24"},
      {SetName::kMark, SetKey::kPort, "mark4", "10.96.0.1 . sctp . 443 : 0x0000002a"},
      {SetName::kDrop, SetKey::kPort, "drop4", "10.96.0.1 . sctp . 443"},
      {SetName::kReject, SetKey::kPort, "reject4", "10.96.0.1 . sctp . 443"},
  };
  REQUIRE(rows.size() == kSetNames);
  for (int set = 0; set < kSetNames; ++set) {
    const Row& row = rows[set];
    INFO(row.v4);
    CHECK(static_cast<int>(row.set) == set);
    CHECK(KeyOf(row.set) == row.key);
    // All that there can be, so that what does not belong to it would show.
    Element element = {row.set, Address("10.96.0.1"),     Protocol::kSctp, 443,
                       42,      Prefix("198.51.100.0/24")};
    CHECK(element.FormatKernelSet() == row.v4);
    CHECK(element.FormatValue() == row.value);
    CHECK(element.Format() == row.v4 + " " + row.value);
    element.address = Address("fd00::1");
    CHECK(element.FormatKernelSet() == row.v4.substr(0, row.v4.size() - 1) + "6");
  }
}

}  // namespace
}  // namespace fairlead
