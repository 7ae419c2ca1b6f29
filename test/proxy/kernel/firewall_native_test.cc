#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "firewall_testing.h"
#include "network_namespace.h"
#include "proxy/kernel/nft_firewall.h"
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

// `count` addresses from `first` on.
std::vector<Element> Many(SetName set, const std::string& first, size_t count) {
  std::vector<Element> elements;
  for (size_t i = 0; i < count; ++i) {
    Element element = {set, Ip(first).Plus(i), ipvs::Protocol::kTcp, 80};
    if (set == SetName::kAllowed) element.sources = *IpPrefix::Make(element.address, 9);
    if (set == SetName::kMark) element.mark = static_cast<uint32_t>(i + 1);
    elements.push_back(element);
  }
  return elements;
}

RulesetConfig Pods() {
  return {.pods = {.prefixes = {*IpPrefix::Parse("10.244.0.0/16"), *IpPrefix::Parse("10.0.0.0/8"),
                                *IpPrefix::Parse("fd00:244::/48")}}};
}

// One of every kind of detector.
std::vector<RulesetConfig> Configs() {
  return {{},
          Pods(),
          {.pods = {.prefixes = {*IpPrefix::Parse("0.0.0.0/0")}}},
          {.pods = {.prefixes = {*IpPrefix::Parse("fd00:244::/48")}}},
          {.pods = {.device = "cni0"}},
          {.pods = {.device = "veth", .device_is_prefix = true}, .marks = {1, 0xffffffff}}};
}

TEST_CASE("intervals and marks come back from the kernel as they went in") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
  std::vector<Element> elements;
  // Every length, each at a port of its own.
  for (int length = 0; length <= 32; ++length) {
    const auto port = static_cast<uint16_t>(1000 + length);
    elements.push_back(Allowed("0.0.0.0/0", "203.0.113.1", port));
    elements.back().sources = *IpPrefix::Make(Ip("170.171.85.205"), length);
  }
  for (int length = 0; length <= 128; ++length) {
    const auto port = static_cast<uint16_t>(1000 + length);
    elements.push_back(Allowed("::/0", "2001:db8::1", port));
    elements.back().sources =
        *IpPrefix::Make(Ip("aaab:55cd:1234:5678:9abc:def1:2345:6789"), length);
  }
  for (uint32_t bit = 0; bit < 32; ++bit) {
    elements.push_back(Mark(1U << bit, "203.0.113.1", static_cast<uint16_t>(bit)));
    elements.push_back(OwnedMark(1U << bit));
  }
  std::sort(elements.begin(), elements.end());
  const absl::Status status = firewall->Apply(Changes(Verb::kAdd, elements));
  INFO(status.ToString());
  REQUIRE(status.ok());
  const auto dumped = firewall->Dump();
  INFO(dumped.status().ToString());
  REQUIRE(dumped.ok());
  CHECK(*dumped == elements);
  CHECK(firewall->Apply(Changes(Verb::kDelete, elements)).ok());
  CHECK(firewall->Dump()->empty());
}

