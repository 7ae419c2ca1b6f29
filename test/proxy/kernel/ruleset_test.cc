#include "proxy/kernel/ruleset.h"

#include <catch2/catch.hpp>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "proxy/plan/element.h"

namespace fairlead {
namespace {

RulesetConfig WithPods(const std::vector<std::string>& cidrs) {
  RulesetConfig config;
  for (const std::string& cidr : cidrs) config.cluster_cidrs.push_back(*IpPrefix::Parse(cidr));
  return config;
}

TEST_CASE("the ruleset tells pods from others only in families whose pods are known") {
  struct Row {
    std::string name;
    std::vector<std::string> cidrs;
    std::string v4;  // What the rules of masquerade_outsiders4 start with; empty: no rules.
    std::string v6;
  };
  const std::vector<Row> rows = {
      {"none known", {}, "", ""},
      {"IPv4", {"10.244.0.0/16"}, "ct original ip saddr != { 10.244.0.0/16 }", ""},
      {"IPv6", {"fd00:1::/48"}, "", "ct original ip6 saddr != { fd00:1::/48 }"},
      {"both, several, in any order",
       {"fd00:1::/48", "10.245.0.0/16", "10.244.0.0/16"},
       "ct original ip saddr != { 10.244.0.0/16, 10.245.0.0/16 }",
       "ct original ip6 saddr != { fd00:1::/48 }"},
      {"contained ones are left out",
       {"10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "11.0.0.0/8"},
       "ct original ip saddr != { 10.0.0.0/8, 11.0.0.0/8 }",
       ""},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const std::string text = RulesetText(WithPods(row.cidrs));
    CHECK(absl::StrContains(text, "@masquerade_outsiders4") == !row.v4.empty());
    CHECK(absl::StrContains(text, "@masquerade_outsiders6") == !row.v6.empty());
    CHECK(absl::StrContains(text, row.v4));
    CHECK(absl::StrContains(text, row.v6));
  }
}

TEST_CASE("the ruleset declares every set for both families") {
  const std::string text = RulesetText({});
  for (int set = 0; set < kSetNames; ++set) {
    for (const char* family : {"4", "6"}) {
      const std::string name = std::string(FormatSetName(static_cast<SetName>(set))) + family;
      INFO(name);
      CHECK(absl::StrContains(text, "\tset " + name + " {"));
    }
  }
}

TEST_CASE("a ruleset's shape has its chains, their rules, and a name that is of the text") {
  const absl::StatusOr<RulesetShape> shape = ShapeOf(RulesetText({}));
  REQUIRE(shape.ok());
  std::set<std::string> identities;
  RulesetShape chains;
  for (const auto& [chain, rules] : *shape) {
    if (absl::StartsWith(chain, "ruleset_")) {
      CHECK(rules == 0);
      identities.insert(chain);
    } else {
      chains[chain] = rules;
    }
  }
  CHECK(identities.size() == 1);
  CHECK(
      chains ==
      RulesetShape{{"input", 3}, {"output", 1}, {"silence", 2}, {"guard", 7}, {"postrouting", 10}});

  CHECK(ShapeOf(RulesetText({})) == shape);
  CHECK(ShapeOf(RulesetText(WithPods({"10.0.0.0/8"}))) != shape);
  // Same rules, other addresses: only the name differs.
  CHECK(ShapeOf(RulesetText(WithPods({"10.0.0.0/8"}))) !=
        ShapeOf(RulesetText(WithPods({"11.0.0.0/8"}))));
}

TEST_CASE("a text that is no ruleset of Fairlead has no shape") {
  for (const std::string text : {"", "table inet other {\n\tchain a {\n\t}\n}\n"}) {
    CHECK(ShapeOf(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("the ruleset's lines fit an editor") {
  // A line of pods' addresses may be longer, as long as there are many.
  for (const absl::string_view line : absl::StrSplit(RulesetText({}), '\n')) {
    INFO(std::string(line));
    CHECK(line.size() <= 100);
  }
}

}  // namespace
}  // namespace fairlead
