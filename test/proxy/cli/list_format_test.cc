#include "proxy/cli/list_format.h"

#include <catch2/catch.hpp>
#include <optional>

#include "absl/strings/str_split.h"
#include "ipvs/ip_address.h"
#include "ipvs/types.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

v1::VirtualServer MakeServer(v1::Protocol protocol, const std::string& address, uint32_t port,
                             const std::string& scheduler) {
  const IpAddress parsed = IpAddress::Parse(address).value();
  v1::VirtualServer server;
  server.set_family(parsed.is_v4() ? v1::IPV4 : v1::IPV6);
  server.set_protocol(protocol);
  server.set_address(std::string(parsed.bytes()));
  server.set_port(port);
  server.set_scheduler(scheduler);
  return server;
}

v1::RealServer& AddReal(v1::VirtualServer& server, const std::string& address, int32_t weight,
                        uint32_t active, uint32_t inactive) {
  const IpAddress parsed = IpAddress::Parse(address).value();
  v1::RealServer& real = *server.add_real_servers();
  real.set_address(std::string(parsed.bytes()));
  real.set_port(8080);
  real.set_forwarding("Masq");
  real.set_weight(weight);
  real.set_active_connections(active);
  real.set_inactive_connections(inactive);
  return real;
}

v1::StatusResponse MakeStatus() {
  v1::StatusResponse status;
  status.set_node_name("n1");
  status.set_complete(true);
  status.set_revision(7);
  status.set_kernel_table("IP Virtual Server version 1.2.1 (size=4096)");
  v1::FeedState& feed = *status.mutable_feed();
  feed.set_connected(true);
  feed.set_feeder("10.0.0.5:10270");
  feed.set_revision(7);
  feed.set_head_revision(9);
  EncodeTime(absl::FromUnixMillis(1'700'000'000'250), feed.mutable_current_as_of());
  return status;
}

std::vector<v1::VirtualServer> MakeServers() {
  v1::VirtualServer cart = MakeServer(v1::TCP, "10.96.0.1", 80, "rr");
  cart.set_service_namespace("shop");
  cart.set_service_name("cart");
  cart.set_port_name("http");
  cart.set_address_kind("ClusterIP");
  cart.set_policy("Cluster");
  cart.set_verdict("balance");
  cart.set_flags(ipvs::kFlagPersistent);
  cart.set_persistence_timeout_seconds(10800);
  cart.set_persistence_prefix_length(32);
  v1::RealServer& named = AddReal(cart, "10.244.1.2", 1, 3, 12);
  named.set_target_name("cart-5d9c");
  named.set_node_name("n1");
  named.set_state("ready");
  v1::RealServer& on_node = AddReal(cart, "10.244.2.2", 1, 0, 0);
  on_node.set_node_name("n2");
  on_node.set_state("terminating");
  AddReal(cart, "10.244.3.2", 0, 1, 0).set_state("draining");

  v1::VirtualServer dns = MakeServer(v1::UDP, "10.96.0.10", 53, "lc");
  dns.set_service_namespace("kube-system");
  dns.set_service_name("kube-dns");
  dns.set_verdict("reject");

  v1::VirtualServer six = MakeServer(v1::SCTP, "fd00:96::1", 5060, "sh");
  v1::RealServer& draining = AddReal(six, "fd00:244::2", 0, 4294967295, 0);
  draining.set_target_name("sip-0");
  draining.set_state("draining");
  return {cart, dns, six};
}

