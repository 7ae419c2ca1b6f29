// What the firewall in memory promises: that it does as the kernel's does.
#include <catch2/catch.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "firewall_testing.h"
#include "network_namespace.h"
#include "proxy/kernel/memory_firewall.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {
namespace {

using testing::Allowed;
using testing::Changes;
using testing::Ip;
using testing::Mark;
using testing::OneOfEach;
using testing::OpenFirewall;
using testing::OwnedMark;
using testing::Port;
using Verb = ElementChange::Verb;

TEST_CASE("the firewall of the kernel and the one in memory do the same") {
  const Element a = Port(SetName::kOwned, "10.96.0.1", 80);
  const Element b = Port(SetName::kOwned, "10.96.0.1", 80, ipvs::Protocol::kUdp);
  const Element guarded = {SetName::kGuarded, Ip("fd00:96::1")};
  constexpr auto kOk = absl::StatusCode::kOk;
  constexpr auto kExists = absl::StatusCode::kAlreadyExists;
  struct Row {
    std::string name;
    std::vector<Element> before;
    std::vector<ElementChange> changes;
    absl::StatusCode code;
    std::vector<Element> after;
  };
  const std::vector<Row> rows = {
      {"nothing", {a}, {}, absl::StatusCode::kOk, {a}},
      {"one of each set", {}, Changes(Verb::kAdd, OneOfEach()), absl::StatusCode::kOk, OneOfEach()},
      {"all of them again", OneOfEach(), Changes(Verb::kAdd, OneOfEach()), absl::StatusCode::kOk,
       OneOfEach()},
      {"all of them deleted",
       OneOfEach(),
       Changes(Verb::kDelete, OneOfEach()),
       absl::StatusCode::kOk,
       {}},
      {"protocols differ", {a}, {{Verb::kAdd, b}}, absl::StatusCode::kOk, {a, b}},
      {"sets and verbs in turns",
       {a},
       {{Verb::kDelete, a}, {Verb::kAdd, guarded}, {Verb::kAdd, b}},
       absl::StatusCode::kOk,
       {b, guarded}},
      {"added and deleted", {}, {{Verb::kAdd, a}, {Verb::kDelete, a}}, absl::StatusCode::kOk, {}},
      {"deleted and added", {a}, {{Verb::kDelete, a}, {Verb::kAdd, a}}, absl::StatusCode::kOk, {a}},
      {"deleting what is not there undoes the rest",
       {a},
       {{Verb::kAdd, guarded}, {Verb::kDelete, a}, {Verb::kDelete, b}},
       absl::StatusCode::kNotFound,
       {a}},
      {"deleting twice",
       {a},
       {{Verb::kDelete, a}, {Verb::kDelete, a}},
       absl::StatusCode::kNotFound,
       {a}},
      // A map has one value for a key.
      {"another value for a key", {Mark(1)}, {{Verb::kAdd, Mark(2)}}, kExists, {Mark(1)}},
      {"the same value again", {Mark(1)}, {{Verb::kAdd, Mark(1)}}, kOk, {Mark(1)}},
      {"two values for a key in one transaction",
       {},
       {{Verb::kAdd, Mark(1)}, {Verb::kAdd, Mark(2)}},
       kExists,
       {}},
      {"a value takes another's place",
       {Mark(1)},
       {{Verb::kDelete, Mark(1)}, {Verb::kAdd, Mark(2)}},
       kOk,
       {Mark(2)}},
      {"it cannot come before the other one goes",
       {Mark(1)},
       {{Verb::kAdd, Mark(2)}, {Verb::kDelete, Mark(1)}},
       kExists,
       {Mark(1)}},
      {"a key is deleted whatever its value", {Mark(1)}, {{Verb::kDelete, Mark(2)}}, kOk, {}},
      {"one value for several keys",
       {Mark(1)},
       {{Verb::kAdd, Mark(1, "203.0.113.1", 80)},
        {Verb::kAdd, Mark(1, "203.0.113.2")},
        {Verb::kAdd, Mark(1, "203.0.113.1", 443, ipvs::Protocol::kUdp)},
        {Verb::kAdd, Mark(1, "2001:db8::1")}},
       kOk,
       {Mark(1, "203.0.113.1", 80), Mark(1), Mark(1, "203.0.113.1", 443, ipvs::Protocol::kUdp),
        Mark(1, "203.0.113.2"), Mark(1, "2001:db8::1")}},
      {"the largest value", {}, {{Verb::kAdd, Mark(0xffffffff)}}, kOk, {Mark(0xffffffff)}},
      {"marks are records of their own",
       {OwnedMark(1)},
       {{Verb::kAdd, OwnedMark(2)}, {Verb::kAdd, OwnedMark(1, "::")}},
       kOk,
       {OwnedMark(1), OwnedMark(2), OwnedMark(1, "::")}},
      // Intervals of one port do not overlap.
      {"a prefix again",
       {Allowed("10.1.0.0/16")},
       {{Verb::kAdd, Allowed("10.1.0.0/16")}},
       kOk,
       {Allowed("10.1.0.0/16")}},
      {"prefixes beside each other",
       {Allowed("10.0.0.0/9")},
       {{Verb::kAdd, Allowed("10.128.0.0/9")}, {Verb::kAdd, Allowed("9.255.255.255/32")}},
       kOk,
       {Allowed("9.255.255.255/32"), Allowed("10.0.0.0/9"), Allowed("10.128.0.0/9")}},
      {"a prefix in another one",
       {Allowed("10.0.0.0/8")},
       {{Verb::kAdd, Allowed("10.1.0.0/16")}},
       kExists,
       {Allowed("10.0.0.0/8")}},
      {"a prefix around another one with the same start",
       {Allowed("10.0.0.0/16")},
       {{Verb::kAdd, Allowed("10.0.0.0/8")}},
       kExists,
       {Allowed("10.0.0.0/16")}},
      {"a prefix around another one with the same end",
       {Allowed("10.255.0.0/16")},
       {{Verb::kAdd, Allowed("10.0.0.0/8")}},
       kExists,
       {Allowed("10.255.0.0/16")}},
      {"a prefix around another one with neither goes in",
       {Allowed("10.1.0.0/16")},
       {{Verb::kAdd, Allowed("10.0.0.0/8")}},
       kOk,
       {Allowed("10.0.0.0/8"), Allowed("10.1.0.0/16")}},
      {"everything around a prefix goes in",
       {Allowed("10.0.0.0/8")},
       {{Verb::kAdd, Allowed("0.0.0.0/0")}},
       kOk,
       {Allowed("0.0.0.0/0"), Allowed("10.0.0.0/8")}},
      {"a prefix in everything",
       {Allowed("0.0.0.0/0")},
       {{Verb::kAdd, Allowed("10.0.0.0/8")}},
       kExists,
       {Allowed("0.0.0.0/0")}},
      {"of prefixes in one another each is deleted",
       {Allowed("10.1.0.0/16"), Allowed("10.0.0.0/8")},
       {{Verb::kDelete, Allowed("10.1.0.0/16")}},
       kOk,
       {Allowed("10.0.0.0/8")}},
      {"of prefixes in one another the outer one is deleted",
       {Allowed("10.1.0.0/16"), Allowed("10.0.0.0/8")},
       {{Verb::kDelete, Allowed("10.0.0.0/8")}},
       kOk,
       {Allowed("10.1.0.0/16")}},
      {"a prefix takes the place of those in it",
       {Allowed("10.1.0.0/16"), Allowed("10.255.0.0/16")},
       {{Verb::kDelete, Allowed("10.1.0.0/16")},
        {Verb::kDelete, Allowed("10.255.0.0/16")},
        {Verb::kAdd, Allowed("10.0.0.0/8")}},
       kOk,
       {Allowed("10.0.0.0/8")}},
      {"prefixes take the place of the one around them",
       {Allowed("10.0.0.0/8")},
       {{Verb::kDelete, Allowed("10.0.0.0/8")},
        {Verb::kAdd, Allowed("10.0.0.0/16")},
        {Verb::kAdd, Allowed("10.255.255.255/32")}},
       kOk,
       {Allowed("10.0.0.0/16"), Allowed("10.255.255.255/32")}},
      {"they cannot come before it goes",
       {Allowed("10.0.0.0/8")},
       {{Verb::kAdd, Allowed("10.0.0.0/16")}, {Verb::kDelete, Allowed("10.0.0.0/8")}},
       kExists,
       {Allowed("10.0.0.0/8")}},
      {"a prefix deleted and added",
       {Allowed("10.0.0.0/8")},
       {{Verb::kDelete, Allowed("10.0.0.0/8")}, {Verb::kAdd, Allowed("10.0.0.0/8")}},
       kOk,
       {Allowed("10.0.0.0/8")}},
      {"one that fails undoes a change of prefixes",
       {Allowed("10.0.0.0/8")},
       {{Verb::kDelete, Allowed("10.0.0.0/8")},
        {Verb::kAdd, Allowed("10.0.0.0/16")},
        {Verb::kDelete, a}},
       absl::StatusCode::kNotFound,
       {Allowed("10.0.0.0/8")}},
      {"deleting a prefix that starts in another one deletes that",
       {Allowed("10.0.0.0/8")},
       {{Verb::kDelete, Allowed("10.1.0.0/16")}},
       kOk,
       {}},
      {"deleting a prefix that starts in none",
       {Allowed("10.1.0.0/16")},
       {{Verb::kDelete, Allowed("10.0.0.0/8")}},
       absl::StatusCode::kNotFound,
       {Allowed("10.1.0.0/16")}},
      {"one prefix for several ports",
       {Allowed("10.0.0.0/8")},
       {{Verb::kAdd, Allowed("10.1.0.0/16", "203.0.113.2")},
        {Verb::kAdd, Allowed("10.1.0.0/16", "203.0.113.1", 80)},
        {Verb::kAdd, Allowed("10.1.0.0/16", "203.0.113.1", 443, ipvs::Protocol::kUdp)}},
       kOk,
       {Allowed("10.1.0.0/16", "203.0.113.1", 80), Allowed("10.0.0.0/8"),
        Allowed("10.1.0.0/16", "203.0.113.1", 443, ipvs::Protocol::kUdp),
        Allowed("10.1.0.0/16", "203.0.113.2")}},
      {"IPv6: a prefix in another one",
       {Allowed("fd00::/9", "2001:db8::1")},
       {{Verb::kAdd, Allowed("fd00:1::/65", "2001:db8::1")}},
       kExists,
       {Allowed("fd00::/9", "2001:db8::1")}},
      {"IPv6: it takes the place",
       {Allowed("fd00::/9", "2001:db8::1")},
       {{Verb::kDelete, Allowed("fd00::/9", "2001:db8::1")},
        {Verb::kAdd, Allowed("fd00:1::/65", "2001:db8::1")}},
       kOk,
       {Allowed("fd00:1::/65", "2001:db8::1")}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    NetworkNamespace network;
    const std::unique_ptr<NftFirewall> kernel = OpenFirewall();
    MemoryFirewall memory;
    for (Firewall* firewall :
         {static_cast<Firewall*>(kernel.get()), static_cast<Firewall*>(&memory)}) {
      INFO((firewall == &memory ? "in memory" : "kernel"));
      CHECK(absl::IsNotFound(firewall->Dump().status()));
      CHECK(absl::IsNotFound(firewall->Apply(Changes(Verb::kAdd, {a}))));
      auto loaded = firewall->EnsureRuleset(RulesetText({}));
      INFO(loaded.status().ToString());
      REQUIRE(loaded.ok());
      CHECK(*loaded);
      REQUIRE(firewall->Apply(Changes(Verb::kAdd, row.before)).ok());
      const absl::Status status = firewall->Apply(row.changes);
      INFO(status.ToString());
      CHECK(status.code() == row.code);
      const auto after = firewall->Dump();
      REQUIRE(after.ok());
      CHECK(*after == row.after);
    }
  }
}

TEST_CASE("in any sequence of changes the kernel's firewall and the one in memory agree") {
  const auto seed = GENERATE(range(1u, 7u));
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&random](int limit) { return static_cast<int>(random() % limit); };
  const auto element = [&] {
    const bool v4 = below(3) > 0;
    if (below(3) == 0) return Mark(1 + below(3), v4 ? "203.0.113.1" : "2001:db8::1", 80 + below(3));
    Element allowed = Allowed(v4 ? "0.0.0.0/0" : "::/0", v4 ? "203.0.113.1" : "2001:db8::1",
                              static_cast<uint16_t>(80 + below(2)));
    // Prefixes of four bits that are in one another, begin and end together, or are apart.
    const IpAddress source = v4 ? Ip("0.0.0.0").Plus(uint64_t(below(16)) << 28)
                                : Ip(absl::StrCat(absl::Hex(below(16) << 12), "::"));
    allowed.sources = *IpPrefix::Make(source, below(5));
    return allowed;
  };
  NetworkNamespace network;
  const auto kernel = OpenFirewall();
  MemoryFirewall memory;
  REQUIRE(kernel->EnsureRuleset(RulesetText({})).ok());
  REQUIRE(memory.EnsureRuleset(RulesetText({})).ok());
  int refused = 0;
  for (int step = 0; step < 400; ++step) {
    std::vector<ElementChange> changes;
    for (int i = 1 + below(3); i > 0; --i) {
      changes.push_back({below(2) == 0 ? Verb::kAdd : Verb::kDelete, element()});
    }
    std::string text;
    for (const ElementChange& change : changes) {
      absl::StrAppend(&text, change.verb == Verb::kAdd ? "add " : "delete ",
                      change.element.Format(), "\n");
    }
    for (const Element& before : memory.elements()) {
      absl::StrAppend(&text, "where there is ", before.Format(), "\n");
    }
    INFO("step " << step << "\n" << text);
    const absl::Status by_kernel = kernel->Apply(changes);
    const absl::Status in_memory = memory.Apply(changes);
    INFO(by_kernel.ToString() << "\n" << in_memory.ToString());
    REQUIRE(by_kernel.code() == in_memory.code());
    refused += !by_kernel.ok();
    REQUIRE(kernel->Dump().value() == memory.Dump().value());
  }
  CHECK(refused > 50);
  CHECK(refused < 350);
}

}  // namespace
}  // namespace fairlead
