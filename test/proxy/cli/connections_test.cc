// Reading, naming, choosing and printing of balanced connections.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "proxy/cli/connections_format.h"
#include "proxy/cli/connections_names.h"
#include "proxy/cli/connections_read.h"
#include "proxy/cli/connections_select.h"

namespace fairlead {
namespace {

// Lines of Linux 6.1.
constexpr char kFile[] =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
    "TCP 0AF40105 9C40 0A600001 0050 0AF40102 1F90 ESTABLISHED     899\n"
    "UDP fd00:0244:0000:0000:0000:0000:0000:0005 D431 fd00:0096:0000:0000:0000:0000:0000:000a 0035 "
    "fd00:0244:0000:0000:0000:0000:0000:0003 0035 UDP             299\n"
    "TCP 0AF40105 0000 0A600001 0050 0AF40102 1F90 NONE          10745 sip call-1\n"
    "IP  0AF40105 0000 00000007 0000 0AF40102 0000 NONE             60\n";

AddressPort Place(const char* address, uint16_t port) {
  return {IpAddress::Parse(address).value(), port};
}

const BalancedConnection kTcp = {"TCP",
                                 Place("10.244.1.5", 40000),
                                 Place("10.96.0.1", 80),
                                 Place("10.244.1.2", 8080),
                                 "ESTABLISHED",
                                 899};
const BalancedConnection kUdp = {
    "UDP", Place("fd00:244::5", 54321), Place("fd00:96::a", 53), Place("fd00:244::3", 53), "UDP",
    299};

class File {
 public:
  explicit File(const std::string& text) {
    const int fd = mkstemp(path_.data());
    if (fd < 0) throw std::runtime_error("cannot make a file");
    close(fd);
    std::ofstream(path_) << text;
  }
  ~File() { unlink(path_.c_str()); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/connectionsXXXXXX";
};

TEST_CASE("connections are read as the kernel shows them") {
  const File file(kFile);
  std::vector<BalancedConnection> connections;
  const auto all = [&](const BalancedConnection& connection) {
    connections.push_back(connection);
    return true;
  };
  REQUIRE(ReadConnections(file.path(), all).ok());
  REQUIRE(connections.size() == 4);
  CHECK(connections[0] == kTcp);
  CHECK(connections[1] == kUdp);
  CHECK(connections[2] == BalancedConnection{"TCP", Place("10.244.1.5", 0), Place("10.96.0.1", 80),
                                             Place("10.244.1.2", 8080), "NONE", 10745});
  CHECK(connections[3] == BalancedConnection{"IP", Place("10.244.1.5", 0), Place("0.0.0.7", 0),
                                             Place("10.244.1.2", 0), "NONE", 60});
}

TEST_CASE("reading ends when no more is wanted") {
  const File file(kFile);
  int taken = 0;
  const auto two = [&](const BalancedConnection&) { return ++taken < 2; };
  CHECK(ReadConnections(file.path(), two).ok());
  CHECK(taken == 2);
}

TEST_CASE("what cannot be read is an error, not an empty table") {
  const auto take = [](const BalancedConnection&) { return true; };
  const absl::Status missing = ReadConnections("/nowhere/ip_vs_conn", take);
  CHECK(missing.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(missing.message() ==
        "/nowhere/ip_vs_conn: No such file or directory (has this kernel IPVS?)");
  const File file("headers\nTCP 0AF40105 9C40\n");
  CHECK(ReadConnections(file.path(), take).code() == absl::StatusCode::kInternal);
  const File empty("headers\n");
  CHECK(ReadConnections(empty.path(), take).ok());
}

TEST_CASE("a line that is not understood is refused") {
  for (const char* line : {"", "TCP", "TCP 0AF40105 9C40 0A600001 0050 0AF40102 1F90 ESTABLISHED",
                           "TCP XAF40105 9C40 0A600001 0050 0AF40102 1F90 ESTABLISHED 1",
                           "TCP 0AF40105 19C40 0A600001 0050 0AF40102 1F90 ESTABLISHED 1",
                           "TCP 0AF40105 9C40 0A600001 0050 0AF40102 1F90 ESTABLISHED x"}) {
    INFO(line);
    CHECK(ParseConnection(line).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

v1::VirtualServer MakeServer(const char* service, v1::Protocol protocol, const char* address,
                             uint32_t port) {
  v1::VirtualServer server;
  server.set_service_namespace("shop");
  server.set_service_name(service);
  server.set_port_name("http");
  server.set_protocol(protocol);
  server.set_address(std::string(IpAddress::Parse(address).value().bytes()));
  server.set_port(port);
  return server;
}

void AddReal(v1::VirtualServer& server, const char* address, uint32_t port, const char* pod) {
  v1::RealServer* real = server.add_real_servers();
  real->set_address(std::string(IpAddress::Parse(address).value().bytes()));
  real->set_port(port);
  real->set_target_name(pod);
  real->set_node_name("n1");
}

v1::VirtualServer MakeMark(const char* service, uint32_t mark) {
  v1::VirtualServer server = MakeServer(service, v1::TCP, "0.0.0.0", 0);
  server.clear_address();
  server.set_firewall_mark(mark);
  return server;
}

TEST_CASE("a connection is named by its virtual server and its real server") {
  std::vector<v1::VirtualServer> servers = {
      MakeServer("cart", v1::TCP, "10.96.0.1", 80), MakeServer("cart", v1::UDP, "10.96.0.1", 80),
      MakeMark("outside", 7), MakeMark("both", 8), MakeMark("either", 9)};
  servers[1].set_service_name("other");
  AddReal(servers[0], "10.244.1.2", 8080, "cart-1");
  AddReal(servers[2], "10.244.1.3", 8080, "outside-1");
  AddReal(servers[3], "10.244.1.4", 8080, "shared-1");
  AddReal(servers[4], "10.244.1.4", 8080, "shared-1");
  const ConnectionNamer namer(servers);
  struct Row {
    const char* name;
    const char* protocol;
    AddressPort virtual_server;
    AddressPort real_server;
    ConnectionNames names;
  };
  const Row kRows[] = {
      {"both are known",
       "TCP",
       Place("10.96.0.1", 80),
       Place("10.244.1.2", 8080),
       {"shop", "cart", "http", "cart-1", "n1"}},
      {"of another protocol",
       "UDP",
       Place("10.96.0.1", 80),
       Place("10.244.1.2", 8080),
       {"shop", "other", "http", "", ""}},
      {"of another port",
       "TCP",
       Place("10.96.0.1", 81),
       Place("10.244.1.2", 8080),
       {"", "", "", "cart-1", "n1"}},
      {"an endpoint of a mark's set",
       "TCP",
       Place("10.96.0.1", 80),
       Place("10.244.1.3", 8080),
       {"shop", "cart", "http", "outside-1", "n1"}},
      {"chosen by a mark alone",
       "TCP",
       Place("192.0.2.1", 80),
       Place("10.244.1.3", 8080),
       {"shop", "outside", "http", "outside-1", "n1"}},
      {"chosen by one of two marks",
       "TCP",
       Place("192.0.2.1", 80),
       Place("10.244.1.4", 8080),
       {"", "", "", "shared-1", "n1"}},
      {"somebody else's", "TCP", Place("192.0.2.1", 80), Place("192.0.2.2", 80), {}},
      {"an affinity of a mark", "IP", Place("0.0.0.7", 0), Place("10.244.1.2", 0), {}},
  };
  for (const Row& row : kRows) {
    INFO(row.name);
    CHECK(namer.Find({row.protocol, Place("10.244.1.5", 1), row.virtual_server, row.real_server,
                      "NONE", 1}) == row.names);
  }
}

const ConnectionNames kCart = {"shop", "cart", "http", "cart-5d9c", "n1"};

std::string Print(Output output, bool cut, int rows = 2) {
  ConnectionsFormat format(output, /*color=*/false);
  std::string text = format.Begin();
  if (rows > 0) text += format.Add(kTcp, kCart);
  if (rows > 1) text += format.Add(kUdp, {});
  return text + format.End(cut);
}

TEST_CASE("text is laid out as ipvsadm -L -n -c, with names behind its last column") {
  CHECK(Print(Output::kText, false) ==
        R"(IPVS connection entries
pro expire state       source             virtual            destination           Service                        Pod
TCP 14:59  ESTABLISHED 10.244.1.5:40000   10.96.0.1:80       10.244.1.2:8080       shop/cart:http                 cart-5d9c
UDP 04:59  UDP         [fd00:244::5]:54321 [fd00:96::a]:53    [fd00:244::3]:53
)");
}

TEST_CASE("a name that is not known leaves its place to the other") {
  ConnectionsFormat format(Output::kText, /*color=*/false);
  format.Begin();
  CHECK(format.Add(kTcp, {"", "", "", "", "n2"}) ==
        "TCP 14:59  ESTABLISHED 10.244.1.5:40000   10.96.0.1:80       10.244.1.2:8080       "
        "-                              on n2\n");
  CHECK(format.Add(kTcp, {"shop", "cart", "", "", ""}) ==
        "TCP 14:59  ESTABLISHED 10.244.1.5:40000   10.96.0.1:80       10.244.1.2:8080       "
        "shop/cart\n");
}

TEST_CASE("a wide table of connections") {
  CHECK(
      Print(Output::kWide, false) ==
      R"(PROTO  STATE        EXPIRES  CLIENT               VIRTUAL          ENDPOINT          NAMESPACE  SERVICE  PORT  POD        NODE
TCP    ESTABLISHED    14:59  10.244.1.5:40000     10.96.0.1:80     10.244.1.2:8080   shop       cart     http  cart-5d9c  n1
UDP    UDP            04:59  [fd00:244::5]:54321  [fd00:96::a]:53  [fd00:244::3]:53  -          -        -     -          -
)");
  CHECK(Print(Output::kWide, false, 0) ==
        "PROTO  STATE  EXPIRES  CLIENT  VIRTUAL  ENDPOINT  NAMESPACE  SERVICE  PORT  POD  NODE\n");
}

TEST_CASE("a long wide table comes in parts, and keeps none of them") {
  ConnectionsFormat format(Output::kWide, /*color=*/false);
  CHECK(format.Begin().empty());
  for (size_t i = 1; i < ConnectionsFormat::kRowsPerPart; ++i) {
    REQUIRE(format.Add(kTcp, kCart).empty());
  }
  const std::string part = format.Add(kTcp, kCart);
  CHECK(std::count(part.begin(), part.end(), '\n') ==
        static_cast<int>(ConnectionsFormat::kRowsPerPart) + 1);
  CHECK(format.End(false).empty());
}

TEST_CASE("connections as JSON, whatever their number") {
  CHECK(Print(Output::kJson, true, 1) == R"({
  "connections": [
    {
      "protocol": "TCP",
      "state": "ESTABLISHED",
      "expiresSeconds": 899,
      "client": "10.244.1.5",
      "clientPort": 40000,
      "virtual": "10.96.0.1",
      "virtualPort": 80,
      "endpoint": "10.244.1.2",
      "endpointPort": 8080,
      "service": "shop/cart",
      "portName": "http",
      "pod": "cart-5d9c",
      "node": "n1"
    }
  ],
  "cut": true
}
)");
  CHECK(Print(Output::kJson, false, 0) == "{\n  \"connections\": [],\n  \"cut\": false\n}\n");
}

TEST_CASE("connections as YAML") {
  CHECK(Print(Output::kYaml, false, 1) == R"(connections:
- protocol: "TCP"
  state: "ESTABLISHED"
  expiresSeconds: 899
  client: "10.244.1.5"
  clientPort: 40000
  virtual: "10.96.0.1"
  virtualPort: 80
  endpoint: "10.244.1.2"
  endpointPort: 8080
  service: "shop/cart"
  portName: "http"
  pod: "cart-5d9c"
  node: "n1"
cut: false
)");
  CHECK(Print(Output::kYaml, false, 0) == "connections: []\ncut: false\n");
}

absl::StatusOr<ConnectionSelection> ParseLine(const std::string& line, const ClientFlags& client) {
  CLI::App app;
  SelectFlags flags;
  AddSelectFlags(*app.add_subcommand("c"), flags);
  app.parse("c " + line);
  return ConnectionSelection::Make(flags, client);
}

TEST_CASE("connections are chosen by name, address, client and state") {
  struct Row {
    const char* line;
    ClientFlags client;
    bool takes;
    std::vector<std::string> complaints;
  };
  const Row kRows[] = {
      {"", {}, true, {}},
      {"shop/cart", {}, true, {}},
      {"shop/cart:http", {}, true, {}},
      {"shop/ --protocol tcp", {}, true, {}},
      {"10.96.0.1:80", {}, true, {}},
      {"10.244.1.2", {}, true, {}},
      {"10.244.1.5", {}, false, {"nothing fits 10.244.1.5"}},
      {"10.96.0.1:8080", {}, false, {"nothing fits 10.96.0.1:8080"}},
      {"shop/crat", {}, false, {"nothing fits shop/crat"}},
      {"shop/cart shop/crat", {}, true, {"nothing fits shop/crat"}},
      // It is there, and has no connection.
      {"shop/dns", {}, false, {}},
      {"--protocol sctp", {}, false, {"nothing fits --protocol sctp"}},
      {"", {{"10.244.1.5"}, {}}, true, {}},
      {"", {{"10.244.1.5:40000"}, {}}, true, {}},
      {"", {{"10.244.1.5:40001"}, {}}, false, {}},
      {"", {{"10.244.1.6", "10.244.1.5"}, {}}, true, {}},
      {"", {{"10.96.0.1"}, {}}, false, {}},
      {"", {{}, {"established"}}, true, {}},
      {"", {{}, {"TIME_WAIT"}}, false, {}},
      {"", {{}, {"TIME_WAIT", "ESTABLISHED"}}, true, {}},
  };
  const std::vector<v1::VirtualServer> servers = {MakeServer("dns", v1::UDP, "10.96.0.9", 53)};
  for (const Row& row : kRows) {
    INFO(row.line);
    auto selection = ParseLine(row.line, row.client);
    REQUIRE(selection.ok());
    CHECK(selection->Takes(kTcp, kCart) == row.takes);
    CHECK(selection->Complain(servers) == row.complaints);
  }
}

TEST_CASE("arguments that choose no connections are refused") {
  CHECK(ParseLine("", {{"shop/cart"}, {}}).status().message() ==
        "--client: \"shop/cart\" is no address such as 10.244.1.2, 10.244.1.2:40000 or fd00::1");
  CHECK(ParseLine("", {{"x"}, {}}).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(ParseLine("FWM:7", {}).status().message() ==
        "a connection does not tell its mark: name the Service, or an address");
  CHECK(ParseLine("cart", {}).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("names are needed where they choose") {
  CHECK_FALSE(ParseLine("10.96.0.1 --protocol tcp", {})->NeedsNames());
  CHECK(ParseLine("10.96.0.1 shop/", {})->NeedsNames());
  CHECK(ParseLine("--service cart", {})->NeedsNames());
}

}  // namespace
}  // namespace fairlead