TEST_CASE("a list is laid out as ipvsadm -L -n, with names behind its last column") {
  // The first 70 columns are those of ipvsadm 1.31, whose lines of real servers end with blanks.
  const std::string expected =
      "IP Virtual Server version 1.2.1 (size=4096)\n"
      "Prot LocalAddress:Port Scheduler Flags                                 Service\n"
      "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn  Pod\n"
      "TCP  10.96.0.1:80 rr persistent 10800                                  shop/cart:http\n"
      "  -> 10.244.1.2:8080              Masq    1      3          12         cart-5d9c\n"
      "  -> 10.244.2.2:8080              Masq    1      0          0          on n2\n"
      "  -> 10.244.3.2:8080              Masq    0      1          0          (draining)\n"
      "UDP  10.96.0.10:53 lc                                                  "
      "kube-system/kube-dns\n"
      "SCTP [fd00:96::1]:5060 sh\n"
      "  -> [fd00:244::2]:8080           Masq    0      4294967295 0          "
      "sip-0 (draining)\n";
  CHECK(FormatListText(MakeStatus(), MakeServers()) == expected);
}

TEST_CASE("names are all in one column, also beside addresses that are too long for theirs") {
  v1::VirtualServer server =
      MakeServer(v1::TCP, "fd00:1111:2222:3333:4444:5555:6666:7777", 65535, "rr");
  server.set_service_namespace("shop");
  server.set_service_name("cart");
  AddReal(server, "10.244.1.2", 1, 0, 0).set_target_name("NAME");
  AddReal(server, "fd00:244::1:2", 65535, 0, 0).set_target_name("NAME");
  const std::vector<std::string> lines =
      absl::StrSplit(FormatListText(MakeStatus(), {server}), '\n');
  REQUIRE(lines.size() == 7);
  CHECK(lines[1].find("Service") == 71);
  CHECK(lines[2].find("Pod") == 71);
  CHECK(lines[3].find("shop/cart") == 71);
  CHECK(lines[4].find("NAME") == 71);
  CHECK(lines[5].find("NAME") == 71);
}

TEST_CASE("an endpoint that is too long for its column moves the rest, as with ipvsadm") {
  v1::VirtualServer server = MakeServer(v1::TCP, "fd00:96::1", 80, "rr");
  AddReal(server, "fd00:1111:2222:3333:4444:5555:6666:7777", 1, 0, 0).set_target_name("pod");
  const std::vector<std::string> lines =
      absl::StrSplit(FormatListText(MakeStatus(), {server}), '\n');
  CHECK(lines[4] ==
        "  -> [fd00:1111:2222:3333:4444:5555:6666:7777]:8080 Masq    1      0          0          "
        "pod");
}

v1::VirtualServer MakeMark(uint32_t mark, v1::IpFamily family, const std::string& scheduler) {
  v1::VirtualServer server;
  server.set_family(family);
  server.set_firewall_mark(mark);
  server.set_scheduler(scheduler);
  return server;
}

TEST_CASE("virtual servers for marks are laid out as ipvsadm -L -n") {
  // Without the names these are the lines of ipvsadm 1.31 for
  //   ipvsadm -A -f 2147483900 -s lc -p 60
  //   ipvsadm -A -t 10.0.0.1:80 -s sh -b sh-fallback,sh-port
  //   ipvsadm -A -f 100 -s rr;    ipvsadm -a -f 100 -r 10.244.1.2:8080 -m -w 1
  //   ipvsadm -A -f 100 -6 -s rr; ipvsadm -a -f 100 -6 -r [fd00:244::2]:8080 -m -w 1
  //   ipvsadm -A -f 1174405121 -s mh -b mh-fallback
  v1::VirtualServer large = MakeMark(2147483900, v1::IPV4, "lc");
  large.set_flags(ipvs::kFlagPersistent);
  large.set_persistence_timeout_seconds(60);
  large.set_persistence_prefix_length(32);
  v1::VirtualServer hashed = MakeServer(v1::TCP, "10.0.0.1", 80, "sh");
  hashed.set_flags(ipvs::kFlagScheduler1 | ipvs::kFlagScheduler2);
  v1::VirtualServer four = MakeMark(100, v1::IPV4, "rr");
  four.set_protocol(v1::UDP);
  four.set_service_namespace("shop");
  four.set_service_name("cart");
  four.set_port_name("http");
  AddReal(four, "10.244.1.2", 1, 0, 0).set_target_name("cart-5d9c");
  v1::VirtualServer six = MakeMark(100, v1::IPV6, "rr");
  AddReal(six, "fd00:244::2", 1, 0, 0).set_target_name("cart-5d9c");
  v1::VirtualServer affine = MakeMark(1174405121, v1::IPV4, "mh");
  affine.set_flags(ipvs::kFlagScheduler1);
  CHECK(FormatListText(MakeStatus(), {large, hashed, four, six, affine}) ==
        "IP Virtual Server version 1.2.1 (size=4096)\n"
        "Prot LocalAddress:Port Scheduler Flags                                 Service\n"
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn  Pod\n"
        "FWM  -2147483396 lc persistent 60\n"
        "TCP  10.0.0.1:80 sh (sh-fallback,sh-port)\n"
        "FWM  100 rr                                                            shop/cart:http\n"
        "  -> 10.244.1.2:8080              Masq    1      0          0          cart-5d9c\n"
        "FWM  100 IPv6 rr\n"
        "  -> [fd00:244::2]:8080           Masq    1      0          0          cart-5d9c\n"
        "FWM  1174405121 mh (mh-fallback)\n");
}

