#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>

#include "absl/strings/match.h"
#include "network_namespace.h"
#include "proxy/kernel/memory_routes.h"
#include "proxy/kernel/netlink_routes.h"

namespace fairlead {
namespace {

using Verb = RouteChange::Verb;

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

RouteChange Put(const std::string& vip, const std::string& source = "") {
  return {Verb::kPut, {Ip(vip), source.empty() ? std::nullopt : std::optional(Ip(source))}};
}

RouteChange Delete(const std::string& vip) { return {Verb::kDelete, {Ip(vip), std::nullopt}}; }

VipRoute Route(const std::string& vip, const std::string& source = "") {
  return Put(vip, source).route;
}

// Gives a device an address. The kernel makes the local route of an IPv6 address in a work queue,
// some time later.
void AddAddress(const std::string& address, int length, const std::string& device = "lo") {
  const bool v4 = Ip(address).is_v4();
  Run("ip addr add " + address + "/" + std::to_string(length) + " dev " + device +
      (v4 ? "" : " nodad"));
  if (v4) return;
  Run("timeout 30 sh -c 'until ip -6 route show table local | grep -q \"^local " + address +
      " .*proto kernel\"; do :; done'");
}

void AddNodeAddresses() {
  AddAddress("192.0.2.5", 24);
  AddAddress("192.0.2.6", 24);
  AddAddress("fd00::5", 64);
  AddAddress("fd00::6", 64);
}

std::unique_ptr<NetlinkRoutes> OpenRoutes() {
  auto routes = NetlinkRoutes::Open();
  REQUIRE(routes.ok());
  return *std::move(routes);
}

std::vector<absl::StatusCode> Codes(const std::vector<absl::Status>& statuses) {
  std::vector<absl::StatusCode> codes;
  for (const absl::Status& status : statuses) {
    codes.push_back(status.code());
    if (!status.ok()) UNSCOPED_INFO(status.ToString());
  }
  return codes;
}

// All routes of both families that are not Fairlead's. The kernel's count of users is left out.
std::string Others() {
  return Run(
      "ip -d route show table all | grep -v 'proto 119' || true; "
      "ip -d -6 route show table all | grep -v 'proto 119' | sed 's/users.*//' || true");
}

TEST_CASE("the routes of the kernel and those in memory do the same") {
  constexpr auto kOk = absl::StatusCode::kOk;
  constexpr auto kExists = absl::StatusCode::kAlreadyExists;
  constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;
  struct Row {
    std::string name;
    std::vector<RouteChange> before;
    std::vector<RouteChange> changes;
    std::vector<absl::StatusCode> codes;
    std::vector<VipRoute> after;
    std::vector<std::string> foreign = {};  // Local routes of others to these, from the start.
  };
  const std::vector<Row> rows = {
      {"nothing", {Put("10.96.0.1")}, {}, {}, {Route("10.96.0.1")}},
      {"both families, with and without source",
       {},
       {Put("fd00:96::1", "fd00::5"), Put("10.96.0.2"), Put("10.96.0.1", "192.0.2.5"),
        Put("fd00:96::2")},
       {kOk, kOk, kOk, kOk},
       {Route("10.96.0.1", "192.0.2.5"), Route("10.96.0.2"), Route("fd00:96::1", "fd00::5"),
        Route("fd00:96::2")}},
      {"the same again",
       {Put("10.96.0.1", "192.0.2.5"), Put("fd00:96::1", "fd00::5")},
       {Put("10.96.0.1", "192.0.2.5"), Put("fd00:96::1", "fd00::5")},
       {kOk, kOk},
       {Route("10.96.0.1", "192.0.2.5"), Route("fd00:96::1", "fd00::5")}},
      {"another source",
       {Put("10.96.0.1", "192.0.2.5"), Put("fd00:96::1", "fd00::5")},
       {Put("10.96.0.1", "192.0.2.6"), Put("fd00:96::1", "fd00::6")},
       {kOk, kOk},
       {Route("10.96.0.1", "192.0.2.6"), Route("fd00:96::1", "fd00::6")}},
      {"no source any more",
       {Put("10.96.0.1", "192.0.2.5"), Put("fd00:96::1", "fd00::5")},
       {Put("10.96.0.1"), Put("fd00:96::1")},
       {kOk, kOk},
       {Route("10.96.0.1"), Route("fd00:96::1")}},
      {"deleted, whatever the source",
       {Put("10.96.0.1", "192.0.2.5"), Put("fd00:96::1", "fd00::5")},
       {Delete("10.96.0.1"), Delete("fd00:96::1")},
       {kOk, kOk},
       {}},
      {"deleting what is not there",
       {},
       {Delete("10.96.0.1"), Delete("fd00:96::1")},
       {kOk, kOk},
       {}},
      {"one VIP several times, in order",
       {},
       {Put("10.96.0.1"), Put("10.96.0.1", "192.0.2.5"), Delete("10.96.0.1"),
        Put("10.96.0.1", "192.0.2.6"), Delete("fd00:96::1"), Put("fd00:96::1")},
       {kOk, kOk, kOk, kOk, kOk, kOk},
       {Route("10.96.0.1", "192.0.2.6"), Route("fd00:96::1")}},
      {"beside a route of others",
       {},
       {Put("10.96.0.1"), Put("10.96.0.2"), Put("fd00:96::1"), Put("fd00:96::2", "fd00::5")},
       {kExists, kOk, kExists, kOk},
       {Route("10.96.0.2"), Route("fd00:96::2", "fd00::5")},
       {"10.96.0.1", "fd00:96::1"}},
      {"deleting beside a route of others",
       {},
       {Delete("10.96.0.1"), Delete("fd00:96::1")},
       {kOk, kOk},
       {},
       {"10.96.0.1", "fd00:96::1"}},
      {"a source that the node does not have",
       {},
       {Put("10.96.0.1", "198.51.100.1"), Put("10.96.0.2", "192.0.2.5"),
        Put("fd00:96::1", "fd00::99"), Put("fd00:96::2", "fd00::5")},
       {kRefused, kOk, kRefused, kOk},
       {Route("10.96.0.2", "192.0.2.5"), Route("fd00:96::2", "fd00::5")}},
  };
  // How somebody else's local route can have come about. Empty: with an address.
  const std::vector<std::string> ways = {
      "",
      "dev lo table local proto static",
      "dev lo table local proto bird metric 5",
  };
  for (const Row& row : rows) {
    INFO(row.name);
    for (const std::string& way : ways) {
      if (row.foreign.empty() && &way != &ways.front()) continue;
      INFO(way);
      NetworkNamespace network;
      AddNodeAddresses();
      MemoryRoutes memory;
      memory.SetNodeAddresses({Ip("192.0.2.5"), Ip("192.0.2.6"), Ip("fd00::5"), Ip("fd00::6")});
      for (const std::string& foreign : row.foreign) {
        memory.AddForeign(Ip(foreign));
        if (way.empty()) {
          AddAddress(foreign, Ip(foreign).bit_length());
        } else {
          Run("ip route add local " + foreign + " " + way);
        }
      }
      const std::string others = Others();
      const auto kernel = OpenRoutes();
      for (Routes* routes : {static_cast<Routes*>(kernel.get()), static_cast<Routes*>(&memory)}) {
        INFO((routes == &memory ? "in memory" : "kernel"));
        for (const absl::Status& status : routes->Apply(row.before)) REQUIRE(status.ok());
        CHECK(Codes(routes->Apply(row.changes)) == row.codes);
        const auto after = routes->Dump();
        INFO(after.status().ToString());
        REQUIRE(after.ok());
        CHECK(*after == row.after);
      }
      CHECK(Others() == others);
    }
  }
}

TEST_CASE("an address that comes after the route is not disturbed") {
  NetworkNamespace network;
  AddNodeAddresses();
  const auto routes = OpenRoutes();
  CHECK(routes->Apply({Put("10.96.0.1", "192.0.2.5")})[0].ok());
  CHECK(routes->Apply({Put("fd00:96::1", "fd00::5")})[0].ok());
  AddAddress("10.96.0.1", 32);
  AddAddress("fd00:96::1", 128);
  const std::string others = Others();
  // IPv4 keeps ours in front; IPv6 prefers the kernel's own, with its metric 0.
  CHECK(routes->Apply({Put("10.96.0.1", "192.0.2.6")})[0].ok());
  CHECK(absl::IsAlreadyExists(routes->Apply({Put("fd00:96::1", "fd00::6")})[0]));
  CHECK(Others() == others);
  CHECK(routes->Dump()->size() == 2);
  CHECK(routes->Apply({Delete("10.96.0.1")})[0].ok());
  CHECK(routes->Apply({Delete("fd00:96::1")})[0].ok());
  CHECK(Others() == others);
  CHECK(routes->Dump()->empty());
}

// As kube-proxy's IPVS mode leaves it: the device is down, and has an address for each VIP.
void AddKubeProxyAddresses(const std::vector<std::string>& addresses) {
  // A dummy is what it is; not every machine's kernel has one.
  Run("ip link add kube-ipvs0 type veth peer kube-ipvs1 && ip link set kube-ipvs0 arp off");
  for (const std::string& address : addresses) {
    AddAddress(address, Ip(address).bit_length(), "kube-ipvs0");
  }
}

void DeleteKubeProxyAddress(const std::string& address) {
  Run("ip addr del " + address + "/" + std::to_string(Ip(address).bit_length()) +
      " dev kube-ipvs0");
}

// Of the route that the kernel takes.
bool SaysRoute(const std::string& vip, const std::string& what) {
  return absl::StrContains(Run("ip route get fibmatch " + vip), what);
}

TEST_CASE("a route goes beside the address that kube-proxy left, and stays when that goes") {
  struct Row {
    std::string name;
    std::string vip;
    std::string source;
    std::string other_source;
    bool ours_first;  // While the address is there.
  };
  const std::vector<Row> rows = {
      {"IPv4", "10.96.0.1", "192.0.2.5", "192.0.2.6", true},
      {"IPv6", "fd00:96::1", "fd00::5", "fd00::6", false},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    NetworkNamespace network;
    AddNodeAddresses();
    AddKubeProxyAddresses({row.vip});
    const std::string others = Others();
    const auto routes = OpenRoutes();
    const std::string first = row.ours_first ? "proto 119" : "proto kernel";

    CHECK(Codes(routes->Apply({Put(row.vip, row.source)})) == std::vector{absl::StatusCode::kOk});
    CHECK(SaysRoute(row.vip, first));
    CHECK(Others() == others);
    CHECK(*routes->Dump() == std::vector{Route(row.vip, row.source)});
    // Again, and with another source.
    for (const std::string& source : {row.source, row.other_source}) {
      CHECK(Codes(routes->Apply({Put(row.vip, source)})) == std::vector{absl::StatusCode::kOk});
      CHECK(*routes->Dump() == std::vector{Route(row.vip, source)});
      CHECK(SaysRoute(row.vip, first));
    }
    CHECK(Others() == others);

    DeleteKubeProxyAddress(row.vip);
    CHECK(SaysRoute(row.vip, "proto 119 "));
    CHECK(absl::StrContains(Run("ip route get " + row.vip), "src " + row.other_source));
    CHECK(*routes->Dump() == std::vector{Route(row.vip, row.other_source)});
  }
}

TEST_CASE("kube-proxy's address can come back, and our route go, without a gap") {
  for (const std::string vip : {"10.96.0.1", "fd00:96::1"}) {
    INFO(vip);
    NetworkNamespace network;
    AddNodeAddresses();
    const auto routes = OpenRoutes();
    REQUIRE(routes->Apply({Put(vip)})[0].ok());
    AddKubeProxyAddresses({vip});
    CHECK(SaysRoute(vip, "local " + vip));
    REQUIRE(routes->Apply({Delete(vip)})[0].ok());
    CHECK(SaysRoute(vip, "proto kernel"));
    CHECK(routes->Dump()->empty());
  }
}

TEST_CASE("an address of another device is in the way, whatever kube-proxy left") {
  NetworkNamespace network;
  AddNodeAddresses();
  AddKubeProxyAddresses({});
  AddAddress("10.96.0.1", 32);
  CHECK(absl::IsAlreadyExists(OpenRoutes()->Apply({Put("10.96.0.1", "192.0.2.5")})[0]));
}

TEST_CASE("two thousand routes go beside kube-proxy's addresses at once") {
  NetworkNamespace network;
  AddNodeAddresses();
  AddKubeProxyAddresses({});
  constexpr int kCount = 2'000;
  Run("for i in $(seq 0 7); do for j in $(seq 0 249); do "
      "echo addr add 10.96.$i.$j/32 dev kube-ipvs0; done; done | ip -batch -");
  std::vector<RouteChange> changes;
  for (int i = 0; i < kCount; ++i) {
    changes.push_back(
        Put("10.96." + std::to_string(i / 250) + "." + std::to_string(i % 250), "192.0.2.5"));
  }
  const auto routes = OpenRoutes();
  // The second time each replaces one of ours, which is there beside them.
  for (int round = 0; round < 2; ++round) {
    for (const absl::Status& status : routes->Apply(changes)) {
      if (!status.ok()) FAIL(status.ToString());
    }
    CHECK(routes->Dump()->size() == kCount);
  }
}

// Hears of every change of a route from now on.
class RouteMonitor {
 public:
  RouteMonitor() : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE)) {
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
    REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~RouteMonitor() { close(fd_); }

  // Since the last call. The kernel tells before a request returns.
  int TakeCount() {
    int count = 0;
    std::array<char, 8192> message;
    while (recv(fd_, message.data(), message.size(), 0) > 0) ++count;
    return count;
  }

 private:
  int fd_;
};

TEST_CASE("what is as wanted is not written") {
  NetworkNamespace network;
  AddNodeAddresses();
  const auto routes = OpenRoutes();
  const std::vector<RouteChange> changes = {Put("10.96.0.1", "192.0.2.5"), Put("10.96.0.2"),
                                            Put("fd00:96::1", "fd00::5"), Put("fd00:96::2")};
  RouteMonitor monitor;
  for (const absl::Status& status : routes->Apply(changes)) REQUIRE(status.ok());
  CHECK(monitor.TakeCount() == 4);
  for (const absl::Status& status : routes->Apply(changes)) CHECK(status.ok());
  CHECK(monitor.TakeCount() == 0);
}

TEST_CASE("the way to a VIP is never interrupted by another source") {
  NetworkNamespace network;
  AddNodeAddresses();
  const auto routes = OpenRoutes();
  REQUIRE(routes->Apply({Put("10.96.0.1", "192.0.2.5")})[0].ok());
  CHECK(absl::StrContains(Run("ip route get 10.96.0.1"), "src 192.0.2.5"));
  REQUIRE(routes->Apply({Put("10.96.0.1", "192.0.2.6")})[0].ok());
  CHECK(absl::StrContains(Run("ip route get 10.96.0.1"), "src 192.0.2.6"));
  CHECK(Run("ip route show table local proto 119") ==
        "local 10.96.0.1 dev lo scope host src 192.0.2.6 \n");
}

TEST_CASE("routes of Fairlead's number that are no VIP's are not listed") {
  NetworkNamespace network;
  AddNodeAddresses();
  Run("ip route add 198.51.100.0/24 dev lo proto 119");
  Run("ip route add local 198.51.101.0/24 dev lo table local proto 119");
  Run("ip -6 route add local fd00:97::/64 dev lo table local proto 119");
  CHECK(OpenRoutes()->Dump()->empty());
}

TEST_CASE("the status says what is missing") {
  NetworkNamespace network;
  const auto routes = OpenRoutes();
  // IPv4 takes local routes without it.
  Run("ip link set lo down");
  const absl::Status down = routes->Apply({Put("fd00:96::1")})[0];
  INFO(down.ToString());
  CHECK(down.code() == absl::StatusCode::kFailedPrecondition);
  Run("ip link set lo up");
  const absl::Status source = routes->Apply({Put("10.96.0.1", "198.51.100.1")})[0];
  INFO(source.ToString());
  CHECK(absl::StrContains(source.message(), "put the route to 10.96.0.1: "));
  CHECK(absl::StrContains(source.message(), "is the source 198.51.100.1 an address of this node?"));

  REQUIRE(seteuid(65534) == 0);
  auto powerless = NetlinkRoutes::Open();
  std::vector<absl::Status> results;
  if (powerless.ok()) results = (*powerless)->Apply({Put("10.96.0.1"), Delete("10.96.0.1")});
  REQUIRE(seteuid(0) == 0);
  CHECK(Codes(results) == std::vector<absl::StatusCode>(2, absl::StatusCode::kPermissionDenied));
}

TEST_CASE("the device towards an address is that of the route, lo for the node's own") {
  NetworkNamespace network;
  AddNodeAddresses();
  Run("ip link add eth0 type veth peer eth1 && ip link set eth0 up && ip link set eth1 up && "
      "ip addr add 198.51.100.1/24 dev eth0 && ip addr add fd01::1/64 dev eth0 nodad && "
      "ip route add 10.244.0.0/16 dev eth1 && ip route add blackhole 10.0.0.0/8 && "
      "ip -6 route add fd02::/64 dev eth1 && ip -6 route add unreachable fd03::/64");
  struct Row {
    std::string name;
    std::string address;
    std::string device;  // Empty: there is none.
  };
  const std::vector<Row> rows = {
      {"on a network of the node's", "198.51.100.7", "eth0"},
      {"behind a route", "10.244.1.2", "eth1"},
      {"the node's own", "198.51.100.1", "lo"},
      {"the node's own on lo", "192.0.2.5", "lo"},
      {"loopback", "127.0.0.1", "lo"},
      {"no route", "203.0.113.1", ""},
      {"a route that drops", "10.1.2.3", ""},
      {"IPv6, behind a route", "fd02::7", "eth1"},
      {"IPv6, the node's own on lo", "fd00::5", "lo"},
      {"IPv6, loopback", "::1", "lo"},
      {"IPv6, no route", "2001:db8::1", ""},
      {"IPv6, a route that refuses", "fd03::1", ""},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const absl::StatusOr<std::string> device = DeviceTowards(Ip(row.address));
    INFO(device.status().ToString());
    CHECK(device.value_or("") == row.device);
    if (!row.device.empty()) continue;
    CHECK_FALSE(device.ok());
    CHECK(absl::StrContains(device.status().message(), "route to " + row.address));
  }
}

TEST_CASE("ten thousand routes of each family are put, changed and deleted") {
  NetworkNamespace network;
  AddNodeAddresses();
  const auto routes = OpenRoutes();
  constexpr int kCount = 10'000;
  const auto all = [&](Verb verb, const std::string& source4, const std::string& source6) {
    std::vector<RouteChange> changes;
    for (int i = 0; i < kCount; ++i) {
      changes.push_back({verb, {Ip("10.96.0.0").Plus(i), Ip(source4)}});
      changes.push_back({verb, {Ip("fd00:96::").Plus(i), Ip(source6)}});
    }
    return changes;
  };
  const auto time = [&](const char* what, const std::vector<RouteChange>& changes) {
    const auto start = std::chrono::steady_clock::now();
    for (const absl::Status& status : routes->Apply(changes)) {
      if (!status.ok()) FAIL(status.ToString());
    }
    const auto end = std::chrono::steady_clock::now();
    WARN(what << " 20,000: "
              << std::chrono::duration_cast<std::chrono::milliseconds>(end - start).count()
              << " ms");
  };
  time("put", all(Verb::kPut, "192.0.2.5", "fd00::5"));
  CHECK(routes->Dump()->size() == 2 * kCount);
  time("put again", all(Verb::kPut, "192.0.2.5", "fd00::5"));
  time("put with another source", all(Verb::kPut, "192.0.2.6", "fd00::6"));
  const auto dumped = routes->Dump();
  REQUIRE(dumped->size() == 2 * kCount);
  CHECK(dumped->front() == Route("10.96.0.0", "192.0.2.6"));
  CHECK(dumped->back().source == Ip("fd00::6"));
  time("delete", all(Verb::kDelete, "192.0.2.6", "fd00::6"));
  CHECK(routes->Dump()->empty());
}

}  // namespace
}  // namespace fairlead
