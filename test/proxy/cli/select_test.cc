#include "proxy/cli/select.h"

#include <CLI/CLI.hpp>
#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "ipvs/ip_address.h"
#include "proxy/cli/select_flags.h"

namespace fairlead {
namespace {

std::string Bytes(const char* address) {
  return std::string(IpAddress::Parse(address).value().bytes());
}

TEST_CASE("what tables print and people write is understood") {
  struct Row {
    const char* text;
    const char* name_space;
    const char* service;
    const char* port_name;
    const char* address;
    uint32_t port;
    v1::Protocol protocol;
    uint32_t mark;
  };
  const v1::Protocol kAny = v1::PROTOCOL_UNSPECIFIED;
  const Row kRows[] = {
      {"shop/cart", "shop", "cart", "", nullptr, 0, kAny, 0},
      {"shop/cart:http", "shop", "cart", "http", nullptr, 0, kAny, 0},
      {"shop/", "shop", "", "", nullptr, 0, kAny, 0},
      {"10/20", "10", "20", "", nullptr, 0, kAny, 0},
      {"10.96.0.10", "", "", "", "10.96.0.10", 0, kAny, 0},
      {"10.96.0.10:80", "", "", "", "10.96.0.10", 80, kAny, 0},
      {"fd00::1", "", "", "", "fd00::1", 0, kAny, 0},
      {"[fd00::1]:80", "", "", "", "fd00::1", 80, kAny, 0},
      {"10.96.0.10:53/udp", "", "", "", "10.96.0.10", 53, v1::UDP, 0},
      {"10.96.0.10/sctp", "", "", "", "10.96.0.10", 0, v1::SCTP, 0},
      {"TCP 10.96.0.10:80", "", "", "", "10.96.0.10", 80, v1::TCP, 0},
      {"TCP  [fd00::1]:80", "", "", "", "fd00::1", 80, v1::TCP, 0},
      {"FWM:7", "", "", "", nullptr, 0, kAny, 7},
      {"FWM 7", "", "", "", nullptr, 0, kAny, 7},
      {"FWM  7 IPv6", "", "", "", nullptr, 0, kAny, 7},
      {"FWM:7/IPv6", "", "", "", nullptr, 0, kAny, 7},
      {"FWM  -1", "", "", "", nullptr, 0, kAny, 4294967295},
  };
  for (const Row& row : kRows) {
    INFO(row.text);
    v1::Selector expected;
    expected.set_service_namespace(row.name_space);
    expected.set_service_name(row.service);
    expected.set_port_name(row.port_name);
    if (row.address != nullptr) expected.set_address(Bytes(row.address));
    expected.set_port(row.port);
    expected.set_protocol(row.protocol);
    expected.set_firewall_mark(row.mark);
    const auto selector = ParseSelector(row.text);
    REQUIRE(selector.ok());
    CHECK(selector->DebugString() == expected.DebugString());
  }
}

TEST_CASE("what is not understood is refused with what is") {
  for (const char* text : {"",
                           "/",
                           "cart",
                           "/cart",
                           "Shop/cart",
                           "shop/cart/http",
                           "shop/cart:",
                           "shop/-cart",
                           "10.96.0.0/16",
                           "10.96.0.10:0",
                           "10.96.0.10:65536",
                           "fd00::1]:80",
                           "[fd00::1]",
                           "10.96.0.10:80/icmp",
                           "TCP",
                           "TCP shop/cart",
                           "FWM",
                           "FWM:",
                           "FWM:0",
                           "FWM:x",
                           "7",
                           "shop/cart ",
                           "a\nb"}) {
    INFO(text);
    CHECK(ParseSelector(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
  CHECK(ParseSelector("cart\n").status().message() ==
        "\"cart\\n\" is neither a Service (shop/cart, shop/cart:http, shop/ for all of a "
        "namespace) nor an address (10.96.0.10, 10.96.0.10:80, [fd00::1]:80) nor a mark (FWM:7)");
}

v1::VirtualServer MakeServer(const char* service, const char* port_name, v1::Protocol protocol,
                             const char* address, uint32_t port, const char* endpoint) {
  v1::VirtualServer server;
  server.set_service_namespace("shop");
  server.set_service_name(service);
  server.set_port_name(port_name);
  server.set_protocol(protocol);
  server.set_address(Bytes(address));
  server.set_port(port);
  v1::RealServer* real = server.add_real_servers();
  real->set_address(Bytes(endpoint));
  real->set_port(8080);
  return server;
}

// TCP cart http, UDP dns, IPv6 cart, a mark of dns.
std::vector<v1::VirtualServer> MakeServers() {
  v1::VirtualServer mark = MakeServer("dns", "", v1::UDP, "0.0.0.0", 0, "10.244.1.3");
  mark.clear_address();
  mark.set_firewall_mark(7);
  return {MakeServer("cart", "http", v1::TCP, "10.96.0.10", 80, "10.244.1.2"),
          MakeServer("dns", "", v1::UDP, "10.96.0.11", 53, "10.244.1.3"),
          MakeServer("cart", "https", v1::TCP, "fd00::1", 443, "fd00:1::2"), mark};
}

struct Chosen {
  std::vector<int> servers;
  std::vector<std::string> complaints;

  friend bool operator==(const Chosen&, const Chosen&) = default;
};

std::ostream& operator<<(std::ostream& out, const Chosen& chosen) {
  for (const int i : chosen.servers) out << i << ' ';
  for (const std::string& complaint : chosen.complaints) out << '|' << complaint;
  return out;
}

absl::StatusOr<Selection> ParseLine(const std::string& line) {
  CLI::App app;
  SelectFlags flags;
  AddSelectFlags(*app.add_subcommand("c"), flags);
  app.parse("c " + line);
  return Selection::Make(flags);
}

TEST_CASE("arguments of one kind widen the choice, those of different kinds narrow it") {
  struct Row {
    const char* line;
    Chosen chosen;
  };
  const Row kRows[] = {
      {"", {{0, 1, 2, 3}, {}}},
      {"shop/", {{0, 1, 2, 3}, {}}},
      {"shop/cart", {{0, 2}, {}}},
      {"shop/cart:http", {{0}, {}}},
      {"10.96.0.10", {{0}, {}}},
      {"10.96.0.10:80", {{0}, {}}},
      {"[fd00::1]:443", {{2}, {}}},
      {"10.244.1.3", {{1, 3}, {}}},
      {"10.244.1.3:8080", {{1, 3}, {}}},
      {"FWM:7", {{3}, {}}},
      {"shop/cart 10.96.0.11:53", {{0, 1, 2}, {}}},
      {"--protocol udp", {{1, 3}, {}}},
      {"--protocol UDP --protocol tcp", {{0, 1, 2, 3}, {}}},
      {"--namespace shop", {{0, 1, 2, 3}, {}}},
      {"-n shop --service cart", {{0, 2}, {}}},
      {"--service shop/cart:https", {{2}, {}}},
      {"--service 10.96.0.10:80", {{0}, {}}},
      {"--address shop/dns", {{1, 3}, {}}},
      {"--address 10.244.1.3 --address fd00::1 --protocol tcp",
       {{2}, {"nothing fits --address 10.244.1.3"}}},
      {"shop/cart --protocol tcp", {{0, 2}, {}}},
      {"--protocol tcp shop/cart", {{0, 2}, {}}},
      {"shop/cart shop/crat", {{0, 2}, {"nothing fits shop/crat"}}},
      {"10.96.0.10:81", {{}, {"nothing fits 10.96.0.10:81"}}},
      // The port of one and the address of the other.
      {"10.96.0.10:8080", {{}, {"nothing fits 10.96.0.10:8080"}}},
      {"shop/cart shop/x --protocol udp",
       {{}, {"nothing fits shop/cart or shop/x and --protocol udp"}}},
      {"other/", {{}, {"nothing fits other/"}}},
  };
  const std::vector<v1::VirtualServer> servers = MakeServers();
  for (const Row& row : kRows) {
    INFO(row.line);
    const auto selection = ParseLine(row.line);
    REQUIRE(selection.ok());
    CHECK(ValidateSelectors(selection->groups()).ok());
    Chosen chosen;
    std::vector<v1::VirtualServer> selected;
    for (size_t i = 0; i < servers.size(); ++i) {
      if (!IsSelected(selection->groups(), servers[i])) continue;
      chosen.servers.push_back(static_cast<int>(i));
      selected.push_back(servers[i]);
    }
    chosen.complaints = selection->Complain(selection->FindIn(selected));
    CHECK(chosen == row.chosen);
  }
}

TEST_CASE("an argument that is not understood is named with its flag") {
  struct Row {
    const char* line;
    const char* begin;
  };
  const Row kRows[] = {
      {"cart", "\"cart\" is neither a Service"},
      {"--namespace Shop", "--namespace: \"Shop\" is no namespace such as shop"},
      {"--namespace a/b", "--namespace: \"a/b\" is no namespace such as shop"},
      {"--service Cart", "--service: \"Cart\" is neither a Service"},
      {"--address x", "--address: \"x\" is neither a Service"},
      {"--protocol icmp", "--protocol: not TCP, UDP or SCTP: \"ICMP\""},
  };
  for (const Row& row : kRows) {
    INFO(row.line);
    const absl::Status status = ParseLine(row.line).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(std::string(status.message()).substr(0, std::string(row.begin).size()) == row.begin);
  }
}

TEST_CASE("selectors that no command line makes are refused") {
  SelectorGroups groups;
  v1::Selector* selector = groups.Add()->add_any_of();
  CHECK(ValidateSelectors(groups).ok());
  CHECK_FALSE(SelectByAddress(groups));
  selector->set_port(80);
  CHECK(ValidateSelectors(groups).code() == absl::StatusCode::kInvalidArgument);
  selector->set_address("12345");
  CHECK(ValidateSelectors(groups).code() == absl::StatusCode::kInvalidArgument);
  selector->set_address(Bytes("10.96.0.1"));
  CHECK(ValidateSelectors(groups).ok());
  CHECK(SelectByAddress(groups));
}

}  // namespace
}  // namespace fairlead
