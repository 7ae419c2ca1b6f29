#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "network_namespace.h"
#include "proxy/kernel/memory_firewall.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {
namespace {

using Verb = ElementChange::Verb;

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

Element Port(SetName set, const std::string& address, uint16_t port,
             ipvs::Protocol protocol = ipvs::Protocol::kTcp) {
  return {set, Ip(address), protocol, port};
}

std::vector<ElementChange> Changes(Verb verb, const std::vector<Element>& elements) {
  std::vector<ElementChange> changes;
  for (const Element& element : elements) changes.push_back({verb, element});
  return changes;
}

// One of every set and family.
std::vector<Element> OneOfEach() {
  std::vector<Element> elements;
  for (int set = 0; set < kSetNames; ++set) {
    for (const char* address : {"10.96.0.1", "fd00:96::1"}) {
      Element element = Port(static_cast<SetName>(set), address, 443, ipvs::Protocol::kSctp);
      if (element.set == SetName::kGuarded || element.set == SetName::kHairpin) {
        element = {element.set, element.address};
      }
      elements.push_back(element);
    }
  }
  return elements;
}

// `count` addresses from `first` on.
std::vector<Element> Many(SetName set, const std::string& first, size_t count) {
  std::vector<Element> elements;
  for (size_t i = 0; i < count; ++i) {
    elements.push_back({set, Ip(first).Plus(i), ipvs::Protocol::kTcp, 80});
  }
  return elements;
}

RulesetConfig Pods() {
  return {{*IpPrefix::Parse("10.244.0.0/16"), *IpPrefix::Parse("10.0.0.0/8"),
           *IpPrefix::Parse("fd00:244::/48")}};
}

std::unique_ptr<NftFirewall> OpenFirewall() {
  auto firewall = NftFirewall::Open();
  REQUIRE(firewall.ok());
  return *std::move(firewall);
}

TEST_CASE("the firewall of the kernel and the one in memory do the same") {
  const Element a = Port(SetName::kOwned, "10.96.0.1", 80);
  const Element b = Port(SetName::kOwned, "10.96.0.1", 80, ipvs::Protocol::kUdp);
  const Element guarded = {SetName::kGuarded, Ip("fd00:96::1")};
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
      auto loaded = firewall->EnsureRuleset(RulesetText(Pods()));
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

TEST_CASE("a change that the kernel refuses is named") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
  std::vector<Element> elements = Many(SetName::kOpen, "10.96.0.0", 2000);
  REQUIRE(firewall->Apply(Changes(Verb::kAdd, elements)).ok());
  elements[1234].port = 81;
  const absl::Status status = firewall->Apply(Changes(Verb::kDelete, elements));
  CHECK(status.message() ==
        "nftables: delete " + elements[1234].Format() + ": No such file or directory");
}

TEST_CASE("the ruleset is loaded once, with and without pods' addresses") {
  for (const RulesetConfig& config : {RulesetConfig{}, Pods()}) {
    NetworkNamespace network;
    const auto firewall = OpenFirewall();
    const std::string text = RulesetText(config);
    auto loaded = firewall->EnsureRuleset(text);
    INFO(loaded.status().ToString());
    REQUIRE(loaded.ok());
    CHECK(*loaded);
    const std::string before = Run("nft -a list ruleset");
    CHECK(absl::StrContains(before, "@masquerade_outsiders4") == !config.cluster_cidrs.empty());
    // Handles are given anew to whatever is written.
    CHECK(firewall->EnsureRuleset(text).value() == false);
    CHECK(Run("nft -a list ruleset") == before);
  }
}

TEST_CASE("whatever became of the chains, the ruleset comes back and elements stay") {
  const std::vector<std::string> damages = {
      "nft flush chain inet fairlead guard",
      "nft flush table inet fairlead",
      "nft insert rule inet fairlead input accept",
      "nft add chain inet fairlead old '{ type filter hook input priority 7; }'",
      "nft 'add chain inet fairlead a; add chain inet fairlead b; "
      "add rule inet fairlead a jump b; add rule inet fairlead input jump a'",
      "nft 'flush table inet fairlead; delete chain inet fairlead output'",
  };
  for (const std::string& damage : damages) {
    INFO(damage);
    NetworkNamespace network;
    const auto firewall = OpenFirewall();
    const std::string text = RulesetText(Pods());
    REQUIRE(firewall->EnsureRuleset(text).ok());
    const std::string before = Run("nft list ruleset");
    REQUIRE(firewall->Apply(Changes(Verb::kAdd, OneOfEach())).ok());
    Run(damage);
    const auto loaded = firewall->EnsureRuleset(text);
    INFO(loaded.status().ToString());
    REQUIRE(loaded.ok());
    CHECK(*loaded);
    CHECK(*firewall->Dump() == OneOfEach());
    REQUIRE(firewall->Apply(Changes(Verb::kDelete, OneOfEach())).ok());
    CHECK(Run("nft list ruleset") == before);
  }
}

TEST_CASE("another ruleset takes the place of the one before, and elements stay") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  // As of another version: other chains, and a set that is no more.
  const std::string old = absl::StrReplaceAll(
      RulesetText({}), {{"chain silence", "chain hush"},
                        {"jump silence", "jump hush"},
                        {"\tset owned4", "\tset past { type mark; }\n\tset owned4"},
                        {"chain ruleset_", "chain ruleset_0"}});
  REQUIRE(firewall->EnsureRuleset(old).value());
  REQUIRE(firewall->Apply(Changes(Verb::kAdd, OneOfEach())).ok());
  REQUIRE(firewall->EnsureRuleset(RulesetText(Pods())).value());
  CHECK(*firewall->Dump() == OneOfEach());
  const std::string now = Run("nft list ruleset");
  CHECK_FALSE(absl::StrContains(now, "hush"));
  CHECK_FALSE(absl::StrContains(now, "ruleset_0"));
  CHECK(firewall->EnsureRuleset(RulesetText(Pods())).value() == false);
  CHECK(firewall->EnsureRuleset(old).value());
}

