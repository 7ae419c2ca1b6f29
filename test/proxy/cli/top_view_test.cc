#include "proxy/cli/top_view.h"

#include <catch2/catch.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "ipvs/ip_address.h"

namespace fairlead {

std::ostream& operator<<(std::ostream& out, const Load& load) {
  return out << load.connections_per_second << " " << load.active << "/" << load.inactive << " "
             << load.bytes_in_per_second << "/" << load.bytes_out_per_second;
}

namespace {

std::string Bytes(const char* address) {
  return std::string(IpAddress::Parse(address).value().bytes());
}

void SetRates(v1::Statistics* statistics, uint64_t connections, uint64_t in, uint64_t out) {
  statistics->set_connections_per_second(connections);
  statistics->set_bytes_in_per_second(in);
  statistics->set_bytes_out_per_second(out);
}

void AddReal(v1::VirtualServer& server, const char* address, const char* name, const char* state,
             uint32_t active, uint64_t connections) {
  v1::RealServer* real = server.add_real_servers();
  real->set_address(Bytes(address));
  real->set_port(8080);
  real->set_target_name(name);
  real->set_state(state);
  real->set_active_connections(active);
  real->set_inactive_connections(active * 2);
  SetRates(real->mutable_statistics(), connections, 10 * connections, 100 * connections);
}

v1::VirtualServer MakeServer(const char* address, uint32_t port, const char* service) {
  v1::VirtualServer server;
  server.set_protocol(v1::TCP);
  server.set_address(Bytes(address));
  server.set_port(port);
  if (*service != '\0') {
    server.set_service_namespace("shop");
    server.set_service_name(service);
    server.set_port_name("http");
  }
  return server;
}

// Cart at two addresses with the same endpoints, web at one, and one that no Service has.
std::vector<v1::VirtualServer> MakeServers() {
  v1::VirtualServer cart = MakeServer("10.96.0.1", 80, "cart");
  SetRates(cart.mutable_statistics(), 7, 70, 700);
  AddReal(cart, "10.244.1.2", "cart-1", "ready", 3, 4);
  AddReal(cart, "10.244.1.3", "cart-2", "draining", 1, 3);
  v1::VirtualServer node_port = MakeServer("192.168.1.1", 30080, "cart");
  SetRates(node_port.mutable_statistics(), 1, 10, 100);
  AddReal(node_port, "10.244.1.2", "cart-1", "ready", 5, 1);
  v1::VirtualServer web = MakeServer("10.96.0.2", 80, "web");
  SetRates(web.mutable_statistics(), 2, 50'000, 4'000'000);
  AddReal(web, "10.244.1.4", "web-1", "ready", 20, 2);
  const v1::VirtualServer nobody = MakeServer("10.96.0.3", 80, "");
  return {cart, node_port, web, nobody};
}

v1::StatusResponse MakeStatus() {
  v1::StatusResponse status;
  status.set_node_name("n1");
  status.set_revision(42);
  return status;
}

using Lines = std::vector<std::string>;

Lines Render(TopState& state, const TopScreen& screen = {}, const std::string& problem = "") {
  Lines lines;
  for (const TopLine& line :
       RenderTop(MakeStatus(), SumUp(MakeServers()), screen,
                 absl::FromCivil(absl::CivilSecond(2026, 11, 21, 12, 0, 1), absl::LocalTimeZone()),
                 problem, state)) {
    lines.push_back(line.text);
  }
  return lines;
}

// The first words of the lines that are Services or endpoints.
Lines Names(TopState state, const TopScreen& screen = {}) {
  Lines names;
  const Lines lines = Render(state, screen);
  for (size_t i = 3; i + 1 < lines.size() && !lines[i].empty(); ++i) {
    const size_t begin = lines[i].find_first_not_of(' ');
    names.push_back(lines[i].substr(begin, lines[i].find(' ', begin) - begin));
  }
  return names;
}

TopState After(const std::string& keys, TopState state = {}) {
  for (const char key : keys) {
    if (key == '\n') {
      HandleKey(TopKey::kEnter, 0, 10, state);
    } else {
      HandleKey(TopKey::kCharacter, key, 10, state);
    }
  }
  return state;
}

TEST_CASE("a Service's port is the sum of its virtual servers") {
  const std::vector<TopService> services = SumUp(MakeServers());
  REQUIRE(services.size() == 3);
  CHECK(services[1].name == "shop/cart:http");
  CHECK(services[1].load == Load{8, 9, 18, 80, 800});
  REQUIRE(services[1].endpoints.size() == 2);
  CHECK(services[1].endpoints[0].address == "10.244.1.2:8080");
  CHECK(services[1].endpoints[0].target == "cart-1");
  CHECK(services[1].endpoints[0].load == Load{5, 8, 16, 50, 500});
  CHECK(services[1].endpoints[1].target == "cart-2 (draining)");
  CHECK(services[1].endpoints[1].load == Load{3, 1, 2, 30, 300});
  CHECK(services[2].name == "shop/web:http");
  CHECK(services[0].load == Load{});
}

TEST_CASE("a screen has what is busy, and the keys") {
  TopState state;
  CHECK(Render(state, {.width = 80, .height = 8}) ==
        Lines{
            "fairlead top  n1  revision 42  12:00:01  3 ports of Services",
            "10 connections/s  29 active  58 inactive  50.1kB/s in  4.0MB/s out",
            "SERVICE                                   CONN/S  ACTIVE   INACT    IN/S   OUT/S",
            "shop/cart:http                                 8       9      18      80     800",
            "shop/web:http                                  2      20      40   50.0k    4.0M",
            "TCP  10.96.0.3:80                              0       0       0       0       0",
            "",
            "q quit  s by connections/s  r reverse  e endpoints  / filter  space pause",
        });
}

TEST_CASE("what an agent does not answer stands where the sums are") {
  TopState state;
  CHECK(Render(state, {}, "no answer")[1] == "no answer");
}

TEST_CASE("no line is longer than the screen, and there are as many as it has") {
  for (const size_t width : {0U, 1U, 20U, 56U, 80U, 200U}) {
    for (const size_t height : {0U, 1U, 3U, 4U, 5U, 24U}) {
      TopState state{.endpoints = true};
      const Lines lines = Render(state, {.width = width, .height = height});
      CHECK(lines.size() == height);
      for (const std::string& line : lines) CHECK(line.size() <= width);
    }
  }
}

TEST_CASE("keys choose the order") {
  const std::string cart = "shop/cart:http";
  const std::string web = "shop/web:http";
  CHECK(Names({}) == Lines{cart, web, "TCP"});
  CHECK(Names(After("s")) == Lines{web, cart, "TCP"});    // Active.
  CHECK(Names(After("ss")) == Lines{web, cart, "TCP"});   // Bytes.
  CHECK(Names(After("sss")) == Lines{"TCP", cart, web});  // Name.
  CHECK(Names(After("ssss")) == Names({}));
  CHECK(Names(After("r")) == Lines{"TCP", web, cart});
  CHECK(Names(After("sssr")) == Lines{web, cart, "TCP"});
}

TEST_CASE("keys show endpoints, filter, pause and end") {
  CHECK(Names(After("e")) == Lines{"shop/cart:http", "10.244.1.2:8080", "10.244.1.3:8080",
                                   "shop/web:http", "10.244.1.4:8080", "TCP"});
  CHECK(Names(After("/web\n")) == Lines{"shop/web:http"});
  CHECK(After("/web").typing);
  CHECK_FALSE(After("/web\n").typing);
  // What is typed is no command.
  CHECK_FALSE(After("/q").quit);
  CHECK(After("q").quit);
  CHECK(After(" ").paused);
  CHECK(After("  ") == TopState{});
  CHECK(After("xyz?") == TopState{});
  TopState filtered = After("/weg");
  HandleKey(TopKey::kBackspace, 0, 10, filtered);
  CHECK(filtered.filter == "we");
  HandleKey(TopKey::kEscape, 0, 10, filtered);
  CHECK(filtered == TopState{});
  CHECK(Render(filtered = After("/we"))[23] == "filter: we_");
}

TEST_CASE("a screen that is too small is moved over, and not beyond its ends") {
  const TopScreen small{.width = 80, .height = 6};
  const auto moved = [&](const std::vector<TopKey>& keys) {
    TopState state{.endpoints = true};
    for (const TopKey key : keys) {
      HandleKey(key, 0, 3, state);
      Render(state, small);
    }
    return Names(state, small);
  };
  CHECK(moved({}) == Lines{"shop/cart:http", "10.244.1.2:8080"});
  CHECK(moved({TopKey::kDown}) == Lines{"10.244.1.2:8080", "10.244.1.3:8080"});
  CHECK(moved({TopKey::kDown, TopKey::kUp, TopKey::kUp}) == moved({}));
  CHECK(moved({TopKey::kPageDown}) == Lines{"shop/web:http", "10.244.1.4:8080"});
  CHECK(moved({TopKey::kPageDown, TopKey::kPageDown}) == Lines{"10.244.1.4:8080", "TCP"});
  CHECK(moved({TopKey::kPageDown, TopKey::kPageDown, TopKey::kPageUp}) ==
        Lines{"10.244.1.2:8080", "10.244.1.3:8080"});
  CHECK(moved({TopKey::kPageDown, TopKey::kHome}) == moved({}));
}

TEST_CASE("a number has six characters at most") {
  const std::pair<uint64_t, const char*> rows[] = {
      {0, "0"},          {9'999, "9999"},     {10'000, "10.0k"},        {999'949, "999.9k"},
      {999'950, "1.0M"}, {1'500'000, "1.5M"}, {UINT64_MAX, "18446.7P"},
  };
  for (const auto& [number, text] : rows) CHECK(FormatShort(number) == text);
}

}  // namespace
}  // namespace fairlead
