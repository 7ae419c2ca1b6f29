#include "proxy/cli/stats_format.h"

#include <catch2/catch.hpp>

#include "ipvs/ip_address.h"

namespace fairlead {
namespace {

void Count(v1::Statistics* statistics, uint64_t first) {
  statistics->set_connections(first);
  statistics->set_packets_in(first + 1);
  statistics->set_packets_out(first + 2);
  statistics->set_bytes_in(first * 1000);
  statistics->set_bytes_out(first * 1'000'000);
  statistics->set_connections_per_second(first + 5);
  statistics->set_packets_in_per_second(first + 6);
  statistics->set_packets_out_per_second(first + 7);
  statistics->set_bytes_in_per_second(first + 8);
  statistics->set_bytes_out_per_second(first + 9);
}

std::string Bytes(const char* address) {
  return std::string(IpAddress::Parse(address).value().bytes());
}

v1::StatusResponse MakeStatus() {
  v1::StatusResponse status;
  status.set_node_name("n1");
  status.set_kernel_table("IP Virtual Server version 1.2.1 (size=4096)");
  return status;
}

std::vector<v1::VirtualServer> MakeServers() {
  v1::VirtualServer cart;
  cart.set_protocol(v1::TCP);
  cart.set_address(Bytes("10.96.0.1"));
  cart.set_port(80);
  cart.set_service_namespace("shop");
  cart.set_service_name("cart");
  cart.set_port_name("http");
  cart.set_address_kind("ClusterIP");
  Count(cart.mutable_statistics(), 123'456);
  v1::RealServer* real = cart.add_real_servers();
  real->set_address(Bytes("10.244.1.2"));
  real->set_port(8080);
  real->set_target_name("cart-5d9c");
  real->set_node_name("n1");
  real->set_state("ready");
  Count(real->mutable_statistics(), 200'000'000);
  v1::VirtualServer mark;
  mark.set_family(v1::IPV6);
  mark.set_firewall_mark(7);
  mark.mutable_statistics();
  return {cart, mark};
}

TEST_CASE("a number is shortened as ipvsadm shortens it") {
  // print_largenum of ipvsadm 1.31.
  const std::pair<uint64_t, const char*> kRows[] = {
      {0, "0"},
      {99'999'999, "99999999"},
      {100'000'000, "100000K"},
      {999'999'999, "999999K"},
      {1'000'000'000, "1000M"},
      {99'999'999'999, "99999M"},
      {100'000'000'000, "100G"},
      {99'999'999'999'999, "99999G"},
      {100'000'000'000'000, "100T"},
      {UINT64_MAX, "18446744T"},
  };
  for (const auto& [number, text] : kRows) CHECK(FormatLargeNumber(number) == text);
}

TEST_CASE("where the kernel estimates nothing, it is said why rates are 0") {
  v1::StatusResponse status = MakeStatus();
  CHECK(DescribeMissingRates(status).empty());
  status.set_estimation_off(true);
  CHECK(DescribeMissingRates(status) ==
        "rates are 0: net.ipv4.vs.run_estimation is 0 on this node");
}

TEST_CASE("totals are laid out as ipvsadm --stats") {
  CHECK(FormatStatsText(MakeStatus(), MakeServers(), Counting::kTotals, /*exact=*/false) ==
        R"(IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes Service
  -> RemoteAddress:Port                                                        Pod
TCP  10.96.0.1:80                   123456   123457   123458  123456K     123G shop/cart:http
  -> 10.244.1.2:8080               200000K  200000K  200000K     200G     200T cart-5d9c
FWM  7 IPv6                              0        0        0        0        0
)");
}

TEST_CASE("exact totals have all their digits, and move what is behind them") {
  CHECK(FormatStatsText(MakeStatus(), MakeServers(), Counting::kTotals, /*exact=*/true) ==
        R"(IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes Service
  -> RemoteAddress:Port                                                        Pod
TCP  10.96.0.1:80                   123456   123457   123458 123456000 123456000000 shop/cart:http
  -> 10.244.1.2:8080              200000000 200000001 200000002 200000000000 200000000000000 cart-5d9c
FWM  7 IPv6                              0        0        0        0        0
)");
}

TEST_CASE("rates are laid out as ipvsadm --rate, which shortens only some of an endpoint's") {
  CHECK(FormatStatsText(MakeStatus(), MakeServers(), Counting::kRates, /*exact=*/false) ==
        R"(IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS Service
  -> RemoteAddress:Port                                                        Pod
TCP  10.96.0.1:80                   123461   123462   123463   123464   123465 shop/cart:http
  -> 10.244.1.2:8080              200000005 200000006 200000007  200000K  200000K cart-5d9c
FWM  7 IPv6                              0        0        0        0        0
)");
}

TEST_CASE("a wide table has the virtual server's total above its endpoints") {
  CHECK(
      FormatStatsWide(MakeServers(), Counting::kTotals, /*exact=*/false, /*color=*/false) ==
      R"(NAMESPACE  SERVICE  PORT  KIND       ADDRESS       PROTO  ENDPOINT         POD        NODE  CONNECTIONS  PACKETS-IN  PACKETS-OUT  BYTES-IN  BYTES-OUT
shop       cart     http  ClusterIP  10.96.0.1:80  TCP    -                -          -          123456      123457       123458   123456K       123G
shop       cart     http  ClusterIP  10.96.0.1:80  TCP    10.244.1.2:8080  cart-5d9c  n1        200000K     200000K      200000K      200G       200T
-          -        -     -          FWM:7/IPv6    -      -                -          -               0           0            0         0          0
)");
  CHECK(
      FormatStatsWide({MakeServers()[0]}, Counting::kRates, /*exact=*/true, /*color=*/false) ==
      R"(NAMESPACE  SERVICE  PORT  KIND       ADDRESS       PROTO  ENDPOINT         POD        NODE  CONNECTIONS/S  PACKETS-IN/S  PACKETS-OUT/S  BYTES-IN/S  BYTES-OUT/S
shop       cart     http  ClusterIP  10.96.0.1:80  TCP    -                -          -            123461        123462         123463      123464       123465
shop       cart     http  ClusterIP  10.96.0.1:80  TCP    10.244.1.2:8080  cart-5d9c  n1        200000005     200000006      200000007   200000008    200000009
)");
}

TEST_CASE("documents have numbers in full") {
  CHECK(FormatStatsDocument(MakeStatus(), {MakeServers()[0]}, Counting::kTotals, Output::kYaml) ==
        R"(node: "n1"
virtualServers:
- protocol: "TCP"
  address: "10.96.0.1"
  port: 80
  firewallMark: 0
  family: "IPv4"
  service: "shop/cart"
  portName: "http"
  kind: "ClusterIP"
  statistics:
    connections: 123456
    packetsIn: 123457
    packetsOut: 123458
    bytesIn: 123456000
    bytesOut: 123456000000
  realServers:
  - address: "10.244.1.2"
    port: 8080
    pod: "cart-5d9c"
    node: "n1"
    state: "ready"
    statistics:
      connections: 200000000
      packetsIn: 200000001
      packetsOut: 200000002
      bytesIn: 200000000000
      bytesOut: 200000000000000
)");
  CHECK(FormatStatsDocument(MakeStatus(), {MakeServers()[1]}, Counting::kRates, Output::kJson) ==
        R"({
  "node": "n1",
  "virtualServers": [
    {
      "protocol": null,
      "address": null,
      "port": null,
      "firewallMark": 7,
      "family": "IPv6",
      "service": "",
      "portName": "",
      "kind": "",
      "rates": {
        "connectionsPerSecond": 0,
        "packetsInPerSecond": 0,
        "packetsOutPerSecond": 0,
        "bytesInPerSecond": 0,
        "bytesOutPerSecond": 0
      },
      "realServers": []
    }
  ]
}
)");
}

}  // namespace
}  // namespace fairlead