TEST_CASE("tables of others are not touched") {
  NetworkNamespace network;
  Run("nft 'table inet other { set owned4 { type ipv4_addr; elements = { 1.2.3.4 }; }; "
      "chain input { type filter hook input priority 0; ip saddr @owned4 drop; }; }; "
      "table ip fairlead { chain guard { accept; }; }'");
  const std::string others = Run("nft -a list table inet other; nft -a list table ip fairlead");
  const auto firewall = OpenFirewall();
  REQUIRE(firewall->EnsureRuleset(RulesetText(Pods())).value());
  REQUIRE(firewall->Apply(Changes(Verb::kAdd, OneOfEach())).ok());
  CHECK(*firewall->Dump() == OneOfEach());
  REQUIRE(firewall->EnsureRuleset(RulesetText({})).value());
  REQUIRE(firewall->Apply(Changes(Verb::kDelete, OneOfEach())).ok());
  CHECK(Run("nft -a list table inet other; nft -a list table ip fairlead") == others);
}

TEST_CASE("a ruleset that nft refuses changes nothing and says why") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
  REQUIRE(firewall->Apply(Changes(Verb::kAdd, OneOfEach())).ok());
  const std::string before = Run("nft -a list ruleset");
  const std::string wrong = absl::StrReplaceAll(RulesetText(Pods()), {{"goto guard", "goto gard"}});
  const absl::Status status = firewall->EnsureRuleset(wrong).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  INFO(status.ToString());
  CHECK(absl::StrContains(status.message(), "No such file or directory"));
  CHECK(Run("nft -a list ruleset") == before);
}

TEST_CASE("elements that others put in come back in a dump or are left alone") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
  Run("nft add element inet fairlead owned4 '{ 10.96.0.1 . icmp . 0, 10.96.0.1 . tcp . 80 }'");
  Run("nft add element inet fairlead hairpin4 '{ 10.0.0.1 . 10.0.0.2 }'");
  CHECK(*firewall->Dump() == std::vector<Element>{Port(SetName::kOwned, "10.96.0.1", 80)});
}

TEST_CASE("a hundred thousand elements are one transaction, and all come back") {
  struct Row {
    std::string first;
    SetName set;
  };
  constexpr size_t kCount = 100'000;
  for (const Row& row : {Row{"10.96.0.0", SetName::kOwned}, Row{"fd00:96::", SetName::kOpen}}) {
    NetworkNamespace network;
    const auto firewall = OpenFirewall();
    REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
    std::vector<Element> elements = Many(row.set, row.first, kCount);
    const auto time = [](const char* what, auto work) {
      const auto start = std::chrono::steady_clock::now();
      work();
      WARN(what << ": "
                << std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::steady_clock::now() - start)
                       .count()
                << " ms");
    };
    time("add 100,000", [&] { CHECK(firewall->Apply(Changes(Verb::kAdd, elements)).ok()); });
    // At once, while the kernel's hash table still grows.
    time("dump 100,000", [&] {
      const auto dumped = firewall->Dump();
      INFO(dumped.status().ToString());
      REQUIRE(dumped.ok());
      CHECK((*dumped == elements));
    });
    time("load a ruleset beside them",
         [&] { CHECK(firewall->EnsureRuleset(RulesetText(Pods())).value()); });
    // One that does not exist at the far end undoes all of it.
    std::vector<ElementChange> deletions = Changes(Verb::kDelete, elements);
    deletions.push_back({Verb::kDelete, Port(row.set, "192.0.2.1", 1)});
    CHECK(absl::IsNotFound(firewall->Apply(deletions)));
    CHECK(firewall->Dump()->size() == kCount);
    deletions.pop_back();
    time("delete 100,000", [&] { CHECK(firewall->Apply(deletions).ok()); });
    CHECK(firewall->Dump()->empty());
  }
}

TEST_CASE("what does not fit one request is carried out in several") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
  constexpr size_t kCount = 250'000;
  REQUIRE(kCount * 36 > NetlinkSocket::kMaxRequestBytes);
  std::vector<Element> elements = Many(SetName::kOpen, "fd00:96::", kCount);
  CHECK(firewall->Apply(Changes(Verb::kAdd, elements)).ok());
  std::vector<ElementChange> deletions = Changes(Verb::kDelete, elements);
  deletions.push_back({Verb::kDelete, Port(SetName::kOpen, "192.0.2.1", 1)});
  const absl::Status status = firewall->Apply(deletions);
  CHECK(absl::IsNotFound(status));
  CHECK(absl::StrContains(status.message(), "changes were made before"));
}

TEST_CASE("without the right to change the network the status says so") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  const std::string text = RulesetText({});
  REQUIRE(firewall->EnsureRuleset(text).ok());
  // The effective capabilities of a user other than root are none, those of root come back.
  REQUIRE(seteuid(65534) == 0);
  auto powerless = NftFirewall::Open();
  absl::Status apply, dump, ensure;
  if (powerless.ok()) {
    apply = (*powerless)->Apply(Changes(Verb::kAdd, OneOfEach()));
    dump = (*powerless)->Dump().status();
    ensure = (*powerless)->EnsureRuleset(text).status();
  }
  REQUIRE(seteuid(0) == 0);
  REQUIRE(powerless.ok());
  for (const absl::Status& status : {apply, dump, ensure}) {
    INFO(status.ToString());
    CHECK(absl::IsPermissionDenied(status));
  }
}

}  // namespace
}  // namespace fairlead
