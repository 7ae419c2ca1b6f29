#include "proxy/plan/pod_detector.h"

#include <catch2/catch.hpp>

#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using testing::Address;
using testing::Prefix;

TEST_CASE("A pod is told by its address or by the device that its packets come in by") {
  struct Row {
    std::string name;
    PodDetector pods;
    std::string source;
    std::string device;
    bool is_pod;
  };
  const PodDetector none;
  const PodDetector by_address = {
      .prefixes = {Prefix("10.244.1.0/24"), Prefix("10.244.0.0/16"), Prefix("fd00:244::/48")}};
  const PodDetector bridge = {.device = "cni0"};
  const PodDetector names = {.device = "veth", .device_is_prefix = true};
  const auto row = GENERATE_COPY(values<Row>({
      {"without a detector nobody is one", none, "10.244.1.2", "cni0", false},
      {"an address of a prefix", by_address, "10.244.2.1", "eth0", true},
      {"an address of two prefixes", by_address, "10.244.1.2", "", true},
      {"an address of none", by_address, "10.245.0.1", "cni0", false},
      {"an IPv6 address", by_address, "fd00:244::1", "", true},
      {"an IPv6 address of none", by_address, "fd00:245::1", "", false},
      {"the device, whatever the address", bridge, "192.0.2.1", "cni0", true},
      {"the device, in IPv6 too", bridge, "fd00::1", "cni0", true},
      {"another device", bridge, "10.244.1.2", "eth0", false},
      {"a device whose name goes on", bridge, "10.244.1.2", "cni01", false},
      {"no device", bridge, "10.244.1.2", "", false},
      {"a device whose name starts so", names, "192.0.2.1", "veth1a2b", true},
      {"a device of just that name", names, "192.0.2.1", "veth", true},
      {"a shorter name", names, "192.0.2.1", "vet", false},
      {"a name that has it further on", names, "192.0.2.1", "myveth", false},
  }));
  INFO(row.name);
  CHECK(row.pods.IsPod(Address(row.source), row.device) == row.is_pod);
}

TEST_CASE("With a device given, addresses do not count") {
  const PodDetector pods = {.prefixes = {Prefix("10.244.0.0/16")}, .device = "cni0"};
  CHECK_FALSE(pods.IsPod(Address("10.244.1.2"), "eth0"));
  CHECK(pods.IsPod(Address("192.0.2.1"), "cni0"));
  CHECK(pods.Detects(IpFamily::kIpv6));
}

TEST_CASE("Prefixes tell pods in their family only, a device in both") {
  struct Row {
    std::string name;
    PodDetector pods;
    bool v4;
    bool v6;
  };
  const auto row = GENERATE(values<Row>({
      {"nothing", {}, false, false},
      {"IPv4", {.prefixes = {Prefix("10.244.0.0/16")}}, true, false},
      {"IPv6", {.prefixes = {Prefix("fd00:244::/48")}}, false, true},
      {"both", {.prefixes = {Prefix("fd00:244::/48"), Prefix("10.244.0.0/16")}}, true, true},
      {"a bridge", {.device = "cni0"}, true, true},
      {"the start of names", {.device = "veth", .device_is_prefix = true}, true, true},
  }));
  INFO(row.name);
  CHECK(row.pods.Detects(IpFamily::kIpv4) == row.v4);
  CHECK(row.pods.Detects(IpFamily::kIpv6) == row.v6);
}

}  // namespace
}  // namespace fairlead
