#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "network_namespace.h"
#include "proxy/kernel/conntrack_codec.h"
#include "proxy/kernel/memory_conntrack.h"
#include "proxy/kernel/netlink_conntrack.h"

namespace fairlead {
namespace {

using ipvs::Protocol;

FlowAddress At(const std::string& address, uint16_t port) {
  return {*IpAddress::Parse(address), port};
}

FlowMatch Match(const std::optional<FlowAddress>& destination, const FlowAddress& endpoint,
                Protocol protocol = Protocol::kUdp) {
  return {protocol, destination, endpoint.address, endpoint.port};
}

std::unique_ptr<NetlinkConntrack> OpenConntrack() {
  auto conntrack = NetlinkConntrack::Open();
  REQUIRE(conntrack.ok());
  return *std::move(conntrack);
}

// Says so, loudly, where it is not.
bool IsInKernel() {
  const auto deleted = OpenConntrack()->DeleteFlows({Match(std::nullopt, At("192.0.2.1", 1))});
  if (absl::IsFailedPrecondition(deleted.status())) {
    WARN("SKIPPED, NOTHING IS TESTED: " << deleted.status().message());
    return false;
  }
  INFO(deleted.status().ToString());
  CHECK(deleted.ok());
  return deleted.ok();
}

// What the kernel tracks in the calling thread's namespace.
std::multiset<Flow> TrackedFlows() {
  auto socket = NetlinkSocket::Open(NETLINK_NETFILTER);
  REQUIRE(socket.ok());
  std::multiset<Flow> flows;
  for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    const absl::Status status =
        socket->Dump(EncodeFlowDump(family, std::nullopt, socket->TakeSequences(1)), "flows",
                     [&](const Message& message) {
                       const auto entry = DecodeFlow(message);
                       if (entry.ok() && entry->has_value()) flows.insert((*entry)->flow);
                       return entry.status();
                     });
    INFO(status.ToString());
    REQUIRE(status.ok());
  }
  return flows;
}

struct SystemAddress {
  explicit SystemAddress(const FlowAddress& at) {
    if (at.address.is_v4()) {
      auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
      v4->sin_family = AF_INET;
      v4->sin_port = htons(at.port);
      std::memcpy(&v4->sin_addr, at.address.bytes().data(), sizeof(v4->sin_addr));
    } else {
      auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(at.port);
      std::memcpy(&v6->sin6_addr, at.address.bytes().data(), sizeof(v6->sin6_addr));
    }
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }

