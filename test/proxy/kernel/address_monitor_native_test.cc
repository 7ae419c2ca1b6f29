#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "network_namespace.h"
#include "proxy/kernel/address_monitor.h"

namespace fairlead {
namespace {

constexpr auto kDeadline = std::chrono::seconds(60);

// What a monitor calls: counts, and holds the monitor's thread while it is shut.
class Calls {
 public:
  void Take() {
    std::unique_lock lock(mutex_);
    ++count_;
    moved_.notify_all();
    moved_.wait_for(lock, kDeadline, [&] { return open_; });
  }

  // Whether there have been as many before the deadline.
  bool WaitFor(int count) {
    std::unique_lock lock(mutex_);
    return moved_.wait_for(lock, kDeadline, [&] { return count_ >= count; });
  }

  int count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

  void SetOpen(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    moved_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable moved_;
  int count_ = 0;
  bool open_ = true;
};

std::unique_ptr<AddressMonitor> StartMonitor(Calls& calls) {
  auto monitor = AddressMonitor::Start([&calls] { calls.Take(); });
  INFO(monitor.status().ToString());
  REQUIRE(monitor.ok());
  return *std::move(monitor);
}

// The devices eth0 and eth1, both up, which make no addresses themselves.
void AddDevices() {
  Run("ip link add eth0 type veth peer eth1 && "
      "ip link set eth0 addrgenmode none && ip link set eth1 addrgenmode none && "
      "ip link set eth0 up && ip link set eth1 up");
}

constexpr char kRenew[] =
    "for i in 1 2 3 4 5 6 7 8 9 10; do "
    "ip addr change 192.0.2.5/24 dev eth0 valid_lft 100$i preferred_lft 100$i && "
    "ip addr change fd00::5/64 dev eth0 valid_lft 100$i preferred_lft 100$i; done";

TEST_CASE("every address that comes or goes is told") {
  NetworkNamespace network;
  AddDevices();
  Run("ip addr add 192.0.2.1/24 dev eth0 && ip addr add fd00::1/64 dev eth0 nodad");
  Calls calls;
  const auto monitor = StartMonitor(calls);
  // Each changes one address.
  const std::vector<std::string> commands = {
      "ip addr add 192.0.2.5/24 dev eth0",
      "ip addr add fd00::5/64 dev eth0 nodad",
      // The same address again, on another device and with other prefixes and peers.
      "ip addr add 192.0.2.5/24 dev eth1",
      "ip addr add 192.0.2.5/32 dev eth0",
      "ip addr add 192.0.2.5 peer 192.0.2.77 dev eth0",
      "ip addr del 192.0.2.5/32 dev eth0",
      "ip addr del 192.0.2.5 peer 192.0.2.77 dev eth0",
      "ip addr add 192.0.2.5/32 dev eth0",
      "ip addr del 192.0.2.5/24 dev eth1",
      "ip addr del fd00::5/64 dev eth0",
      "ip addr add fd00::5/64 dev eth0 nodad",
      "ip addr del fd00::5/64 dev eth0",
      // IPv6's go with it; IPv4's stay.
      "ip link set eth0 down",
  };
  int count = 0;
  for (const std::string& command : commands) {
    INFO(command);
    Run(command);
    REQUIRE(calls.WaitFor(++count));
    // One change is told once.
    CHECK(calls.count() == count);
  }
  Run("ip link del eth0");
  CHECK(calls.WaitFor(count + 1));
}

TEST_CASE("a lifetime that is renewed is not told") {
  NetworkNamespace network;
  AddDevices();
  Run("ip addr add 192.0.2.5/24 dev eth0 && ip addr add fd00::5/64 dev eth0 nodad");
  Calls calls;
  const auto monitor = StartMonitor(calls);
  Run(kRenew);
  Run("ip addr add 198.51.100.1/24 dev eth0");
  CHECK(calls.WaitFor(1));
  CHECK(calls.count() == 1);
  // Of one that came later.
  Run("ip addr change 198.51.100.1/24 dev eth0 valid_lft 1000 preferred_lft 1000");
  Run("ip addr del 198.51.100.1/24 dev eth0");
  CHECK(calls.WaitFor(2));
  CHECK(calls.count() == 2);
}

TEST_CASE("a tentative address that can be used from now on is told") {
  NetworkNamespace network;
  // Without a carrier, duplicates cannot be looked for.
  Run("ip link add eth0 type veth peer eth1 && "
      "ip link set eth0 addrgenmode none && ip link set eth1 addrgenmode none && "
      "ip link set eth0 up && ip addr add fd00::5/64 dev eth0");
  // With one, it need not take a second.
  Run("echo 0 >/proc/sys/net/ipv6/conf/eth0/dad_transmits && "
      "echo 0 >/proc/sys/net/ipv6/conf/eth0/router_solicitation_delay");
  Run("ip addr show dev eth0 tentative | grep -q fd00::5");
  Calls calls;
  const auto monitor = StartMonitor(calls);
  Run("ip link set eth1 up");
  CHECK(calls.WaitFor(1));
  Run("ip addr show dev eth0 -tentative | grep -q fd00::5");
}

TEST_CASE("a burst is told at once, and what the kernel lost of it too") {
  NetworkNamespace network;
  AddDevices();
  Run("ip addr add 192.0.2.5/24 dev eth0 && ip addr add fd00::5/64 dev eth0 nodad && "
      "ip addr add 198.51.100.1/24 dev eth0");
  Calls calls;
  const auto monitor = StartMonitor(calls);
  calls.SetOpen(false);
  Run("ip addr add 192.0.2.7/24 dev eth0");
  REQUIRE(calls.WaitFor(1));
  // The monitor is busy. What is no change fills the socket, so that the change is lost.
  Run("(yes 'addr change 192.0.2.5/24 dev eth0 valid_lft 1000 preferred_lft 1000' | head -5000; "
      "echo addr del 198.51.100.1/24 dev eth0) | ip -batch -");
  calls.SetOpen(true);
  REQUIRE(calls.WaitFor(2));
  // It knows again what there is.
  Run(kRenew);
  Run("ip addr add 198.51.100.1/24 dev eth0");
  CHECK(calls.WaitFor(3));
  CHECK(calls.count() == 3);
}

TEST_CASE("hundreds of changes while the monitor is busy are told in one call") {
  NetworkNamespace network;
  AddDevices();
  Calls calls;
  const auto monitor = StartMonitor(calls);
  calls.SetOpen(false);
  Run("ip addr add 192.0.2.7/24 dev eth0");
  REQUIRE(calls.WaitFor(1));
  Run("for i in $(seq 100); do echo addr add 198.51.100.$i/32 dev eth0; done | ip -batch -");
  calls.SetOpen(true);
  REQUIRE(calls.WaitFor(2));
  Run("ip addr del 192.0.2.7/24 dev eth0");
  REQUIRE(calls.WaitFor(3));
  CHECK(calls.count() == 3);
}

TEST_CASE("a monitor that has nothing to tell ends at once") {
  NetworkNamespace network;
  Calls calls;
  StartMonitor(calls).reset();
  CHECK(calls.count() == 0);
}

}  // namespace
}  // namespace fairlead