TEST_CASE("virtual servers for marks as JSON have a mark and a family, and no address") {
  v1::VirtualServer six = MakeMark(100, v1::IPV6, "rr");
  six.set_protocol(v1::UDP);
  six.set_service_namespace("shop");
  six.set_service_name("cart");
  six.set_address_kind("Internal");
  six.set_policy("Cluster");
  six.set_verdict("reject");
  const std::string json =
      FormatListDocument(MakeStatus(), {six, MakeMark(4294967295, v1::IPV4, "lc")}, Output::kJson);
  CHECK(json == R"({
  "node": "n1",
  "complete": true,
  "revision": 7,
  "feed": {
    "connected": true,
    "feeder": "10.0.0.5:10270",
    "revision": 7,
    "headRevision": 9,
    "currentAsOf": "2023-11-14T22:13:20.250Z",
    "savedPicture": false
  },
  "virtualServers": [
    {
      "protocol": "UDP",
      "address": null,
      "port": null,
      "firewallMark": 100,
      "family": "IPv6",
      "scheduler": "rr",
      "persistenceTimeoutSeconds": 0,
      "service": "shop/cart",
      "portName": "",
      "kind": "Internal",
      "policy": "Cluster",
      "verdict": "reject",
      "realServers": []
    },
    {
      "protocol": null,
      "address": null,
      "port": null,
      "firewallMark": 4294967295,
      "family": "IPv4",
      "scheduler": "lc",
      "persistenceTimeoutSeconds": 0,
      "service": "",
      "portName": "",
      "kind": "",
      "policy": "",
      "verdict": "",
      "realServers": []
    }
  ],
  "failures": [],
  "warnings": []
}
)");
}

TEST_CASE("one virtual server for a reader has a line, and one for each real server") {
  v1::VirtualServer server = MakeMark(1174405121, v1::IPV4, "mh");
  server.set_flags(ipvs::kFlagScheduler1);
  AddReal(server, "10.244.1.2", 1, 3, 12).set_state("ready");
  AddReal(server, "10.244.2.2", 0, 1, 0);
  CHECK(KernelViewLines(server) ==
        std::vector<std::string>{
            "FWM  1174405121 mh (mh-fallback)",
            "10.244.1.2:8080: weight 1, 3 active and 12 inactive connections, ready",
            "10.244.2.2:8080: weight 0, 1 active and 0 inactive connections"});
}