TEST_CASE("nft lists elements as they are formatted") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
  const std::vector<Element> elements = {
      Port(SetName::kOwned, "10.96.0.1", 443),
      OwnedMark(0x46000001),
      OwnedMark(0x46000002, "::"),
      {SetName::kHairpin, Ip("10.244.1.2")},
      Port(SetName::kLimited, "203.0.113.1", 443),
      Allowed("198.51.100.0/24"),
      Allowed("fd00::/9", "2001:db8::1", 53, ipvs::Protocol::kUdp),
      Mark(0x46000001),
      Mark(0x46000001, "2001:db8::1", 53, ipvs::Protocol::kUdp),
      Port(SetName::kReject, "203.0.113.1", 443),
  };
  REQUIRE(firewall->Apply(Changes(Verb::kAdd, elements)).ok());
  // Numbers of ports and protocols are given as names unless -n, and then protocols as numbers too.
  const std::string list = absl::StrReplaceAll(Run("nft list table inet fairlead"),
                                               {{". https", ". 443"}, {". domain", ". 53"}});
  for (const Element& element : elements) {
    INFO(element.Format() << "\n" << list);
    const bool map = element.set == SetName::kMark;
    const std::vector<std::string> from = absl::StrSplit(
        list, absl::MaxSplits((map ? "\tmap " : "\tset ") + element.FormatKernelSet() + " {\n", 1));
    REQUIRE(from.size() == 2);
    const std::vector<std::string> until = absl::StrSplit(from[1], absl::MaxSplits("\n\t}\n", 1));
    CHECK(absl::EndsWith(until[0], "\n\t\telements = { " + element.FormatValue() + " }"));
  }
  // An element of one address is written without a length.
  REQUIRE(firewall->Apply(Changes(Verb::kAdd, {Allowed("192.0.2.7/32")})).ok());
  const std::string sources = Run("nft list set inet fairlead allowed4");
  INFO(sources);
  CHECK(absl::StrContains(sources, "203.0.113.1 . tcp . 443 . 192.0.2.7"));
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

  // Of an element with two keys or a value too.
  for (const SetName set : {SetName::kAllowed, SetName::kMark}) {
    std::vector<Element> others = Many(set, "fd00:96::", 2000);
    REQUIRE(firewall->Apply(Changes(Verb::kAdd, {others[1234]})).ok());
    Element& clash = others[1234];
    if (set == SetName::kMark) clash.mark = 7;
    if (set == SetName::kAllowed) clash.sources = *IpPrefix::Parse("fd00::/16");
    const absl::Status refused = firewall->Apply(Changes(Verb::kAdd, others));
    CHECK(refused.message() == "nftables: add " + clash.Format() + ": File exists");
  }
}

