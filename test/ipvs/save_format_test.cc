#include "ipvs/save_format.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "ipvs/memory_table.h"
#include "test/ipvs/goldens.h"

namespace fairlead::ipvs {
namespace {

TEST_CASE("a table is saved as ipvsadm saves it") {
  std::vector<Operation> operations;
  for (const auto& [command, operation] : GoldenOperations()) operations.push_back(operation);
  MemoryTable table;
  for (const absl::Status& status : table.Apply(operations)) CHECK(status.ok());
  std::vector<VirtualServer> servers = table.Dump().value();
  CHECK(FormatSave(servers) == ReadGolden("save.txt"));

  SECTION("whatever the order") {
    std::mt19937 random(1);
    for (int i = 0; i < 20; ++i) {
      std::shuffle(servers.begin(), servers.end(), random);
      for (VirtualServer& server : servers) {
        std::shuffle(server.real_servers.begin(), server.real_servers.end(), random);
      }
      CHECK(FormatSave(servers) == ReadGolden("save.txt"));
    }
  }
}

TEST_CASE("nothing is saved as nothing") { CHECK(FormatSave({}).empty()); }

TEST_CASE("addresses far apart come in ipvsadm's order, which is not that of numbers") {
  const std::vector<VirtualServer> servers = {
      {.key = Tcp("10.0.0.1", 80), .config = Config("rr")},
      {.key = Tcp("192.168.0.1", 80), .config = Config("rr")}};
  CHECK(FormatSave(servers) == "-A -t 192.168.0.1:80 -s rr\n-A -t 10.0.0.1:80 -s rr\n");
}

TEST_CASE("addresses that contradict ipvsadm's order are all saved") {
  std::vector<VirtualServer> servers;
  for (const std::string address : {"10.0.0.1", "127.0.0.1", "192.168.0.1", "203.0.113.1"}) {
    servers.push_back({.key = Tcp(address, 80), .config = Config("rr")});
  }
  const std::string saved = FormatSave(servers);
  CHECK(std::count(saved.begin(), saved.end(), '\n') == 4);
  for (const VirtualServer& server : servers)
    CHECK(saved.find(server.key.address.Format()) != saved.npos);
  std::reverse(servers.begin(), servers.end());
  CHECK(FormatSave(servers) == saved);
}

}  // namespace
}  // namespace fairlead::ipvs