TEST_CASE("a table without virtual servers has its head") {
  CHECK(FormatListText(MakeStatus(), {}) ==
        "IP Virtual Server version 1.2.1 (size=4096)\n"
        "Prot LocalAddress:Port Scheduler Flags                                 Service\n"
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn  Pod\n");
}

TEST_CASE("a list as JSON has everything") {
  v1::StatusResponse status = MakeStatus();
  v1::Problem* failure = status.add_failures();
  failure->set_object("Service shop/cart: TCP 10.96.0.1:80");
  failure->set_message("no memory");
  status.add_warnings("Service shop/cart: odd");
  std::vector<v1::VirtualServer> servers = MakeServers();
  servers.resize(2);
  servers[0].mutable_real_servers()->DeleteSubrange(1, 2);
  CHECK(FormatListDocument(status, servers, Output::kJson) == R"({
  "node": "n1",
  "complete": true,
  "revision": 7,
  "feed": {
    "connected": true,
    "feeder": "10.0.0.5:10270",
    "revision": 7,
    "headRevision": 9,
    "currentAsOf": "2023-11-14T22:13:20.250Z",
    "savedPicture": false
  },
  "virtualServers": [
    {
      "protocol": "TCP",
      "address": "10.96.0.1",
      "port": 80,
      "firewallMark": 0,
      "family": "IPv4",
      "scheduler": "rr",
      "persistenceTimeoutSeconds": 10800,
      "service": "shop/cart",
      "portName": "http",
      "kind": "ClusterIP",
      "policy": "Cluster",
      "verdict": "balance",
      "realServers": [
        {
          "address": "10.244.1.2",
          "port": 8080,
          "forwarding": "Masq",
          "weight": 1,
          "activeConnections": 3,
          "inactiveConnections": 12,
          "pod": "cart-5d9c",
          "node": "n1",
          "state": "ready"
        }
      ]
    },
    {
      "protocol": "UDP",
      "address": "10.96.0.10",
      "port": 53,
      "firewallMark": 0,
      "family": "IPv4",
      "scheduler": "lc",
      "persistenceTimeoutSeconds": 0,
      "service": "kube-system/kube-dns",
      "portName": "",
      "kind": "",
      "policy": "",
      "verdict": "reject",
      "realServers": []
    }
  ],
  "failures": [
    {
      "object": "Service shop/cart: TCP 10.96.0.1:80",
      "message": "no memory"
    }
  ],
  "warnings": [
    "Service shop/cart: odd"
  ]
}
)");
}

TEST_CASE("what is rarely set is told as ipvsadm tells it") {
  // The lines of ipvsadm 1.31 for -s rr -p 60 -M 255.255.0.0 --pe sip -o, and -p 60 -M 64 -6.
  v1::VirtualServer four = MakeServer(v1::UDP, "10.0.0.1", 5060, "rr");
  four.set_flags(ipvs::kFlagPersistent | ipvs::kFlagOnePacket);
  four.set_persistence_timeout_seconds(60);
  four.set_persistence_prefix_length(16);
  four.set_persistence_engine("sip");
  v1::VirtualServer six = MakeServer(v1::TCP, "fd00::1", 80, "rr");
  six.set_flags(ipvs::kFlagPersistent);
  six.set_persistence_timeout_seconds(60);
  six.set_persistence_prefix_length(64);
  CHECK(
      KernelViewLines(four) ==
      std::vector<std::string>{"UDP  10.0.0.1:5060 rr persistent 60 mask 255.255.0.0 pe sip ops"});
  CHECK(KernelViewLines(six) ==
        std::vector<std::string>{"TCP  [fd00::1]:80 rr persistent 60 mask 64"});
  CHECK(FormatListIpvsadm({four, six}) ==
        "-A -u 10.0.0.1:5060 -s rr -p 60 -M 255.255.0.0 --pe sip -o\n"
        "-A -t [fd00::1]:80 -s rr -p 60 -M 64\n");
}

