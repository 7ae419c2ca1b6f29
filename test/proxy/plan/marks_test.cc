#include "proxy/plan/marks.h"

#include <catch2/catch.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using ipvs::Protocol;
using ipvs::VirtualServerKey;
using testing::Address;

const ObjectName kCart = {"shop", "cart"};
const MarkedPort kHttp = {"http", Protocol::kTcp};
const MarkedPort kDns = {"dns", Protocol::kUdp};
// The hash of shop/cart, http, TCP in the whole range.
constexpr uint32_t kHttpMark = 0x46020fff;

VirtualServerKey Key(const std::string& address, uint16_t port = 80) {
  return VirtualServerKey::ForAddress(Protocol::kTcp, Address(address), port);
}

ObjectName Numbered(int number) { return {"shop", absl::StrCat("s", number)}; }

MarkAllocator Allocator(const MarkRange& range = {}) {
  MarkAllocator marks;
  marks.SetRange(range);
  return marks;
}

TEST_CASE("A range of marks is read as two numbers") {
  struct Row {
    std::string text;
    MarkRange range;
  };
  const auto row = GENERATE(values<Row>({
      {"1-256", {1, 256}},
      {"0x46000000-0x460fffff", {0x46000000, 0x460fffff}},
      {"0x100-511", {0x100, 511}},
      {" 1000 - 2000 ", {1000, 2000}},
      {"1-0xffffffff", {1, 0xffffffff}},
      {"0xFFFFFF00-4294967295", {0xffffff00, 0xffffffff}},
  }));
  INFO(row.text);
  const auto range = ParseMarkRange(row.text);
  REQUIRE(range.ok());
  CHECK(*range == row.range);
  CHECK(ParseMarkRange(range->Format()).value() == row.range);
}

TEST_CASE("What is no range of marks is refused") {
  struct Row {
    std::string text;
    std::string message;
  };
  const auto no_range = [](const std::string& text) {
    return Row{text,
               "\"" + text + "\" is no range of firewall marks such as 0x46000000-0x460fffff"};
  };
  const auto row = GENERATE_COPY(values<Row>({
      no_range(""),
      no_range("-"),
      no_range("1"),
      no_range("1-"),
      no_range("-256"),
      no_range("1-256-512"),
      no_range("1-4294967296"),
      no_range("0x-0x100"),
      no_range("a-b"),
      no_range("1-1000x"),
      {"0-1000", "mark 0 is that of unmarked packets"},
      {"0x0-0x1000", "mark 0 is that of unmarked packets"},
      {"1-255", "0x00000001-0x000000ff holds fewer than 256 marks"},
      {"1000-1", "0x000003e8-0x00000001 holds fewer than 256 marks"},
  }));
  INFO(row.text);
  const absl::Status status = ParseMarkRange(row.text).status();
  CHECK(absl::IsInvalidArgument(status));
  CHECK(status.message() == row.message);
}

TEST_CASE("A range holds its ends and what is between them") {
  const MarkRange range = {16, 0xffffffff};
  CHECK(range.size() == 0xfffffff0);
  CHECK_FALSE(range.Contains(0));
  CHECK_FALSE(range.Contains(15));
  CHECK(range.Contains(16));
  CHECK(range.Contains(0xffffffff));
  CHECK(MarkRange{1, 1}.size() == 1);
  CHECK(MarkRange{1, 0xffffffff}.size() == 0xffffffff);
}

TEST_CASE("A mark is a hash of the port's name, the same in every run and on every node") {
  struct Row {
    std::string name;
    ObjectName service;
    MarkedPort port;
    MarkRange range;
    uint32_t mark;
  };
  // The standard's 64-bit FNV-1a of "shop/cart\0http\0TCP" and the like, modulo the range.
  const auto row = GENERATE(values<Row>({
      {"a port", kCart, kHttp, {}, kHttpMark},
      {"another", kCart, kDns, {}, 0x4604f4d4},
      {"one without a name", kCart, {"", Protocol::kTcp}, {}, 0x460e940f},
      {"a small range", kCart, kHttp, {1000, 1255}, 1255},
      {"a small range, another port", kCart, kDns, {1000, 1255}, 1212},
  }));
  INFO(row.name);
  MarkAllocator marks = Allocator(row.range);
  CHECK(marks.Assign(row.service, {{row.port, {}}}) == ServiceMarks{{row.port, row.mark}});
}