TEST_CASE("the ruleset is loaded once, whatever tells pods from others") {
  for (const RulesetConfig& config : Configs()) {
    NetworkNamespace network;
    const auto firewall = OpenFirewall();
    const std::string text = RulesetText(config);
    auto loaded = firewall->EnsureRuleset(text);
    INFO(loaded.status().ToString());
    REQUIRE(loaded.ok());
    CHECK(*loaded);
    const std::string before = Run("nft -a list ruleset");
    INFO(text);
    CHECK(absl::StrContains(before, "@masquerade_outsiders4") ==
          config.pods.Detects(IpFamily::kIpv4));
    CHECK(absl::StrContains(before, "@masquerade_outsiders6") ==
          config.pods.Detects(IpFamily::kIpv6));
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
      // As many rules as before.
      "nft replace rule inet fairlead looped handle "
      "$(nft -a list chain inet fairlead looped | sed -n 's/.*has served.*handle //p') accept",
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

TEST_CASE("a set that somebody has deleted is made again") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  const std::string text = RulesetText(Pods());
  REQUIRE(firewall->EnsureRuleset(text).ok());
  REQUIRE(firewall->Apply(Changes(Verb::kAdd, OneOfEach())).ok());
  Run("nft delete set inet fairlead owned4");
  CHECK(absl::IsNotFound(firewall->Dump().status()));
  CHECK(firewall->EnsureRuleset(text).value());
  const auto dump = firewall->Dump();
  REQUIRE(dump.ok());
  CHECK(dump->size() < OneOfEach().size());
  CHECK_FALSE(firewall->EnsureRuleset(text).value());
}

TEST_CASE("another ruleset takes the place of the one before, and elements stay") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  // As of another version: other chains, and a set that is no more.
  const std::string old = absl::StrReplaceAll(
      RulesetText({}), {{"chain unserved", "chain hush"},
                        {"jump unserved", "jump hush"},
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

TEST_CASE("the generation counts everyone's transactions, and no other") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
  const uint32_t first = firewall->Generation().value();
  CHECK(firewall->Generation().value() == first);
  CHECK(firewall->committed() == 0);
  REQUIRE(firewall->Apply(Changes(Verb::kAdd, OneOfEach())).ok());
  CHECK(firewall->Generation().value() == first + 1);
  Run("nft add table ip other");
  CHECK(firewall->Generation().value() == first + 2);
  const Element absent = Port(SetName::kReject, "192.0.2.1", 9);
  REQUIRE_FALSE(firewall->Apply(Changes(Verb::kDelete, {absent})).ok());
  REQUIRE(firewall->Dump().ok());
  CHECK(firewall->Generation().value() == first + 2);
  CHECK(firewall->committed() == 1);
}

TEST_CASE("elements that others put in come back in a dump or are left alone") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
  Run("nft add element inet fairlead owned4 '{ 10.96.0.1 . icmp . 0, 10.96.0.1 . tcp . 80 }'");
  Run("nft add element inet fairlead hairpin4 '{ 10.0.0.1 . 10.0.0.2 }'");
  Run("nft add element inet fairlead allowed4 '{ 203.0.113.1 . tcp . 443 . 10.0.0.1-10.0.0.2, "
      "203.0.113.1 . tcp . 443 . 10.1.0.0/16, 203.0.113.1 . tcp . 80-443 . 10.2.0.0/16, "
      "203.0.113.0/24 . tcp . 443 . 10.3.0.0/16, 203.0.113.1 . icmp . 0 . 10.4.0.0/16 }'");
  Run("nft add element inet fairlead mark6 '{ 2001:db8::1 . tcp . 443 : 0x46000007 }'");
  CHECK(*firewall->Dump() == std::vector<Element>{Port(SetName::kOwned, "10.96.0.1", 80),
                                                  Allowed("10.1.0.0/16"),
                                                  Mark(0x46000007, "2001:db8::1")});
}

// Says how long it takes.
template <typename Work>
void Time(const char* what, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  const auto end = std::chrono::steady_clock::now();
  WARN(what << ": " << std::chrono::duration_cast<std::chrono::milliseconds>(end - start).count()
            << " ms");
}

TEST_CASE("a hundred thousand elements are one transaction, and all come back") {
  struct Row {
    std::string first;
    SetName set;
  };
  constexpr size_t kCount = 100'000;
  for (const Row& row : {Row{"10.96.0.0", SetName::kOwned}, Row{"fd00:96::", SetName::kOpen},
                         Row{"203.0.0.0", SetName::kMark}}) {
    NetworkNamespace network;
    const auto firewall = OpenFirewall();
    REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
    std::vector<Element> elements = Many(row.set, row.first, kCount);
    Time("add 100,000", [&] { CHECK(firewall->Apply(Changes(Verb::kAdd, elements)).ok()); });
    // At once, while the kernel's hash table still grows.
    Time("dump 100,000", [&] {
      const auto dumped = firewall->Dump();
      INFO(dumped.status().ToString());
      REQUIRE(dumped.ok());
      CHECK((*dumped == elements));
    });
    Time("load a ruleset beside them",
         [&] { CHECK(firewall->EnsureRuleset(RulesetText(Pods())).value()); });
    // One that does not exist at the far end undoes all of it.
    std::vector<ElementChange> deletions = Changes(Verb::kDelete, elements);
    deletions.push_back({Verb::kDelete, Port(row.set, "192.0.2.1", 1)});
    CHECK(absl::IsNotFound(firewall->Apply(deletions)));
    CHECK(firewall->Dump()->size() == kCount);
    deletions.pop_back();
    Time("delete 100,000", [&] { CHECK(firewall->Apply(deletions).ok()); });
    CHECK(firewall->Dump()->empty());
  }
}

TEST_CASE("thousands of intervals are one transaction, and all come back") {
  NetworkNamespace network;
  const auto firewall = OpenFirewall();
  REQUIRE(firewall->EnsureRuleset(RulesetText({})).ok());
  const std::vector<Element> elements = Many(SetName::kAllowed, "203.0.0.0", 2000);
  Time("add 2,000", [&] { REQUIRE(firewall->Apply(Changes(Verb::kAdd, elements)).ok()); });
  Time("dump 2,000", [&] { CHECK((firewall->Dump().value() == elements)); });
  // The kernel copies the set for each transaction, and moves all that follow for each deletion.
  Time("add one more",
       [&] { REQUIRE(firewall->Apply(Changes(Verb::kAdd, {Allowed("10.0.0.0/8")})).ok()); });
  Time("delete 2,000", [&] { REQUIRE(firewall->Apply(Changes(Verb::kDelete, elements)).ok()); });
  CHECK(*firewall->Dump() == std::vector<Element>{Allowed("10.0.0.0/8")});
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
