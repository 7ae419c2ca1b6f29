#include "proxy/plan/element.h"

#include <catch2/catch.hpp>

#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using ipvs::Protocol;
using testing::Address;
using testing::Lines;

PlannedVirtualServer MakeServer(AddressKind kind, Masquerade masquerade, Verdict verdict,
                                const std::string& address = "10.96.0.1") {
  PlannedVirtualServer server;
  server.key = ipvs::VirtualServerKey::ForAddress(Protocol::kUdp, Address(address), 53);
  server.kind = kind;
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

struct ElementCase {
  std::string name;
  PlannedVirtualServer server;
  Lines expected;
};

TEST_CASE("A virtual server needs the elements of its kind, masquerade and verdict") {
  constexpr auto kVip = AddressKind::kClusterIp;
  constexpr auto kNodePort = AddressKind::kNodePort;
  const auto row = GENERATE(values<ElementCase>({
      {"a VIP is guarded, and open at its port",
       MakeServer(kVip, Masquerade::kNever, Verdict::kBalance),
       {"owned4 10.96.0.1 . udp . 53", "open4 10.96.0.1 . udp . 53", "guarded4 10.96.0.1"}},
      {"a node port is neither guarded nor open",
       MakeServer(kNodePort, Masquerade::kNever, Verdict::kBalance, "192.168.1.1"),
       {"owned4 192.168.1.1 . udp . 53"}},
      {"masquerade of outsiders",
       MakeServer(kVip, Masquerade::kOutsiders, Verdict::kReject),
       {"owned4 10.96.0.1 . udp . 53", "open4 10.96.0.1 . udp . 53", "guarded4 10.96.0.1",
        "masquerade_outsiders4 10.96.0.1 . udp . 53"}},
      {"masquerade of everyone",
       MakeServer(kNodePort, Masquerade::kAlways, Verdict::kBalance, "192.168.1.1"),
       {"owned4 192.168.1.1 . udp . 53", "masquerade_always4 192.168.1.1 . udp . 53"}},
      {"a VIP that drops is open all the same, as the drop comes first",
       MakeServer(kVip, Masquerade::kNever, Verdict::kDrop),
       {"owned4 10.96.0.1 . udp . 53", "open4 10.96.0.1 . udp . 53", "guarded4 10.96.0.1",
        "drop4 10.96.0.1 . udp . 53"}},
      {"a node port that drops",
       MakeServer(kNodePort, Masquerade::kNever, Verdict::kDrop, "192.168.1.1"),
       {"owned4 192.168.1.1 . udp . 53", "drop4 192.168.1.1 . udp . 53"}},
      {"a hairpin for each local endpoint, once",
       WithEndpoints(MakeServer(kNodePort, Masquerade::kNever, Verdict::kBalance, "192.168.1.1")),
       {"owned4 192.168.1.1 . udp . 53", "hairpin4 10.244.1.2 . 10.244.1.2",
        "hairpin4 10.244.1.3 . 10.244.1.3"}},
      {"IPv6 has sets of its own",
       MakeServer(kVip, Masquerade::kAlways, Verdict::kDrop, "fd00:96::1"),
       {"owned6 fd00:96::1 . udp . 53", "open6 fd00:96::1 . udp . 53", "guarded6 fd00:96::1",
        "masquerade_always6 fd00:96::1 . udp . 53", "drop6 fd00:96::1 . udp . 53"}},
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
                        {SetName::kOpen, Address("10.96.0.1"), Protocol::kUdp, 53},
                        {SetName::kGuarded, Address("10.96.0.1"), Protocol::kTcp, 0},
                        {SetName::kHairpin, Address("10.244.1.2"), Protocol::kTcp, 0},
                        {SetName::kHairpin, Address("10.244.1.3"), Protocol::kTcp, 0},
                    });
}

}  // namespace
}  // namespace fairlead
