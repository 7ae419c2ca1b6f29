// Sources that a load balancer's address lets in.

#include <algorithm>
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "test_node.h"

namespace fairlead::testing {
namespace {

using ipvs::Operation;
using ipvs::VirtualServerKey;

const VirtualServerKey kAddress = Tcp("192.0.2.7", 80);
const Lines kPods = {"10.244.1.2", "10.244.2.2"};

std::shared_ptr<const ServicePlan> Web(const Lines& sources) {
  return MakePlan("web", {From(LoadBalancer(kAddress, kPods), sources)});
}

Element Limited() {
  return {SetName::kLimited, kAddress.address, kAddress.protocol, kAddress.port, 0, IpPrefix()};
}

Element Allowed(const std::string& prefix) {
  return {SetName::kAllowed, kAddress.address, kAddress.protocol, kAddress.port, 0, Prefix(prefix)};
}

// Whether the address lets each of them in.
Lines LetIn(TestNode& node, const Lines& sources) {
  Lines let_in;
  for (const std::string& source : sources) {
    if (Reach(node.kernel, kAddress, Sender::kOutside, Address(source)) == Lines{"dropped"}) {
      continue;
    }
    let_in.push_back(source);
  }
  return let_in;
}

TEST_CASE("sources are limited before the address is there, and as long as it is") {
  TestNode node;
  Lines trace;
  node.tap.after_write = [&](const std::string& what) { trace.push_back(what); };
  node.Put(Web({"198.51.100.0/24", "192.0.2.7/32"}));
  CHECK(trace.front() ==
        "add owned4 192.0.2.7 . tcp . 80; add guarded4 192.0.2.7; "
        "add masquerade_always4 192.0.2.7 . tcp . 80; add hairpin4 10.244.1.2 . 10.244.1.2; "
        "add limited4 192.0.2.7 . tcp . 80; add allowed4 192.0.2.7 . tcp . 80 . 192.0.2.7/32; "
        "add allowed4 192.0.2.7 . tcp . 80 . 198.51.100.0/24; ");
  CHECK(node.Actual() == node.Wanted());
  CHECK(LetIn(node, {"198.51.100.9", "192.0.2.7", "198.51.101.9", "10.244.1.2"}) ==
        Lines{"198.51.100.9", "192.0.2.7"});
  trace.clear();
  node.Remove("web");
  CHECK(trace.back() ==
        "delete owned4 192.0.2.7 . tcp . 80; delete guarded4 192.0.2.7; "
        "delete masquerade_always4 192.0.2.7 . tcp . 80; "
        "delete hairpin4 10.244.1.2 . 10.244.1.2; delete limited4 192.0.2.7 . tcp . 80; "
        "delete allowed4 192.0.2.7 . tcp . 80 . 192.0.2.7/32; "
        "delete allowed4 192.0.2.7 . tcp . 80 . 198.51.100.0/24; ");
  CHECK(node.Actual() == Lines{});
}

TEST_CASE("sources that change to overlapping ones do so at once") {
  struct Row {
    std::string name;
    Lines before;
    Lines after;
  };
  const std::vector<Row> rows = {
      {"narrower", {"198.51.100.0/24"}, {"198.51.100.0/25"}},
      {"wider", {"198.51.100.0/25"}, {"198.51.100.0/24"}},
      {"two become one", {"198.51.100.0/25", "198.51.100.128/25"}, {"198.51.100.0/24"}},
      {"one becomes two", {"198.51.100.0/24"}, {"198.51.100.0/25", "198.51.100.128/25"}},
      {"one of several", {"10.0.0.0/8", "198.51.100.0/24"}, {"198.51.0.0/16", "203.0.113.0/24"}},
      {"others altogether", {"10.0.0.0/8"}, {"198.51.100.0/24"}},
      {"limited from now on", {}, {"198.51.100.0/24"}},
      {"no longer limited", {"198.51.100.0/24"}, {}},
  };
  const Lines sources = {"198.51.100.9", "198.51.100.200", "198.51.101.9", "10.0.0.9",
                         "203.0.113.9"};
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      TestNode node;
      node.Put(Web(row.before));
      const Lines let_in_before = LetIn(node, sources);
      TestNode then;
      then.Put(Web(row.after));
      const Lines let_in_after = LetIn(then, sources);
      Lines wrong;
      node.tap.after_write = [&](const std::string& what) {
        const Lines now = LetIn(node, sources);
        if (now == let_in_before || now == let_in_after) return;
        wrong.push_back(absl::StrCat("after ", what));
      };
      const size_t transactions = node.tap.transactions.size();
      node.Put(Web(row.after));
      CHECK(node.tap.transactions.size() == transactions + 1);
      CHECK(wrong == Lines{});
      CHECK(LetIn(node, sources) == let_in_after);
      CHECK(node.Failures() == Lines{});
      CHECK(node.Actual() == node.Wanted());
    }
  }
}

TEST_CASE("after a restart sources that overlap those of before take their place") {
  TestNode node;
  node.Put(Web({"198.51.100.0/24"}));
  node.Want(Web({"198.51.0.0/16"}));
  REQUIRE(node.Restart().ok());
  node.Reconcile(node.Everything());
  CHECK(node.Failures() == Lines{});
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("an address whose sources could not be limited is not there") {
  TestNode node;
  node.kernel.firewall.FailElement(Limited(), 1000, absl::ResourceExhaustedError("no memory"));
  node.Put(Web({"198.51.100.0/24"}));
  CHECK(node.Failures() == Lines{"TCP 192.0.2.7:80: its sources could not be limited",
                                 "element limited4 192.0.2.7 . tcp . 80: no memory"});
  CHECK(node.kernel.table.Dump().value().empty());
  CHECK(LetIn(node, {"10.0.0.9"}) == Lines{"10.0.0.9"});  // To a closed port.
  CHECK(Reach(node.kernel, kAddress, Sender::kOutside) == Lines{"closed"});
  node.kernel.firewall.FailElement({}, 0, absl::OkStatus());
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("an address that is there already is kept in step though its sources fail") {
  TestNode node;
  node.Put(Web({}));
  node.kernel.firewall.FailElement(Limited(), 1000, absl::ResourceExhaustedError("no memory"));
  node.Put(MakePlan("web", {From(LoadBalancer(kAddress, {"10.244.1.2"}), {"198.51.100.0/24"})}));
  CHECK(node.Failures() == Lines{"element limited4 192.0.2.7 . tcp . 80: no memory"});
  CHECK(Reach(node.kernel, kAddress, Sender::kOutside) == Lines{"10.244.1.2:8080"});
  node.kernel.firewall.FailElement({}, 0, absl::OkStatus());
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

TEST_CASE("a source that fails keeps out whom it would let in, and nobody else") {
  TestNode node;
  node.kernel.firewall.FailElement(Allowed("198.51.100.0/24"), 1000,
                                   absl::ResourceExhaustedError("no memory"));
  node.Put(Web({"10.0.0.0/8", "198.51.100.0/24"}));
  CHECK(node.Failures() ==
        Lines{"element allowed4 192.0.2.7 . tcp . 80 . 198.51.100.0/24: no memory"});
  CHECK(LetIn(node, {"10.0.0.9", "198.51.100.9", "203.0.113.9"}) == Lines{"10.0.0.9"});
  node.kernel.firewall.FailElement({}, 0, absl::OkStatus());
  CHECK(node.Settle());
  CHECK(node.Actual() == node.Wanted());
}

}  // namespace
}  // namespace fairlead::testing
