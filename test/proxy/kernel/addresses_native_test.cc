#include <catch2/catch.hpp>

#include "network_namespace.h"
#include "proxy/kernel/node_addresses.h"
#include "proxy/kernel/sysctl.h"

namespace fairlead {
namespace {

TEST_CASE("the node's addresses are read with their devices") {
  NetworkNamespace network;
  Run("ip link add eth0 type veth peer eth1 && ip addr add 192.0.2.5/24 dev eth0 && "
      "ip addr add 10.0.0.1 peer 10.0.0.2 dev eth0 && ip addr add fd00::5/64 dev eth0 nodad");
  const auto addresses = ReadNodeAddresses();
  REQUIRE(addresses.ok());
  CHECK(*addresses == std::vector<NodeAddress>{
                          {*IpAddress::Parse("10.0.0.1"), "eth0"},
                          {*IpAddress::Parse("127.0.0.1"), "lo"},
                          {*IpAddress::Parse("192.0.2.5"), "eth0"},
                          {*IpAddress::Parse("::1"), "lo"},
                          {*IpAddress::Parse("fd00::5"), "eth0"},
                      });
}

TEST_CASE("settings are those of the calling thread's namespace") {
  const std::string outside = Run("cat /proc/sys/net/ipv4/ip_forward");
  {
    NetworkNamespace network;
    for (const char* value : {"1", "0", "1"}) {
      CHECK(EnsureSysctl({"net.ipv4.ip_forward", value, ""}).ok());
      CHECK(Run("cat /proc/sys/net/ipv4/ip_forward") == std::string(value) + "\n");
    }
    CHECK(EnsureSysctl({"net.ipv6.conf.all.forwarding", "1", ""}).ok());
    CHECK(absl::IsInvalidArgument(EnsureSysctl({"net.ipv4.ip_forward", "yes", ""})));
  }
  CHECK(Run("cat /proc/sys/net/ipv4/ip_forward") == outside);
}

}  // namespace
}  // namespace fairlead