TEST_CASE("Every part of a port's name makes another mark") {
  std::set<uint32_t> marks;
  for (const ObjectName& service :
       {kCart, ObjectName{"shop2", "cart"}, ObjectName{"shop", "till"}}) {
    for (const MarkedPort& port :
         {kHttp, MarkedPort{"https", Protocol::kTcp}, MarkedPort{"http", Protocol::kUdp}}) {
      // Alone, so that nothing but the hash makes them differ.
      MarkAllocator allocator = Allocator();
      marks.insert(allocator.Assign(service, {{port, {}}}).at(port));
    }
  }
  CHECK(marks.size() == 9);
}

TEST_CASE("A mark stays while its port is wanted, whatever happens to others") {
  MarkAllocator marks = Allocator();
  CHECK(marks.Assign(kCart, {{kHttp, {Key("198.51.100.1")}}}) == ServiceMarks{{kHttp, kHttpMark}});
  const ServiceMarks both = marks.Assign(kCart, {{kDns, {}}, {kHttp, {}}});
  CHECK(both == ServiceMarks{{kDns, 0x4604f4d4}, {kHttp, kHttpMark}});
  marks.SetRange({1, 256});
  CHECK(marks.Assign(kCart, {{kDns, {}}, {kHttp, {Key("198.51.100.2")}}}) == both);
  CHECK(marks.Assign(kCart, {{kHttp, {}}}) == ServiceMarks{{kHttp, kHttpMark}});
  // One that was given up is chosen anew, of the range that there is now.
  CHECK(marks.Assign(kCart, {{kDns, {}}, {kHttp, {}}}) ==
        ServiceMarks{{kDns, 1 + 212}, {kHttp, kHttpMark}});
}

TEST_CASE("Nothing wanted is nothing given") {
  MarkAllocator marks = Allocator();
  CHECK(marks.Assign(kCart, {}).empty());
  marks.Assign(kCart, {{kHttp, {}}});
  CHECK(marks.Assign(kCart, {}).empty());
  CHECK(marks.Assign(kCart, {}).empty());
}

TEST_CASE("A small range is used up without a mark given twice, and what is given up is free") {
  const MarkRange range = {1000, 1255};
  MarkAllocator marks = Allocator(range);
  std::map<uint32_t, ObjectName> owners;
  for (int i = 0; i < 256; ++i) {
    const uint32_t mark = marks.Assign(Numbered(i), {{kHttp, {}}}).at(kHttp);
    CHECK(range.Contains(mark));
    CHECK(owners.emplace(mark, Numbered(i)).second);
  }
  CHECK(marks.Assign(kCart, {{kHttp, {}}}).empty());
  // What there was stays: of two ports one goes without.
  CHECK(marks.Assign(owners.at(1100), {{kDns, {}}, {kHttp, {}}}) == ServiceMarks{{kHttp, 1100}});

  CHECK(marks.Assign(owners.at(1100), {}).empty());
  CHECK(marks.Assign(kCart, {{kHttp, {}}}) == ServiceMarks{{kHttp, 1100}});
}

TEST_CASE("Marks of others are not given") {
  const MarkRange range = {1000, 1255};
  MarkAllocator marks = Allocator(range);
  std::set<uint32_t> foreign = {1, 5000};
  for (uint32_t mark = 1000; mark <= 1255; ++mark) {
    if (mark != 1007) foreign.insert(mark);
  }
  marks.Avoid(foreign);
  CHECK(marks.Assign(kCart, {{kHttp, {}}}) == ServiceMarks{{kHttp, 1007}});
  CHECK(marks.Assign(Numbered(1), {{kHttp, {}}}).empty());
}

TEST_CASE("A mark of before goes to the port that has the address now") {
  struct Row {
    std::string name;
    std::map<VirtualServerKey, uint32_t> found;
    std::vector<VirtualServerKey> keys;
    uint32_t mark;
  };
  const VirtualServerKey first = Key("198.51.100.1");
  const VirtualServerKey second = Key("203.0.113.1");
  const auto row = GENERATE_COPY(values<Row>({
      {"nothing of before: the hash", {}, {first}, kHttpMark},
      {"of its address", {{first, 0x46000001}}, {first}, 0x46000001},
      {"of one of its addresses", {{second, 0x46000001}}, {first, second}, 0x46000001},
      {"of several addresses: the first one's",
       {{second, 0x46000001}, {first, 0x46000002}},
       {first, second},
       0x46000002},
      {"of another address: the hash", {{second, 0x46000001}}, {first}, kHttpMark},
      {"of its address under another port: the hash",
       {{Key("198.51.100.1", 81), 0x46000001}},
       {first},
       kHttpMark},
      {"out of the range: the hash", {{first, 7}}, {first}, kHttpMark},
      {"out of the range, and one in it",
       {{first, 7}, {second, 0x46000001}},
       {first, second},
       0x46000001},
      {"another address has what the hash gives: the next one",
       {{second, kHttpMark}},
       {first},
       kHttpMark + 1},
  }));
  INFO(row.name);
  MarkAllocator marks = Allocator();
  marks.Restore(row.found);
  CHECK(marks.Assign(kCart, {{kHttp, row.keys}}) == ServiceMarks{{kHttp, row.mark}});
}