  sockaddr_storage storage{};
};

// A datagram, or the first packet of a connection that nobody answers.
void Send(Protocol protocol, const FlowAddress& client, const FlowAddress& destination) {
  const bool tcp = protocol == Protocol::kTcp;
  const SystemAddress from(client);
  const SystemAddress to(destination);
  const int fd =
      socket(from.storage.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0);
  REQUIRE(fd >= 0);
  const int on = 1;
  setsockopt(fd, SOL_IP, IP_FREEBIND, &on, sizeof(on));
  setsockopt(fd, SOL_IPV6, IPV6_FREEBIND, &on, sizeof(on));
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  INFO(client.Format() << " to " << destination.Format());
  REQUIRE(bind(fd, from.get(), sizeof(from.storage)) == 0);
  const int connected = connect(fd, to.get(), sizeof(to.storage));
  REQUIRE((connected == 0 || errno == EINPROGRESS));
  if (!tcp) REQUIRE(send(fd, "", 1, 0) == 1);
  close(fd);
}

// A network namespace where whatever is sent to 10/8, 192.0.2/24 or fd00::/16 is tracked, and
// dropped where it arrives.
class TrackedNetwork {
 public:
  TrackedNetwork() {
    Run("ip route add local 10.0.0.0/8 dev lo && ip route add local 192.0.2.0/24 dev lo && "
        "ip -6 route add local fd00::/16 dev lo");
    Load(
        "chain track { type filter hook output priority 0; ct state new counter; }\n"
        "chain silence { type filter hook input priority 0; drop; }\n"
        "chain balance { type nat hook output priority -100; }\n");
    // So that none expires on a slow machine.
    Run("echo 600 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
  }

  // Adds to the table.
  void Load(const std::string& text) {
    FILE* const nft = popen("nft -f -", "w");
    REQUIRE(nft != nullptr);
    const std::string table = "table inet test {\n" + text + "}\n";
    REQUIRE(fwrite(table.data(), 1, table.size(), nft) == table.size());
    REQUIRE(pclose(nft) == 0);
  }

  // Balances and sends the first packet of each.
  void Begin(const std::vector<Flow>& flows) {
    std::string rules = "chain balance {\n";
    for (const Flow& flow : flows) {
      const FlowAddress endpoint = {flow.endpoint, flow.endpoint_port};
      if (endpoint == flow.destination) continue;
      const std::string ip = flow.endpoint.is_v4() ? "ip" : "ip6";
      const std::string transport = flow.protocol == Protocol::kTcp ? "tcp" : "udp";
      absl::StrAppend(&rules, ip, " daddr ", flow.destination.address.Format(), " ", transport,
                      " dport ", flow.destination.port, " ", transport, " sport ", flow.client.port,
                      " dnat ", ip, " to ", endpoint.Format(), "\n");
    }
    Load(rules + "}\n");
    for (const Flow& flow : flows) Send(flow.protocol, flow.client, flow.destination);
  }

 private:
  NetworkNamespace network_;
};

const FlowAddress kVip = At("10.96.0.10", 53);
const FlowAddress kNodePort = At("192.0.2.5", 30053);
const FlowAddress kOne = At("10.244.0.1", 5353);
const FlowAddress kTwo = At("10.244.0.2", 5353);
const FlowAddress kVip6 = At("fd00:96::a", 53);
const FlowAddress kOne6 = At("fd00:244::1", 5353);
const FlowAddress kTwo6 = At("fd00:244::2", 5353);

Flow FlowTo(const FlowAddress& destination, const FlowAddress& endpoint, uint16_t client_port,
            Protocol protocol = Protocol::kUdp) {
  const std::string client = destination.address.is_v4() ? "192.0.2.9" : "fd00:1::9";
  return {protocol, At(client, client_port), destination, endpoint.address, endpoint.port};
}

TEST_CASE("the conntrack of the kernel and the one in memory delete the same") {
  if (!IsInKernel()) return;
  const std::vector<Flow> flows = {
      /* 0 */ FlowTo(kVip, kOne, 1000),
      /* 1 */ FlowTo(kVip, kOne, 1001),
      /* 2 */ FlowTo(kVip, kTwo, 1002),
      /* 3 */ FlowTo(kNodePort, kOne, 1003),
      /* 4 */ FlowTo(kOne, kOne, 1004),
      /* 5 */ FlowTo(kVip, kVip, 1005),
      /* 6 */ FlowTo(kVip, kOne, 1006, Protocol::kTcp),
      /* 7 */ FlowTo(At("10.244.0.1", 53), kOne, 1007),
      /* 8 */ FlowTo(kVip, At("10.244.0.1", 5354), 1008),
      /* 9 */ FlowTo(kVip6, kOne6, 1000),
      /* 10 */ FlowTo(kVip6, kTwo6, 1001),
      /* 11 */ FlowTo(kVip6, kVip6, 1002),
      /* 12 */ FlowTo(kOne6, kOne6, 1003),
      /* 13 */ FlowTo(kVip6, kOne6, 1004, Protocol::kTcp),
  };
  struct Row {
    std::string name;
    std::vector<FlowMatch> matches;
    std::set<size_t> gone;
  };
  const std::vector<Row> rows = {
      {"no matches", {}, {}},
      {"by the Service's address", {Match(kVip, kOne)}, {0, 1}},
      {"by the node port", {Match(kNodePort, kOne)}, {3}},
      {"whatever was balanced", {Match(std::nullopt, kOne)}, {0, 1, 3, 7}},
      {"straight to the endpoint", {Match(kOne, kOne)}, {4}},
      {"never translated", {Match(kVip, kVip), Match(kVip6, kVip6)}, {5, 11}},
      {"TCP", {Match(kVip, kOne, Protocol::kTcp)}, {6}},
      {"several protocols of a family",
       {Match(kVip, kTwo), Match(kVip, kOne, Protocol::kTcp)},
       {2, 6}},
      {"one match that fits nothing beside one that does",
       {Match(kNodePort, kTwo), Match(kVip, kTwo)},
       {2}},
      {"the same match again and again", {Match(kVip, kTwo), Match(kVip, kTwo)}, {2}},
      {"two matches for one flow",
       {Match(kNodePort, kOne), Match(std::nullopt, kOne)},
       {0, 1, 3, 7}},
      {"IPv6", {Match(kVip6, kOne6)}, {9}},
      {"both families, several protocols",
       {Match(std::nullopt, kTwo), Match(std::nullopt, kTwo6),
        Match(std::nullopt, kOne6, Protocol::kTcp)},
       {2, 10, 13}},
      {"families that do not fit", {Match(kVip, kOne6), Match(kVip6, kOne)}, {}},
      {"an endpoint that nobody has", {Match(std::nullopt, At("10.244.0.9", 5353))}, {}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    TrackedNetwork network;
    network.Begin(flows);
    MemoryConntrack memory;
    for (const Flow& flow : flows) memory.AddFlow(flow);
    std::multiset<Flow> left(flows.begin(), flows.end());
    REQUIRE(TrackedFlows() == left);
    for (const size_t i : row.gone) left.erase(flows[i]);

    const auto kernel = OpenConntrack();
    for (Conntrack* conntrack :
         {static_cast<Conntrack*>(kernel.get()), static_cast<Conntrack*>(&memory)}) {
      INFO((conntrack == &memory ? "in memory" : "kernel"));
      const auto deleted = conntrack->DeleteFlows(row.matches);
      INFO(deleted.status().ToString());
      REQUIRE(deleted.ok());
      CHECK(*deleted == static_cast<int>(row.gone.size()));
      CHECK(conntrack->DeleteFlows(row.matches).value() == 0);
    }
    CHECK(TrackedFlows() == left);
    CHECK(std::multiset<Flow>(memory.flows().begin(), memory.flows().end()) == left);
  }
}

TEST_CASE("a flow that was deleted is balanced again") {
  if (!IsInKernel()) return;
  TrackedNetwork network;
  network.Begin({FlowTo(kVip, kOne, 1000)});
  Run("nft flush chain inet test balance");
  network.Load("chain balance { udp dport 53 dnat ip to 10.244.0.2:5353; }\n");
  Send(Protocol::kUdp, At("192.0.2.9", 1000), kVip);
  CHECK(TrackedFlows() == std::multiset<Flow>{FlowTo(kVip, kOne, 1000)});
  CHECK(OpenConntrack()->DeleteFlows({Match(kVip, kOne)}).value() == 1);
  Send(Protocol::kUdp, At("192.0.2.9", 1000), kVip);
  CHECK(TrackedFlows() == std::multiset<Flow>{FlowTo(kVip, kTwo, 1000)});
}

TEST_CASE("flows in a conntrack zone are deleted") {
  if (!IsInKernel()) return;
  for (const char* direction : {"", "original", "reply"}) {
    INFO("ct " << direction << " zone");
    TrackedNetwork network;
    network.Load(absl::StrCat("chain zone { type filter hook output priority -300; ct ", direction,
                              " zone set 7; }\n"));
    const std::vector<Flow> flows = {FlowTo(kVip, kOne, 1000), FlowTo(kVip, kTwo, 1001),
                                     FlowTo(kVip6, kOne6, 1000), FlowTo(kVip6, kTwo6, 1001)};
    network.Begin(flows);
    REQUIRE(TrackedFlows() == std::multiset<Flow>(flows.begin(), flows.end()));
    CHECK(OpenConntrack()
              ->DeleteFlows({Match(std::nullopt, kOne), Match(std::nullopt, kOne6)})
              .value() == 2);
    CHECK(TrackedFlows() == std::multiset<Flow>{flows[1], flows[3]});
  }
}

TEST_CASE("the kernel dumps the protocol that is asked for, and no other") {
  if (!IsInKernel()) return;
  TrackedNetwork network;
  network.Begin({FlowTo(kVip, kOne, 1000), FlowTo(kVip, kOne, 1000, Protocol::kTcp),
                 FlowTo(kVip6, kOne6, 1000), FlowTo(kVip6, kOne6, 1000, Protocol::kTcp)});
  auto socket = NetlinkSocket::Open(NETLINK_NETFILTER);
  REQUIRE(socket.ok());
  for (const FlowAddress& vip : {kVip, kVip6}) {
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
      std::multiset<Protocol> dumped;
      REQUIRE(socket
                  ->Dump(EncodeFlowDump(vip.address.family(), protocol, 1), "flows",
                         [&](const Message& message) {
                           dumped.insert((*DecodeFlow(message))->flow.protocol);
                           return absl::OkStatus();
                         })
                  .ok());
      INFO(FormatProtocol(protocol));
      CHECK(dumped == (protocol == Protocol::kSctp ? std::multiset<Protocol>{}
                                                   : std::multiset<Protocol>{protocol}));
    }
  }
}

TEST_CASE("a deletion with the id of another entry deletes nothing") {
  if (!IsInKernel()) return;
  TrackedNetwork network;
  network.Begin({FlowTo(kVip, kOne, 1000), FlowTo(kVip, kOne, 1001)});
  auto socket = NetlinkSocket::Open(NETLINK_NETFILTER);
  REQUIRE(socket.ok());
  std::vector<FlowEntry> entries;
  std::vector<std::unique_ptr<std::string>> kept;
  REQUIRE(socket
              ->Dump(EncodeFlowDump(IpFamily::kIpv4, Protocol::kUdp, 1), "flows",
                     [&](const Message& message) {
                       kept.push_back(std::make_unique<std::string>(message.payload));
                       Message own = message;
                       own.payload = *kept.back();
                       entries.push_back(**DecodeFlow(own));
                       return absl::OkStatus();
                     })
              .ok());
  REQUIRE(entries.size() == 2);
  const auto result = [&](const FlowEntry& entry) {
    std::string request;
    EncodeFlowDelete(entry, 2, request);
    int error = -1;
    REQUIRE(socket
                ->Exchange(request,
                           [&](const Message& message) {
                             error = DecodeAcknowledgement(message)->error;
                             return absl::OkStatus();
                           })
                .ok());
    return error;
  };
  FlowEntry mixed = entries[0];
  mixed.id = entries[1].id;
  CHECK(result(mixed) == ENOENT);
  CHECK(TrackedFlows().size() == 2);
  CHECK(result(entries[0]) == 0);
  CHECK(TrackedFlows() == std::multiset<Flow>{entries[1].flow});
  CHECK(result(entries[0]) == ENOENT);
}

// Flows to the VIP of each family, with the ports from 10000 on: `first` to endpoint one, the rest
// to endpoint two.
std::multiset<Flow> BeginMany(TrackedNetwork& network, uint16_t count, uint16_t first) {
  network.Load(
      absl::StrCat("chain balance {\n"
                   "ip daddr 10.96.0.10 udp sport < ",
                   10000 + first,
                   " dnat ip to 10.244.0.1:5353\n"
                   "ip daddr 10.96.0.10 meta l4proto udp dnat ip to 10.244.0.2:5353\n"
                   "ip6 daddr fd00:96::a udp sport < ",
                   10000 + first,
                   " dnat ip6 to [fd00:244::1]:5353\n"
                   "ip6 daddr fd00:96::a meta l4proto udp dnat ip6 to [fd00:244::2]:5353\n"
                   "}\n"));
  std::multiset<Flow> second;
  for (uint16_t i = 0; i < count; ++i) {
    const uint16_t port = static_cast<uint16_t>(10000 + i);
    for (const FlowAddress& vip : {kVip, kVip6}) {
      const Flow flow = FlowTo(vip, vip.address.is_v4() ? kTwo : kTwo6, port);
      Send(Protocol::kUdp, flow.client, flow.destination);
      if (i >= first) second.insert(flow);
    }
  }
  return second;
}

TEST_CASE("thousands of flows are deleted in batches, and no others") {
  if (!IsInKernel()) return;
  TrackedNetwork network;
  constexpr uint16_t kFirst = 2 * NetlinkConntrack::kMaxBatch + 1;
  const std::multiset<Flow> second = BeginMany(network, kFirst + 700, kFirst);
  REQUIRE(TrackedFlows().size() == 2 * (kFirst + 700));
  const auto conntrack = OpenConntrack();
  CHECK(conntrack->DeleteFlows({Match(kVip, kOne), Match(kVip6, kOne6)}).value() == 2 * kFirst);
  CHECK(TrackedFlows() == second);
  // Exactly full batches.
  std::vector<FlowMatch> matches = {Match(kVip, kOne)};
  BeginMany(network, NetlinkConntrack::kMaxBatch, NetlinkConntrack::kMaxBatch);
  CHECK(conntrack->DeleteFlows(matches).value() == NetlinkConntrack::kMaxBatch);
}

TEST_CASE("two that delete the same flows at once count each flow once") {
  if (!IsInKernel()) return;
  TrackedNetwork network;
  constexpr uint16_t kCount = 1000;
  BeginMany(network, kCount, kCount);
  std::array<std::unique_ptr<NetlinkConntrack>, 2> conntracks = {OpenConntrack(), OpenConntrack()};
  std::array<absl::StatusOr<int>, 2> deleted;
  const auto run = [&](size_t i) {
    deleted[i] = conntracks[i]->DeleteFlows({Match(kVip, kOne), Match(kVip6, kOne6)});
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  INFO(deleted[0].status().ToString() << deleted[1].status().ToString());
  REQUIRE((deleted[0].ok() && deleted[1].ok()));
  CHECK(*deleted[0] + *deleted[1] == 2 * kCount);
  CHECK(TrackedFlows().empty());
}

TEST_CASE("without the capability flows are not deleted") {
  if (!IsInKernel()) return;
  NetworkNamespace network;
  REQUIRE(seteuid(65534) == 0);
  auto powerless = NetlinkConntrack::Open();
  absl::StatusOr<int> deleted = absl::UnknownError("not opened");
  if (powerless.ok()) deleted = (*powerless)->DeleteFlows({Match(kVip, kOne)});
  REQUIRE(seteuid(0) == 0);
  INFO(deleted.status().ToString());
  CHECK(absl::IsPermissionDenied(deleted.status()));
}

}  // namespace
}  // namespace fairlead
