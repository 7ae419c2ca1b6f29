#include "proxy/cli/drain_format.h"

#include <catch2/catch.hpp>

#include "ipvs/types.h"
#include "proxy/cli/drain_select.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

std::string Bytes(const std::string& address) {
  return std::string(IpAddress::Parse(address).value().bytes());
}

v1::Drain Make(v1::Protocol protocol, const std::string& address, uint32_t port,
               const std::string& endpoint, const std::string& reason) {
  v1::Drain drain;
  v1::DrainKey& key = *drain.mutable_key();
  key.set_family(Bytes(address).size() == 4 ? v1::IPV4 : v1::IPV6);
  key.set_protocol(protocol);
  key.set_address(Bytes(address));
  key.set_port(port);
  key.set_endpoint_address(Bytes(endpoint));
  key.set_endpoint_port(8080);
  EncodeTime(kNow - absl::Milliseconds(72'500), drain.mutable_since());
  EncodeTime(kNow + absl::Milliseconds(227'500), drain.mutable_until());
  drain.set_reason(reason);
  return drain;
}

v1::Drain Cart() {
  v1::Drain drain = Make(v1::TCP, "10.96.0.1", 80, "10.244.1.2", "terminating");
  drain.set_service_namespace("shop");
  drain.set_service_name("cart");
  drain.set_port_name("http");
  drain.set_target_name("cart-5d9c");
  drain.set_node_name("n1");
  drain.set_active_connections(3);
  drain.set_inactive_connections(12);
  return drain;
}

v1::Drain Dns() {
  v1::Drain drain = Make(v1::UDP, "fd00:96::a", 53, "fd00:244::3", "no Service");
  drain.clear_until();
  return drain;
}

v1::Drain OfMark() {
  v1::Drain drain = Cart();
  v1::DrainKey& key = *drain.mutable_key();
  key.set_firewall_mark(7);
  key.clear_protocol();
  key.clear_address();
  key.clear_port();
  drain.set_reason("removed");
  EncodeTime(kNow - absl::Seconds(1), drain.mutable_until());
  return drain;
}

TEST_CASE("drains are listed in columns") {
  CHECK(FormatDrainsText({Cart(), Dns(), OfMark()}, kNow, /*wide=*/false) ==
        "SERVICE         VIRTUAL-SERVER       ENDPOINT            POD        ACTIVE  INACTIVE  "
        "SINCE  LEFT   REASON\n"
        "shop/cart:http  TCP 10.96.0.1:80     10.244.1.2:8080     cart-5d9c  3       12        "
        "1m12s  3m47s  terminating\n"
        "-               UDP [fd00:96::a]:53  [fd00:244::3]:8080  -          0       0         "
        "1m12s  -      no Service\n"
        "shop/cart:http  FWM 7 IPv4           10.244.1.2:8080     cart-5d9c  3       12        "
        "1m12s  0      removed\n");
  CHECK(FormatDrainsText({}, kNow, /*wide=*/false) ==
        "SERVICE  VIRTUAL-SERVER  ENDPOINT  POD  ACTIVE  INACTIVE  SINCE  LEFT  REASON\n");
}

TEST_CASE("wide adds the node and the time of the end") {
  CHECK(FormatDrainsText({Cart(), Dns()}, kNow, /*wide=*/true) ==
        "SERVICE         VIRTUAL-SERVER       ENDPOINT            POD        ACTIVE  INACTIVE  "
        "SINCE  LEFT   REASON       NODE  UNTIL\n"
        "shop/cart:http  TCP 10.96.0.1:80     10.244.1.2:8080     cart-5d9c  3       12        "
        "1m12s  3m47s  terminating  n1    2023-11-14T22:17:07.500Z\n"
        "-               UDP [fd00:96::a]:53  [fd00:244::3]:8080  -          0       0         "
        "1m12s  -      no Service   -     -\n");
}

TEST_CASE("drains as JSON have times") {
  CHECK(FormatDrainsJson({Cart(), Dns()}) == R"({
  "drains": [
    {
      "service": "shop/cart",
      "portName": "http",
      "virtualServer": "TCP 10.96.0.1:80",
      "endpoint": "10.244.1.2:8080",
      "pod": "cart-5d9c",
      "node": "n1",
      "activeConnections": 3,
      "inactiveConnections": 12,
      "since": "2023-11-14T22:12:07.500Z",
      "until": "2023-11-14T22:17:07.500Z",
      "reason": "terminating"
    },
    {
      "service": "",
      "portName": "",
      "virtualServer": "UDP [fd00:96::a]:53",
      "endpoint": "[fd00:244::3]:8080",
      "pod": "",
      "node": "",
      "activeConnections": 0,
      "inactiveConnections": 0,
      "since": "2023-11-14T22:12:07.500Z",
      "until": null,
      "reason": "no Service"
    }
  ]
}
)");
}

TEST_CASE("one drain in words names what is known") {
  CHECK(FormatDrain(Cart()) ==
        "10.244.1.2:8080 of TCP 10.96.0.1:80 (Service shop/cart:http, Pod cart-5d9c), with 3 "
        "active and 12 inactive connections");
  CHECK(FormatDrain(Dns()) ==
        "[fd00:244::3]:8080 of UDP [fd00:96::a]:53, with 0 active and 0 inactive connections");
}

// --- Selection -----------------------------------------------------------------------------------

TEST_CASE("filters choose drains") {
  struct Row {
    std::string name;
    std::vector<std::string> filters;
    std::string virtual_server;
    std::vector<std::string> reasons;  // Of those that are chosen.
  };
  const std::vector<Row> rows = {
      {"none", {}, "", {"terminating", "no Service", "removed"}},
      {"a Service", {"shop/cart"}, "", {"terminating", "removed"}},
      {"another Service", {"shop/car"}, "", {}},
      {"an endpoint", {"10.244.1.2:8080"}, "", {"terminating", "removed"}},
      {"an endpoint's address", {"10.244.1.2"}, "", {"terminating", "removed"}},
      {"an endpoint with another port", {"10.244.1.2:81"}, "", {}},
      {"an IPv6 endpoint, written long", {"[fd00:244:0::3]:8080"}, "", {"no Service"}},
      {"a virtual server's address", {"10.96.0.1"}, "", {"terminating"}},
      {"a virtual server", {"10.96.0.1:80"}, "", {"terminating"}},
      {"0.0.0.0, which marks do not have", {"0.0.0.0"}, "", {}},
      {"both have to fit", {"shop/cart", "10.96.0.1"}, "", {"terminating"}},
      {"both have to fit, and do not", {"shop/cart", "fd00:96::a"}, "", {}},
      {"--virtual-server", {}, "10.96.0.1:80", {"terminating"}},
      {"--virtual-server with its protocol", {}, "10.96.0.1:80/tcp", {"terminating"}},
      {"--virtual-server with another protocol", {}, "10.96.0.1:80/udp", {}},
      {"--virtual-server as tables have it", {}, "UDP [fd00:96::a]:53", {"no Service"}},
      {"--virtual-server of a mark", {}, "FWM 7 IPv4", {"removed"}},
      {"--virtual-server of a mark, without the family", {}, "FWM 7", {"removed"}},
      {"--virtual-server of another mark", {}, "FWM 8", {}},
      {"--virtual-server is not an endpoint", {}, "10.244.1.2:8080", {}},
      {"an endpoint of a virtual server", {"10.244.1.2:8080"}, "FWM 7", {"removed"}},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      DrainSelection selection;
      for (const std::string& filter : row.filters) {
        REQUIRE(AddToSelection(filter, selection).ok());
      }
      if (!row.virtual_server.empty()) {
        REQUIRE(SelectVirtualServer(row.virtual_server, selection).ok());
      }
      CHECK(selection.empty() == (row.filters.empty() && row.virtual_server.empty()));
      std::vector<std::string> reasons;
      for (const v1::Drain& drain : {Cart(), Dns(), OfMark()}) {
        if (IsSelected(selection, drain)) reasons.push_back(drain.reason());
      }
      CHECK(reasons == row.reasons);
    }
  }
}

TEST_CASE("what is no filter is refused by name") {
  for (const std::string text : {"", "cart", "/", "shop/", "a/b/c", "10.96.0.1:0", "10.96.0.1:"}) {
    DYNAMIC_SECTION("filter \"" << text << "\"") {
      DrainSelection selection;
      const absl::Status status = AddToSelection(text, selection);
      CHECK(absl::IsInvalidArgument(status));
      CHECK(std::string(status.message()).find("\"" + text + "\" is neither") == 0);
    }
  }
  for (const std::string text : {"", "shop/cart", "FWM", "FWM 0", "FWM x", "10.96.0.1:80/icmp",
                                 "ICMP 10.96.0.1:80", "a b c"}) {
    DYNAMIC_SECTION("virtual server \"" << text << "\"") {
      DrainSelection selection;
      const absl::Status status = SelectVirtualServer(text, selection);
      CHECK(absl::IsInvalidArgument(status));
      CHECK(std::string(status.message()).find("\"" + text + "\" is no virtual server") == 0);
    }
  }
}

}  // namespace
}  // namespace fairlead
