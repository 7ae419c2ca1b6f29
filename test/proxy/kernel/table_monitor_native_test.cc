#include <linux/netlink.h>
#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "network_namespace.h"
#include "proxy/kernel/netlink_socket.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/quiet_firewall.h"
#include "proxy/kernel/route_codec.h"
#include "proxy/kernel/ruleset.h"
#include "proxy/kernel/table_monitor.h"

namespace fairlead {
namespace {

constexpr auto kDeadline = std::chrono::seconds(60);

// What a monitor tells: kept until it is taken, and holds the monitor's thread while it is shut.
class Changes {
 public:
  void Take(const TableChange& change) {
    std::unique_lock lock(mutex_);
    ++count_;
    seen_.firewall |= change.firewall;
    seen_.ruleset |= change.ruleset;
    seen_.routes |= change.routes;
    if (!change.firewall_by.empty()) seen_.firewall_by = change.firewall_by;
    moved_.notify_all();
    moved_.wait_for(lock, kDeadline, [&] { return open_; });
  }

  // What was told since the last time, once `wanted` is among it, or at the deadline.
  TableChange WaitFor(const TableChange& wanted) {
    std::unique_lock lock(mutex_);
    moved_.wait_for(lock, kDeadline, [&] {
      return seen_.firewall >= wanted.firewall && seen_.ruleset >= wanted.ruleset &&
             seen_.routes >= wanted.routes;
    });
    return std::exchange(seen_, {});
  }

  void SetOpen(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    moved_.notify_all();
  }

