#include "watcher/manifest/allocation_store.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "test/watcher/manifest/testing.h"

namespace fairlead {
namespace {

using manifest::TemporaryFolder;

Allocations SomeAllocations() {
  Allocations allocations;
  allocations[{"shop", "cart"}] = {
      .cluster_ips = {*IpAddress::Parse("10.96.1.2"), *IpAddress::Parse("fd00::2")},
      .node_ports = {{{80, ipvs::Protocol::kTcp}, 30080}, {{53, ipvs::Protocol::kUdp}, 30053}},
      .health_check_node_port = 31000};
  allocations[{"default", "a"}] = {.cluster_ips = {*IpAddress::Parse("10.96.1.3")}};
  return allocations;
}

std::string ReadText(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST_CASE("allocations come back as they were saved") {
  TemporaryFolder folder;
  std::vector<Problem> problems;
  const std::string state_dir = folder.File("a/b");  // Is created.
  AllocationStore store(state_dir, /*read_only=*/false);
  CHECK(store.Load(&problems).empty());
  CHECK(!std::filesystem::exists(state_dir));
  CHECK(store.Save(SomeAllocations()).ok());
  CHECK(AllocationStore(state_dir, false).Load(&problems) == SomeAllocations());
  CHECK(store.Save({}).ok());
  CHECK(AllocationStore(state_dir, false).Load(&problems).empty());
  CHECK(problems.empty());
  CHECK(*ParseAllocations(FormatAllocations(SomeAllocations())) == SomeAllocations());
}

TEST_CASE("nothing is kept without a folder, and a read-only store changes nothing") {
  TemporaryFolder folder;
  std::vector<Problem> problems;
  AllocationStore nowhere("", false);
  CHECK(nowhere.Save(SomeAllocations()).ok());
  CHECK(nowhere.Load(&problems).empty());
  AllocationStore read_only(folder.path(), true);
  CHECK(read_only.Save(SomeAllocations()).ok());
  CHECK(std::filesystem::is_empty(folder.path()));
  folder.Write(kAllocationsFile, "nonsense");
  CHECK(read_only.Load(&problems).empty());
  CHECK(problems.size() == 1);
  CHECK(ReadText(folder.File(kAllocationsFile)) == "nonsense");
}

TEST_CASE("the same allocations are not written again") {
  TemporaryFolder folder;
  AllocationStore store(folder.path(), false);
  CHECK(store.Save(SomeAllocations()).ok());
  std::filesystem::remove(folder.File(kAllocationsFile));
  CHECK(store.Save(SomeAllocations()).ok());
  CHECK(!std::filesystem::exists(folder.File(kAllocationsFile)));
}

TEST_CASE("a damaged file is set aside with a problem") {
  struct Case {
    const char* name;
    std::string text;
    const char* want;
  };
  const std::string good = FormatAllocations(SomeAllocations());
  const Case cases[] = {
      {"empty", "", "is not valid JSON"},
      {"cut short", good.substr(0, good.size() / 2), "is not valid JSON"},
      {"a list", "[]", "is not a file of allocations"},
      {"no Services", "{\"format\": 1}", "is not a file of allocations"},
      {"another format", "{\"format\": 2, \"services\": {}}", "has format 2, not 1"},
      {"a bad name", "{\"format\": 1, \"services\": {\"cart\": {}}}",
       "holds an invalid entry for Service \"cart\""},
      {"a bad address", "{\"format\": 1, \"services\": {\"a/b\": {\"cluster_ips\": [\"x\"]}}}",
       "holds an invalid entry for Service \"a/b\""},
      {"a bad port", "{\"format\": 1, \"services\": {\"a/b\": {\"node_ports\": {\"80/TCP\": 0}}}}",
       "holds an invalid entry for Service \"a/b\""},
      {"a bad key", "{\"format\": 1, \"services\": {\"a/b\": {\"node_ports\": {\"80\": 30000}}}}",
       "holds an invalid entry for Service \"a/b\""},
      {"an unknown field", "{\"format\": 1, \"services\": {\"a/b\": {\"colour\": 1}}}",
       "holds an invalid entry for Service \"a/b\""},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    TemporaryFolder folder;
    folder.Write(kAllocationsFile, c.text);
    AllocationStore store(folder.path(), false);
    std::vector<Problem> problems;
    CHECK(store.Load(&problems).empty());
    const std::string path = folder.File(kAllocationsFile);
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].Format() == path + ": " + c.want + "; set aside as " + path +
                                      ".damaged; addresses and node ports are given out anew");
    CHECK(ReadText(path + ".damaged") == c.text);
    CHECK(store.Save(SomeAllocations()).ok());
    problems.clear();
    CHECK(AllocationStore(folder.path(), false).Load(&problems) == SomeAllocations());
    CHECK(problems.empty());
  }
}

TEST_CASE("a file that cannot be written is an error of the store") {
  TemporaryFolder folder;
  folder.Write("file", "");
  AllocationStore store(folder.File("file"), false);  // A file is no folder, not even to root.
  CHECK(!store.Save(SomeAllocations()).ok());
}

}  // namespace
}  // namespace fairlead
