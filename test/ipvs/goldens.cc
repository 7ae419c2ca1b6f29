#include "test/ipvs/goldens.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace fairlead::ipvs {
namespace {

VirtualServerConfig Persistent(const std::string& scheduler, int seconds, int prefix_length) {
  VirtualServerConfig config = Config(scheduler);
  config.flags = kFlagPersistent;
  config.persistence_timeout = absl::Seconds(seconds);
  config.persistence_prefix_length = static_cast<uint8_t>(prefix_length);
  return config;
}

VirtualServerConfig WithFlags(const std::string& scheduler, uint32_t flags) {
  VirtualServerConfig config = Config(scheduler);
  config.flags = flags;
  return config;
}

RealServerConfig Weight(int weight, ForwardingMethod forwarding = ForwardingMethod::kMasquerade) {
  return {.forwarding = forwarding, .weight = weight};
}

}  // namespace

std::string ReadGolden(const std::string& name) {
  std::ifstream file(std::string(FAIRLEAD_IPVS_TESTDATA) + "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw std::runtime_error("cannot read the golden " + name);
  return text.str();
}

std::vector<std::string> ReadGoldenLines(const std::string& name) {
  std::istringstream text(ReadGolden(name));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line[0] != '#') lines.push_back(line);
  }
  return lines;
}

std::string DecodeHex(const std::string& hex) {
  if (hex.size() % 2 != 0) throw std::runtime_error("half a byte in hex");
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

IpAddress Address(const std::string& text) { return IpAddress::Parse(text).value(); }

VirtualServerKey Tcp(const std::string& address, uint16_t port) {
  return VirtualServerKey::ForAddress(Protocol::kTcp, Address(address), port);
}

VirtualServerKey Udp(const std::string& address, uint16_t port) {
  return VirtualServerKey::ForAddress(Protocol::kUdp, Address(address), port);
}

RealServerKey Real(const std::string& address, uint16_t port) { return {Address(address), port}; }

VirtualServerConfig Config(const std::string& scheduler, IpFamily family) {
  return VirtualServerConfig::ForFamily(family, scheduler);
}

std::vector<std::pair<std::string, Operation>> GoldenOperations() {
  using O = Operation;
  constexpr uint32_t kAllSchedulerFlags = kFlagScheduler1 | kFlagScheduler2 | kFlagScheduler3;
  const VirtualServerKey sctp =
      VirtualServerKey::ForAddress(Protocol::kSctp, Address("10.0.0.7"), 9);
  const VirtualServerKey mark7 = VirtualServerKey::ForMark(IpFamily::kIpv4, 7);
  const VirtualServerKey mark7_v6 = VirtualServerKey::ForMark(IpFamily::kIpv6, 7);
  const VirtualServerKey mark8 = VirtualServerKey::ForMark(IpFamily::kIpv4, 8);
  const VirtualServerKey web = Tcp("10.0.0.1", 80);
  const VirtualServerKey tls = Tcp("10.0.0.2", 443);
  const RealServerConfig limited{.weight = 1, .upper_threshold = 100, .lower_threshold = 50};
  return {
      {"-A -t 10.0.0.1:80 -s rr", O::AddVirtualServer(web, Config("rr"))},
      {"-A -t 10.0.0.2:443 -s wlc -p 300 -M 255.255.255.0",
       O::AddVirtualServer(tls, Persistent("wlc", 300, 24))},
      {"-E -t 10.0.0.2:443 -s wlc -p 600 -M 255.255.0.0",
       O::EditVirtualServer(tls, Persistent("wlc", 600, 16))},
      {"-A -u 10.0.0.3:53 -s sh -b sh-port,sh-fallback -o",
       O::AddVirtualServer(Udp("10.0.0.3", 53),
                           WithFlags("sh", kFlagScheduler1 | kFlagScheduler2 | kFlagOnePacket))},
      {"-A -u 10.0.0.4:53 -s mh -b mh-port",
       O::AddVirtualServer(Udp("10.0.0.4", 53), WithFlags("mh", kFlagScheduler2))},
      {"-A -t 10.0.0.6:80 -s rr -b flag-1,flag-2,flag-3",
       O::AddVirtualServer(Tcp("10.0.0.6", 80), WithFlags("rr", kAllSchedulerFlags))},
      {"-A --sctp-service 10.0.0.7:9 -s lc", O::AddVirtualServer(sctp, Config("lc"))},
      {"-A -t 10.0.0.8:0 -s rr -p 60",
       O::AddVirtualServer(Tcp("10.0.0.8", 0), Persistent("rr", 60, 32))},
      {"-A -t 10.0.0.9:81 -s rr", O::AddVirtualServer(Tcp("10.0.0.9", 81), Config("rr"))},
      {"-D -t 10.0.0.9:81", O::DeleteVirtualServer(Tcp("10.0.0.9", 81))},
      {"-A -t [fd00::1]:80 -s rr -p 100 -M 64",
       O::AddVirtualServer(Tcp("fd00::1", 80), Persistent("rr", 100, 64))},
      {"-A -u [fd00::2]:53 -s nq",
       O::AddVirtualServer(Udp("fd00::2", 53), Config("nq", IpFamily::kIpv6))},
      {"-A -f 7 -s rr", O::AddVirtualServer(mark7, Config("rr"))},
      {"-A -f 7 -6 -s rr -p 360", O::AddVirtualServer(mark7_v6, Persistent("rr", 360, 128))},
      {"-A -f 8 -s sed", O::AddVirtualServer(mark8, Config("sed"))},
      {"-D -f 8", O::DeleteVirtualServer(mark8)},
      {"-a -t 10.0.0.1:80 -r 127.0.0.1:8080 -m -w 1 -x 100 -y 50",
       O::AddRealServer(web, Real("127.0.0.1", 8080), limited)},
      {"-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 1",
       O::AddRealServer(web, Real("10.1.0.1", 8080), Weight(1))},
      {"-e -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 0",
       O::EditRealServer(web, Real("10.1.0.1", 8080), Weight(0))},
      {"-a -t 10.0.0.1:80 -r 10.1.0.3:8080 -m -w 1",
       O::AddRealServer(web, Real("10.1.0.3", 8080), Weight(1))},
      {"-d -t 10.0.0.1:80 -r 10.1.0.3:8080", O::DeleteRealServer(web, Real("10.1.0.3", 8080))},
      {"-a -t 10.0.0.2:443 -r 10.1.0.3:443 -g -w 100",
       O::AddRealServer(tls, Real("10.1.0.3", 443), Weight(100, ForwardingMethod::kRoute))},
      {"-a -t 10.0.0.2:443 -r 10.1.0.4:443 -i -w 65535",
       O::AddRealServer(tls, Real("10.1.0.4", 443), Weight(65535, ForwardingMethod::kTunnel))},
      {"-a -t 10.0.0.2:443 -r [fd00:1::4]:443 -i -w 2",
       O::AddRealServer(tls, Real("fd00:1::4", 443), Weight(2, ForwardingMethod::kTunnel))},
      {"-a -t [fd00::1]:80 -r [fd00:1::2]:8080 -m -w 3",
       O::AddRealServer(Tcp("fd00::1", 80), Real("fd00:1::2", 8080), Weight(3))},
      {"-a -f 7 -r 10.1.0.3:0 -m -w 1", O::AddRealServer(mark7, Real("10.1.0.3", 0), Weight(1))},
      {"-a -f 7 -6 -r [fd00:1::2]:0 -m -w 1",
       O::AddRealServer(mark7_v6, Real("fd00:1::2", 0), Weight(1))},
  };
}

}  // namespace fairlead::ipvs