  int count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable moved_;
  TableChange seen_;
  int count_ = 0;
  bool open_ = true;
};

constexpr TableChange kElements = {.firewall = true};
constexpr TableChange kRuleset = {.firewall = true, .ruleset = true};
constexpr TableChange kRoutes = {.routes = true};

std::unique_ptr<TableMonitor> StartMonitor(Changes& changes,
                                           std::vector<uint32_t> firewall_ports = {},
                                           std::vector<uint32_t> route_ports = {}) {
  auto monitor =
      TableMonitor::Start({.firewall_ports = std::move(firewall_ports),
                           .route_ports = std::move(route_ports),
                           .changed = [&changes](const TableChange& c) { changes.Take(c); }});
  INFO(monitor.status().ToString());
  REQUIRE(monitor.ok());
  return *std::move(monitor);
}

// Without who it was.
TableChange What(TableChange change) {
  change.firewall_by.clear();
  return change;
}

void LoadRuleset() {
  auto firewall = NftFirewall::Open();
  REQUIRE(firewall.ok());
  const auto loaded = (*firewall)->EnsureRuleset(RulesetText({}));
  INFO(loaded.status().ToString());
  REQUIRE(loaded.ok());
}

// The device eth0, up.
void AddDevice() {
  Run("ip link add eth0 type veth peer eth1 && ip link set eth0 addrgenmode none && "
      "ip link set eth1 addrgenmode none && ip link set eth0 up && ip link set eth1 up");
}

// Something of both kinds that is told for certain: what was told before it is all that was.
void ChangeBoth() {
  Run("nft add element inet fairlead guarded4 '{ 192.0.2.99 }'; "
      "nft delete element inet fairlead guarded4 '{ 192.0.2.99 }'; "
      "ip route add local 192.0.2.98 dev lo table local proto 119; "
      "ip route del local 192.0.2.98 dev lo table local proto 119");
}

TEST_CASE("what somebody does to Fairlead's table is told, with who it was") {
  NetworkNamespace network;
  LoadRuleset();
  Changes changes;
  const auto monitor = StartMonitor(changes);
  struct Row {
    std::string command;
    TableChange told;
  };
  const std::vector<Row> rows = {
      {"nft add element inet fairlead guarded4 '{ 192.0.2.1, 192.0.2.2 }'", kElements},
      {"nft delete element inet fairlead guarded4 '{ 192.0.2.1 }'", kElements},
      {"nft add element inet fairlead mark6 '{ fd00::1 . tcp . 80 : 0x4 }'", kElements},
      {"nft flush set inet fairlead guarded4", kElements},
      {"nft flush map inet fairlead mark6", kElements},
      {"nft add set inet fairlead other '{ type ipv4_addr; }'", kRuleset},
      {"nft delete set inet fairlead other", kRuleset},
      {"nft add rule inet fairlead guard counter", kRuleset},
      {"nft insert rule inet fairlead guard drop", kRuleset},
      {"nft replace rule inet fairlead guard handle "
       "$(nft -a list chain inet fairlead guard | sed -n 's/.*drop # handle //p') accept",
       kRuleset},
      {"nft flush chain inet fairlead guard", kRuleset},
      {"nft add chain inet fairlead another", kRuleset},
      {"nft delete chain inet fairlead another", kRuleset},
      {"nft add chain inet fairlead input '{ policy drop; }'", kRuleset},
      {"nft add table inet fairlead '{ flags dormant; }'", kRuleset},
      {"nft flush table inet fairlead", kRuleset},
      {"nft delete table inet fairlead", kRuleset},
  };
  for (const Row& row : rows) {
    INFO(row.command);
    Run(row.command);
    const TableChange told = changes.WaitFor(row.told);
    CHECK(What(told) == row.told);
    CHECK(absl::StartsWith(told.firewall_by, "nft["));
  }
  LoadRuleset();
  CHECK(What(changes.WaitFor(kRuleset)) == kRuleset);
  Run("nft flush ruleset");
  CHECK(What(changes.WaitFor(kRuleset)) == kRuleset);
}

TEST_CASE("what somebody does to Fairlead's routes, or in their place, is told") {
  NetworkNamespace network;
  AddDevice();
  Run("ip addr add 192.0.2.5/24 dev lo && ip addr add fd00::5/64 dev lo nodad");
  for (const char* route : {"ip route add local 10.96.0.1", "ip route add local 10.96.0.2",
                            "ip -6 route add local fd00:96::1"}) {
    Run(std::string(route) + " dev lo table local proto 119");
  }
  Changes changes;
  const auto monitor = StartMonitor(changes);
  const std::vector<std::string> commands = {
      "ip route del local 10.96.0.1 table local",
      "ip -6 route del local fd00:96::1 table local",
      "ip route add local 10.96.0.1 dev lo table local proto 119",
      "ip route replace local 10.96.0.1 dev lo table local proto 119 src 192.0.2.5",
      // Others' in the place of Fairlead's.
      "ip route replace local 10.96.0.1 dev lo table local proto static",
      "ip route del local 10.96.0.1 table local proto static",
      "ip route prepend local 10.96.0.2 dev eth0 table local proto static",
      "ip -6 route add local fd00:96::1 dev lo table local proto static metric 1",
      "ip -6 route del local fd00:96::1 dev lo table local proto static",
      // Where Fairlead puts none.
      "ip route add 198.51.100.0/24 dev eth0 proto 119",
      "ip route flush table all proto 119",
      "ip link set lo down",
      "ip link set lo up",
  };
  for (const std::string& command : commands) {
    INFO(command);
    Run(command);
    CHECK(changes.WaitFor(kRoutes) == kRoutes);
  }
}

TEST_CASE("what does not concern Fairlead is not told") {
  NetworkNamespace network;
  LoadRuleset();
  AddDevice();
  Changes changes;
  const auto monitor = StartMonitor(changes);
  const std::vector<std::string> commands = {
      "nft add table ip fairlead && nft add set ip fairlead guarded4 '{ type ipv4_addr; }' && "
      "nft add element ip fairlead guarded4 '{ 192.0.2.1 }' && nft delete table ip fairlead",
      "nft add table inet fairlead2 && nft add chain inet fairlead2 input && "
      "nft add rule inet fairlead2 input counter && nft delete table inet fairlead2",
      "ip route add 198.51.100.0/24 dev eth0 proto static && "
      "ip route replace 198.51.100.0/24 dev eth0 proto static metric 7 && "
      "ip route flush 198.51.100.0/24",
      "ip -6 route add fd00:1::/64 dev eth0 proto bird && ip -6 route del fd00:1::/64",
      "ip route add 198.51.100.0/24 dev eth0 table 119 && ip route flush table 119",
      "ip addr add 192.0.2.5/24 dev eth0 && ip addr add fd00::5/64 dev eth0 nodad && "
      "ip addr flush dev eth0",
      // The index of this device has in its bytes what elsewhere is Fairlead's protocol number.
      "ip link add odd index 30464 type veth && ip link set odd up && ip link set odd down && "
      "ip link del odd",
      "ip link set eth0 down && ip link del eth0",
  };
  for (const std::string& command : commands) {
    INFO(command);
    Run(command);
    CHECK(changes.count() == 0);
  }
  ChangeBoth();
  CHECK(What(changes.WaitFor({.firewall = true, .routes = true})) ==
        TableChange{.firewall = true, .routes = true});
  CHECK(changes.count() <= 4);
}

TEST_CASE("what the agent's own sockets do is not told, and the same by others is") {
  NetworkNamespace network;
  LoadRuleset();
  auto firewall = NftFirewall::Open();
  REQUIRE(firewall.ok());
  auto routes = NetlinkSocket::Open(NETLINK_ROUTE);
  REQUIRE(routes.ok());
  Changes changes;
  const auto monitor = StartMonitor(changes, {(*firewall)->port_id()}, {routes->port_id()});

  const Element element = {.set = SetName::kGuarded, .address = *IpAddress::Parse("192.0.2.1")};
  const auto change_own = [&](NftFirewall& by, NetlinkSocket& route_socket) {
    using Verb = ElementChange::Verb;
    REQUIRE(by.Apply({{Verb::kAdd, element}}).ok());
    REQUIRE(by.Apply({{Verb::kDelete, element}}).ok());
    for (const char* vip : {"10.96.0.1", "fd00:96::1"}) {
      const VipRoute route = {*IpAddress::Parse(vip), std::nullopt};
      for (const RouteVerb verb : {RouteVerb::kAdd, RouteVerb::kReplace, RouteVerb::kDelete}) {
        std::string request;
        EncodeRoute(verb, route, route_socket.TakeSequences(1), true, request);
        REQUIRE(route_socket
                    .Exchange(request,
                              [](const Message& message) {
                                REQUIRE(DecodeAcknowledgement(message)->error == 0);
                                return absl::OkStatus();
                              })
                    .ok());
      }
    }
  };
  change_own(**firewall, *routes);
  CHECK(changes.count() == 0);
  Run("nft add element inet fairlead guarded4 '{ 192.0.2.99 }'");
  CHECK(What(changes.WaitFor(kElements)) == kElements);
  Run("ip route add local 192.0.2.98 dev lo table local proto 119");
  CHECK(changes.WaitFor(kRoutes) == kRoutes);
  CHECK(changes.count() == 2);

  auto other_firewall = NftFirewall::Open();
  REQUIRE(other_firewall.ok());
  auto other_routes = NetlinkSocket::Open(NETLINK_ROUTE);
  REQUIRE(other_routes.ok());
  change_own(**other_firewall, *other_routes);
  CHECK(What(changes.WaitFor({.firewall = true, .routes = true})) ==
        TableChange{.firewall = true, .routes = true});
}

std::vector<ElementChange> Guards(ElementChange::Verb verb, uint32_t count) {
  std::vector<ElementChange> changes;
  for (uint32_t i = 0; i < count; ++i) {
    changes.push_back({verb, {.set = SetName::kGuarded, .address = IpAddress::V4(0x0a600000 + i)}});
  }
  return changes;
}

TEST_CASE("of a large write the kernel tells nobody, of what comes after it does") {
  using Verb = ElementChange::Verb;
  NetworkNamespace network;
  LoadRuleset();
  auto firewall = NftFirewall::Open();
  REQUIRE(firewall.ok());
  Changes changes;
  const auto monitor = StartMonitor(changes);  // It would hear of our own writes, too.
  QuietFirewall quiet(**firewall);
  int missed = 0;
  quiet.Hush(*monitor, [&](const absl::Status&) { ++missed; });

  REQUIRE(quiet.Apply(Guards(Verb::kAdd, QuietFirewall::kLarge)).ok());
  // One that fails changes nothing, and counts for nothing.
  std::vector<ElementChange> bad = Guards(Verb::kDelete, QuietFirewall::kLarge + 1);
  CHECK(absl::IsNotFound(quiet.Apply(bad)));
  CHECK(changes.count() == 0);
  CHECK(quiet.Dump()->size() == QuietFirewall::kLarge);
  CHECK(missed == 0);

  REQUIRE(quiet.Apply(Guards(Verb::kDelete, QuietFirewall::kLarge - 1)).ok());
  CHECK(What(changes.WaitFor(kElements)) == kElements);
  Run("nft add element inet fairlead guarded4 '{ 192.0.2.99 }'");
  CHECK(What(changes.WaitFor(kElements)) == kElements);
  CHECK(changes.count() == 2);
  quiet.StopHushing();
  REQUIRE(quiet.Apply(Guards(Verb::kAdd, QuietFirewall::kLarge)).ok());
  CHECK(What(changes.WaitFor(kElements)) == kElements);
  CHECK(missed == 0);
}

TEST_CASE("what others do during large writes is told or missed, and never lost") {
  using Verb = ElementChange::Verb;
  NetworkNamespace network;
  LoadRuleset();
  auto firewall = NftFirewall::Open();
  REQUIRE(firewall.ok());
  auto other = NftFirewall::Open();
  REQUIRE(other.ok());
  Changes changes;
  const auto monitor = StartMonitor(changes, {(*firewall)->port_id()});
  QuietFirewall quiet(**firewall);
  bool missed = false;
  int times_missed = 0;
  quiet.Hush(*monitor, [&](const absl::Status& hearing) {
    CHECK(hearing.ok());
    missed = true;
  });
  constexpr uint32_t kCount = 4 * QuietFirewall::kLarge;
  const Element element = {.set = SetName::kGuarded, .address = *IpAddress::Parse("192.0.2.1")};
  for (int round = 0; round < 200; ++round) {
    missed = false;
    changes.WaitFor({});  // What was both told and missed.
    std::atomic<bool> done = false;
    absl::Status written;
    std::thread writer([&] {
      written = (*other)->Apply({{round % 2 == 0 ? Verb::kAdd : Verb::kDelete, element}});
      done = true;
    });
    do {
      REQUIRE(quiet.Apply(Guards(Verb::kAdd, kCount)).ok());
      REQUIRE(quiet.Apply(Guards(Verb::kDelete, kCount)).ok());
    } while (!done);
    writer.join();
    REQUIRE(written.ok());
    if (missed) {
      ++times_missed;
    } else {
      REQUIRE(changes.WaitFor(kElements).firewall);
    }
  }
  std::printf("of 200 changes by others %d were missed and noticed\n", times_missed);
  CHECK(times_missed > 0);
}

TEST_CASE("what the kernel lost while the monitor was busy is told") {
  NetworkNamespace network;
  LoadRuleset();
  Run("nft 'add table ip other; add set ip other many { type ipv4_addr; }'");
  Changes changes;
  const auto monitor = StartMonitor(changes);
  changes.SetOpen(false);
  Run("ip route add local 192.0.2.98 dev lo table local proto 119");
  CHECK(changes.WaitFor(kRoutes) == kRoutes);
  // What does not concern Fairlead fills the socket, so that what does is lost.
  Run("(echo add element ip other many \\{; for i in $(seq 0 999); do for j in $(seq 1 250); do "
      "echo 10.$((i / 250)).$((i % 250)).$j,; done; done; echo \\}) | nft -f -");
  Run("nft add element inet fairlead guarded4 '{ 192.0.2.99 }'");
  changes.SetOpen(true);
  // It may have been anything.
  CHECK(changes.WaitFor(kRuleset) == kRuleset);
  Run("nft add element inet fairlead guarded4 '{ 192.0.2.98 }'");
  CHECK(What(changes.WaitFor(kElements)) == kElements);
}

TEST_CASE("thousands of changes while the monitor is busy are told in one call") {
  NetworkNamespace network;
  LoadRuleset();
  Changes changes;
  const auto monitor = StartMonitor(changes);
  changes.SetOpen(false);
  Run("nft add element inet fairlead guarded4 '{ 192.0.2.99 }'");
  CHECK(What(changes.WaitFor(kElements)) == kElements);
  Run("for i in $(seq 0 9); do for j in $(seq 1 250); do echo route add local 10.96.$i.$j dev lo "
      "table local proto 119; done; done | ip -batch -");
  changes.SetOpen(true);
  CHECK(changes.WaitFor(kRoutes) == kRoutes);
  Run("nft add element inet fairlead guarded4 '{ 192.0.2.98 }'");
  CHECK(What(changes.WaitFor(kElements)) == kElements);
  CHECK(changes.count() == 3);
}

TEST_CASE("a hundred thousand routes of others cost the monitor nothing") {
  NetworkNamespace network;
  AddDevice();
  Changes changes;
  const auto monitor = StartMonitor(changes);
  const auto cpu = [] {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    const auto micro = [](const timeval& t) { return t.tv_sec * 1000000LL + t.tv_usec; };
    return micro(usage.ru_utime) + micro(usage.ru_stime);
  };
  const long long before = cpu();
  Run("for i in $(seq 0 399); do for j in $(seq 1 250); do echo route add "
      "10.$((i / 250)).$((i % 250)).$j dev eth0 proto bird; done; done | ip -batch -");
  const long long used = cpu() - before;
  std::printf("100,000 routes of others: %.3f ms of CPU in this process\n",
              static_cast<double>(used) / 1000);
  CHECK(changes.count() == 0);
  Run("ip route add local 192.0.2.98 dev lo table local proto 119");
  CHECK(changes.WaitFor(kRoutes) == kRoutes);
  CHECK(changes.count() == 1);
}

TEST_CASE("a table monitor that has nothing to tell ends at once") {
  NetworkNamespace network;
  Changes changes;
  StartMonitor(changes).reset();
  CHECK(changes.count() == 0);
}

}  // namespace
}  // namespace fairlead
