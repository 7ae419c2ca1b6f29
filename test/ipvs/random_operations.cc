#include "test/ipvs/random_operations.h"

#include <algorithm>
#include <array>

#include "test/ipvs/goldens.h"

namespace fairlead::ipvs {
namespace {

// All in every kernel of the lab.
constexpr std::array<const char*, 6> kSchedulers = {"rr", "wrr", "lc", "wlc", "sh", "mh"};

VirtualServerKey WorldKey(int i) {
  switch (i % 8) {
    case 0:
      return Tcp("10.96.0.1", 443);
    case 1:
      return Tcp("10.96.0.10", 53);
    case 2:
      return Udp("10.96.0.10", 53);
    case 3:
      return VirtualServerKey::ForAddress(Protocol::kSctp, Address("10.96.0.11"), 9);
    case 4:
      return Tcp("fd00::10", 443);
    case 5:
      return Udp("10.96.0.12", 0);
    case 6:
      return VirtualServerKey::ForMark(IpFamily::kIpv4, 7);
    default:
      return VirtualServerKey::ForMark(IpFamily::kIpv6, 7);
  }
}

RealServerKey WorldRealServer(int i, IpFamily family) {
  const IpAddress base = Address(family == IpFamily::kIpv4 ? "10.244.0.1" : "fd00:244::1");
  return {base.Plus(i % 4), static_cast<uint16_t>(8080 + i / 4)};
}

// Addresses that the kernel refuses, and ones that look as if it would.
IpAddress OddAddress(int i) {
  constexpr std::array<const char*, 10> kOdd = {
      "0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1",  "240.0.0.1",
      "::",      "::1",     "ff02::1",         "fe80::1234", "::ffff:10.0.0.1"};
  return Address(kOdd[i]);
}

IpFamily Other(IpFamily family) {
  return family == IpFamily::kIpv4 ? IpFamily::kIpv6 : IpFamily::kIpv4;
}

}  // namespace

Operation RandomOperations::Next() {
  Operation operation = NextValid();
  operation.verb =
      static_cast<Verb>(std::array<int, 12>{0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4, 5}[Below(12)]);
  const IpFamily family = operation.virtual_server.family;
  if (OneIn(10)) operation.virtual_config.scheduler = OneIn(2) ? "foo" : "";
  if (OneIn(15)) operation.virtual_config.persistence_prefix_length = 0;
  if (OneIn(15)) operation.virtual_config.persistence_engine = "foo";
  if (OneIn(15)) operation.real_config.weight = -1;
  if (OneIn(15)) operation.real_config.lower_threshold = operation.real_config.upper_threshold + 1;
  if (OneIn(10)) operation.real_server = WorldRealServer(Below(8), Other(family));
  if (OneIn(10)) operation.real_server.address = OddAddress(Below(10));
  return operation;
}

Operation RandomOperations::NextValid() {
  Operation operation;
  operation.verb = OneIn(3) ? Verb::kAddVirtualServer : Verb::kAddRealServer;
  operation.virtual_server = WorldKey(Below(8));
  const IpFamily family = operation.virtual_server.family;
  operation.virtual_config = NextVirtualConfig(family);
  operation.real_server = WorldRealServer(Below(8), family);
  operation.real_config = NextRealConfig();
  return operation;
}

std::vector<VirtualServer> RandomOperations::NextTable(int servers, int real_servers) {
  const std::array<Protocol, 3> protocols = {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp};
  std::vector<VirtualServer> table(servers);
  for (int i = 0; i < servers; ++i) {
    const IpFamily family = OneIn(3) ? IpFamily::kIpv6 : IpFamily::kIpv4;
    const IpAddress base = Address(family == IpFamily::kIpv4 ? "10.96.0.0" : "fd00:96::");
    table[i].key = OneIn(5) ? VirtualServerKey::ForMark(family, 1 + i)
                            : VirtualServerKey::ForAddress(protocols[Below(3)], base.Plus(i),
                                                           static_cast<uint16_t>(Below(65536)));
    table[i].config = NextVirtualConfig(family);
    const int count = Below(real_servers + 1);
    for (int j = 0; j < count; ++j) {
      table[i].real_servers.push_back(
          {.key = {Address(family == IpFamily::kIpv4 ? "10.244.0.0" : "fd00:244::").Plus(j + 1),
                   static_cast<uint16_t>(Below(65536))},
           .config = NextRealConfig()});
    }
  }
  std::sort(table.begin(), table.end(),
            [](const VirtualServer& a, const VirtualServer& b) { return a.key < b.key; });
  return table;
}

VirtualServerConfig RandomOperations::NextVirtualConfig(IpFamily family) {
  VirtualServerConfig config = Config(kSchedulers[Below(kSchedulers.size())], family);
  if (OneIn(2)) config.flags |= static_cast<uint32_t>(Below(64)) & kConfigurableFlags;
  if (config.persistent()) {
    config.persistence_timeout = absl::Seconds(1 + Below(86400));
    config.persistence_prefix_length =
        static_cast<uint8_t>(1 + Below(family == IpFamily::kIpv4 ? 32 : 128));
  }
  return config;
}

RealServerConfig RandomOperations::NextRealConfig() {
  RealServerConfig config;
  config.forwarding = static_cast<ForwardingMethod>(OneIn(3) ? Below(4) : 0);
  config.weight = OneIn(4) ? 0 : OneIn(4) ? 65535 : 1 + Below(100);
  if (OneIn(4)) {
    config.upper_threshold = static_cast<uint32_t>(Below(1000));
    config.lower_threshold = config.upper_threshold / 2;
  }
  return config;
}

std::vector<Operation> MakeOperations(const std::vector<VirtualServer>& table) {
  std::vector<Operation> operations;
  for (const VirtualServer& server : table) {
    operations.push_back(Operation::AddVirtualServer(server.key, server.config));
    for (const RealServer& real : server.real_servers) {
      operations.push_back(Operation::AddRealServer(server.key, real.key, real.config));
    }
  }
  return operations;
}

}  // namespace fairlead::ipvs