TEST_CASE("a wide list has a line for each endpoint, and one for each virtual server without") {
  std::vector<v1::VirtualServer> servers = MakeServers();
  servers.push_back(MakeMark(1174405121, v1::IPV6, "mh"));
  CHECK(
      FormatListWide(servers, /*color=*/false) ==
      R"(NAMESPACE    SERVICE   PORT  KIND       ADDRESS              PROTO  SCHEDULER  PERSISTENCE  POLICY   VERDICT  ENDPOINT            POD        NODE  WEIGHT      ACTIVE  INACTIVE  STATE
shop         cart      http  ClusterIP  10.96.0.1:80         TCP    rr               10800  Cluster  balance  10.244.1.2:8080     cart-5d9c  n1         1           3        12  ready
shop         cart      http  ClusterIP  10.96.0.1:80         TCP    rr               10800  Cluster  balance  10.244.2.2:8080     -          n2         1           0         0  terminating
shop         cart      http  ClusterIP  10.96.0.1:80         TCP    rr               10800  Cluster  balance  10.244.3.2:8080     -          -          0           1         0  draining
kube-system  kube-dns  -     -          10.96.0.10:53        UDP    lc                   -  -        reject   -                   -          -          -           -         -  -
-            -         -     -          [fd00:96::1]:5060    SCTP   sh                   -  -        -        [fd00:244::2]:8080  sip-0      -          0  4294967295         0  draining
-            -         -     -          FWM:1174405121/IPv6  -      mh                   -  -        -        -                   -          -          -           -         -  -
)");
}

TEST_CASE("a list for ipvsadm can be restored by it") {
  std::vector<v1::VirtualServer> servers = MakeServers();
  servers.push_back(MakeMark(7, v1::IPV4, "rr"));
  AddReal(servers.back(), "192.0.2.1", 3, 0, 0).set_forwarding("Route");
  CHECK(FormatListIpvsadm(servers) ==
        "-A -t 10.96.0.1:80 -s rr -p 10800\n"
        "-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1\n"
        "-a -t 10.96.0.1:80 -r 10.244.2.2:8080 -m -w 1\n"
        "-a -t 10.96.0.1:80 -r 10.244.3.2:8080 -m -w 0\n"
        "-A -u 10.96.0.10:53 -s lc\n"
        "-A --sctp-service [fd00:96::1]:5060 -s sh\n"
        "-a --sctp-service [fd00:96::1]:5060 -r [fd00:244::2]:8080 -m -w 0\n"
        "-A -f 7 -s rr\n"
        "-a -f 7 -r 192.0.2.1:8080 -g -w 3\n");
}

TEST_CASE("a feed that is not fresh is spoken of") {
  const absl::Time now = absl::FromUnixSeconds(1'700'000'100);
  struct Case {
    const char* name;
    bool connected;
    std::optional<absl::Duration> age;
    bool saved;
    const char* text;
  };
  const Case kCases[] = {
      {"fresh", true, absl::Seconds(9), false, ""},
      {"connected, nothing yet", true, std::nullopt, false, ""},
      {"nobody ever answered", false, std::nullopt, false, "no answer from w:1"},
      {"behind", true, absl::Seconds(61), false, "the picture was current 1m1s ago"},
      {"just now", false, absl::Milliseconds(20), false,
       "no feeder answers; the picture was current 1s ago"},
      {"cut off", false, absl::Milliseconds(2500), false,
       "no feeder answers; the picture was current 2s ago"},
      {"from disk", false, absl::Hours(30), true,
       "no feeder answers; the picture is one from disk, saved 30h ago"},
  };
  for (const Case& test : kCases) {
    INFO(test.name);
    v1::FeedState feed;
    feed.set_connected(test.connected);
    feed.set_feeder("w:1");
    feed.set_saved_picture(test.saved);
    if (test.age) EncodeTime(now - *test.age, feed.mutable_current_as_of());
    CHECK(DescribeStaleFeed(feed, now) == test.text);
  }
}

TEST_CASE("an empty list as JSON has empty arrays") {
  CHECK(FormatListDocument({}, {}, Output::kJson) ==
        "{\n  \"node\": \"\",\n  \"complete\": false,\n  \"revision\": 0,\n"
        "  \"feed\": {\n    \"connected\": false,\n    \"feeder\": \"\",\n    \"revision\": 0,\n"
        "    \"headRevision\": 0,\n    \"currentAsOf\": null,\n    \"savedPicture\": false\n  },\n"
        "  \"virtualServers\": [],\n  \"failures\": [],\n  \"warnings\": []\n}\n");
}

}  // namespace
}  // namespace fairlead