TEST_CASE("Of two Services that had one mark the first to ask keeps it") {
  MarkAllocator marks = Allocator();
  marks.Restore({{Key("198.51.100.1"), 0x46000001}, {Key("198.51.100.2"), 0x46000001}});
  CHECK(marks.Assign(kCart, {{kHttp, {Key("198.51.100.1")}}}) == ServiceMarks{{kHttp, 0x46000001}});
  const ServiceMarks other = marks.Assign(Numbered(1), {{kHttp, {Key("198.51.100.2")}}});
  REQUIRE(other.size() == 1);
  CHECK(other.at(kHttp) != 0x46000001);
}

TEST_CASE("A mark of before that is somebody else's is not given again") {
  MarkAllocator marks = Allocator();
  marks.Restore({{Key("198.51.100.1"), 0x46000001}});
  marks.Avoid({0x46000001});
  CHECK(marks.Assign(kCart, {{kHttp, {Key("198.51.100.1")}}}) == ServiceMarks{{kHttp, kHttpMark}});
}

TEST_CASE("A mark of before is given once: it follows the port after that, not the address") {
  MarkAllocator marks = Allocator();
  marks.Restore({{Key("198.51.100.1"), 0x46000001}});
  CHECK(marks.Assign(kCart, {{kHttp, {Key("198.51.100.1")}}}) == ServiceMarks{{kHttp, 0x46000001}});
  CHECK(marks.Assign(kCart, {{kHttp, {Key("198.51.100.9")}}}) == ServiceMarks{{kHttp, 0x46000001}});
  CHECK(marks.Assign(kCart, {}).empty());
  CHECK(marks.Assign(kCart, {{kHttp, {Key("198.51.100.1")}}}) == ServiceMarks{{kHttp, kHttpMark}});
}

TEST_CASE("In any sequence marks are of the range, nobody has two, and no two have one") {
  const auto seed = GENERATE(range(1u, 11u));
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&random](int limit) { return static_cast<int>(random() % limit); };
  const MarkRange range = {500, 755};
  MarkAllocator marks = Allocator(range);
  std::map<ObjectName, ServiceMarks> given;
  std::set<uint32_t> foreign = {600, 601, 602};
  marks.Avoid(foreign);
  marks.Restore({{Key("198.51.100.1"), 510}, {Key("198.51.100.2"), 511}, {Key("198.51.100.3"), 9}});
  for (int step = 0; step < 2000; ++step) {
    const ObjectName service = Numbered(below(200));
    MarkAllocator::Wanted wanted;
    for (int i = below(4); i > 0; --i) {
      wanted[{absl::StrCat("p", below(5)), Protocol::kTcp}] = {
          Key(absl::StrCat("198.51.100.", below(8)))};
    }
    const ServiceMarks assigned = marks.Assign(service, wanted);
    for (const auto& [port, mark] : assigned) {
      REQUIRE(wanted.count(port) == 1);
      REQUIRE(range.Contains(mark));
      REQUIRE(foreign.count(mark) == 0);
      const ServiceMarks& before = given[service];
      if (auto had = before.find(port); had != before.end()) REQUIRE(had->second == mark);
    }
    given[service] = assigned;
    std::set<uint32_t> all;
    size_t count = 0;
    for (const auto& [name, of_service] : given) {
      for (const auto& [port, mark] : of_service) all.insert(mark);
      count += of_service.size();
    }
    REQUIRE(all.size() == count);
    // None goes without a mark while there is a free one; two may be kept for others.
    if (assigned.size() < wanted.size()) REQUIRE(count >= range.size() - foreign.size() - 2 - 3);
  }
}

}  // namespace
}  // namespace fairlead
