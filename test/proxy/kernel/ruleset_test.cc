#include "proxy/kernel/ruleset.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "proxy/plan/element.h"

namespace fairlead {
namespace {

RulesetConfig WithPods(const std::vector<std::string>& cidrs) {
  RulesetConfig config;
  for (const std::string& cidr : cidrs) config.pods.prefixes.push_back(*IpPrefix::Parse(cidr));
  return config;
}

RulesetConfig WithDevice(const std::string& device, bool is_prefix) {
  RulesetConfig config;
  config.pods.device = device;
  config.pods.device_is_prefix = is_prefix;
  return config;
}

// The chain's lines without what is around them and their indentation; a rule that goes on is one
// line.
std::vector<std::string> LinesOf(const std::string& ruleset, const std::string& chain) {
  const std::string text = absl::StrReplaceAll(ruleset, {{"\\\n\t\t\t", ""}});
  const std::vector<std::string> from =
      absl::StrSplit(text, absl::MaxSplits("\tchain " + chain + " {\n", 1));
  REQUIRE(from.size() == 2);
  const std::vector<std::string> until = absl::StrSplit(from[1], absl::MaxSplits("\t}\n", 1));
  std::vector<std::string> lines = absl::StrSplit(until[0], '\n', absl::SkipEmpty());
  for (std::string& line : lines) line = std::string(absl::StripLeadingAsciiWhitespace(line));
  return lines;
}

// Those of the lines that have the word in them.
std::vector<std::string> With(const std::vector<std::string>& lines, const std::string& word) {
  std::vector<std::string> found;
  for (const std::string& line : lines) {
    if (absl::StrContains(line, word)) found.push_back(line);
  }
  return found;
}

// The place of the first of the lines that has the word in it; their number if there is none.
size_t PlaceOf(const std::vector<std::string>& lines, const std::string& word) {
  for (size_t i = 0; i < lines.size(); ++i) {
    if (absl::StrContains(lines[i], word)) return i;
  }
  return lines.size();
}

const char kPodsComment[] = " jump internal comment \"pods reach every endpoint\"";

struct DetectorCase {
  std::string name;
  RulesetConfig config;
  // What packets of pods have, on the way in.
  std::vector<std::string> from_pods;
  // What packets of others have, on the way out; empty: no rules.
  std::string not_from_pods4;
  std::string not_from_pods6;
};

const std::vector<DetectorCase>& Detectors() {
  static const auto* const cases = new std::vector<DetectorCase>{
      {"nothing", {}, {}, "", ""},
      {"an IPv4 prefix",
       WithPods({"10.244.0.0/16"}),
       {"ip saddr { 10.244.0.0/16 }"},
       "ct original ip saddr != { 10.244.0.0/16 }",
       ""},
      {"an IPv6 prefix",
       WithPods({"fd00:1::/48"}),
       {"ip6 saddr { fd00:1::/48 }"},
       "",
       "ct original ip6 saddr != { fd00:1::/48 }"},
      {"both, several, in any order",
       WithPods({"fd00:1::/48", "10.245.0.0/16", "10.244.0.0/16"}),
       {"ip saddr { 10.244.0.0/16, 10.245.0.0/16 }", "ip6 saddr { fd00:1::/48 }"},
       "ct original ip saddr != { 10.244.0.0/16, 10.245.0.0/16 }",
       "ct original ip6 saddr != { fd00:1::/48 }"},
      {"contained ones are left out",
       WithPods({"10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "11.0.0.0/8"}),
       {"ip saddr { 10.0.0.0/8, 11.0.0.0/8 }"},
       "ct original ip saddr != { 10.0.0.0/8, 11.0.0.0/8 }",
       ""},
      {"a bridge",
       WithDevice("cni0", false),
       {"iifname \"cni0\""},
       "iifname != \"cni0\"",
       "iifname != \"cni0\""},
      {"the start of devices' names",
       WithDevice("veth", true),
       {"iifname \"veth*\""},
       "iifname != \"veth*\"",
       "iifname != \"veth*\""},
  };
  return *cases;
}

TEST_CASE("the ruleset tells pods from others as the detector says, where it says anything") {
  for (const DetectorCase& row : Detectors()) {
    INFO(row.name);
    const std::string text = RulesetText(row.config);
    std::vector<std::string> from_pods;
    for (const std::string& match : row.from_pods) from_pods.push_back(match + kPodsComment);
    CHECK(With(LinesOf(text, "input"), "jump internal") == from_pods);

    for (const bool v4 : {true, false}) {
      const std::string& match = v4 ? row.not_from_pods4 : row.not_from_pods6;
      const std::string ip = v4 ? "ip" : "ip6";
      const std::string set = v4 ? "@masquerade_outsiders4" : "@masquerade_outsiders6";
      for (const std::string protocol : {"tcp", "udp", "sctp"}) {
        std::vector<std::string> rules;
        if (!match.empty()) {
          rules.push_back(match + " meta l4proto " + protocol + " ct original " + ip +
                          " daddr . meta l4proto . ct original proto-dst " + set +
                          " goto node_source comment \"not from pods\"");
        }
        CHECK(With(LinesOf(text, "masquerade_" + protocol), set) == rules);
      }
    }
  }
}

TEST_CASE("the ruleset declares every set for both families, the marks' as a map") {
  const std::string text = RulesetText({});
  const std::map<SetKey, std::string> types = {
      {SetKey::kAddress, "$A"},
      {SetKey::kAddressTwice, "$A . $A"},
      {SetKey::kPort, "$A . inet_proto . inet_service"},
      {SetKey::kPortAndSources, "$A . inet_proto . inet_service . $A\n\t\tflags interval"},
      {SetKey::kMark, "mark"},
  };
  for (int i = 0; i < kSetNames; ++i) {
    const SetName set = static_cast<SetName>(i);
    for (const char* family : {"4", "6"}) {
      const std::string name = std::string(FormatSetName(set)) + family;
      INFO(name);
      const bool map = set == SetName::kMark;
      const std::string type =
          absl::StrReplaceAll(types.at(KeyOf(set)) + (map ? " : mark" : ""),
                              {{"$A", *family == '4' ? "ipv4_addr" : "ipv6_addr"}});
      CHECK(absl::StrContains(text, std::string(map ? "\tmap " : "\tset ") + name +
                                        " {\n\t\ttype " + type + "\n\t\tcomment \""));
    }
  }
}

TEST_CASE("every set is used by the chains but those that are records") {
  // How many rules ask what is asked in more or fewer places than one.
  const std::map<SetName, int> rules = {
      {SetName::kOwned, 0},   {SetName::kOwnedMark, 0},        {SetName::kServed, 2},
      {SetName::kGuarded, 2}, {SetName::kMasqueradeAlways, 3}, {SetName::kMasqueradeOutsiders, 3},
  };
  const std::string text = RulesetText(WithDevice("cni0", false));
  const std::vector<std::string> words = absl::StrSplit(text, absl::ByAnyChar(" \n"));
  for (int i = 0; i < kSetNames; ++i) {
    const SetName set = static_cast<SetName>(i);
    const auto row = rules.find(set);
    for (const char* family : {"4", "6"}) {
      const std::string reference = "@" + std::string(FormatSetName(set)) + family;
      INFO(reference);
      CHECK(std::count(words.begin(), words.end(), reference) ==
            (row == rules.end() ? 1 : row->second));
    }
  }
}

TEST_CASE("marks of the range are put on and taken off") {
  RulesetConfig config;
  config.marks = {0x100, 0x2ff};
  const std::string text = RulesetText(config);
  CHECK_FALSE(absl::StrContains(text, "$"));
  const std::string marked = "meta mark 0x00000100-0x000002ff";
  for (const char* chain : {"input", "forwarded", "delivered", "looped"}) {
    INFO(chain);
    CHECK(With(LinesOf(text, chain), marked + " meta mark set 0").size() == 1);
  }
  CHECK(With(LinesOf(text, "unserved"), marked + " return").size() == 1);
  // Nobody chooses a virtual server by a mark that a packet brings along.
  CHECK(LinesOf(text, "input")[3] == marked + " meta mark set 0 comment \"not from Fairlead\"");
  CHECK(
      LinesOf(text, "internal") ==
      std::vector<std::string>{
          "comment \"Packets of pods and the node to addresses that lead others to local endpoints "
          "only\"",
          "meta mark set ip daddr . meta l4proto . th dport map @mark4",
          "meta mark set ip6 daddr . meta l4proto . th dport map @mark6"});
  CHECK(RulesetText(config) != RulesetText({}));
}

TEST_CASE("no mark that a packet brings along gets past what is served") {
  const std::vector<std::string> input = LinesOf(RulesetText({}), "input");
  CHECK(PlaceOf(input, "meta mark set 0") < PlaceOf(input, "@served4"));
}

TEST_CASE(
    "each protocol has a chain of what is masqueraded, after endpoints that reach themselves") {
  const std::vector<std::string> lines = LinesOf(RulesetText({}), "postrouting");
  CHECK(PlaceOf(lines, "@hairpin6") + 1 == PlaceOf(lines, "vmap"));
  CHECK(lines.back() ==
        "meta l4proto vmap { tcp : goto masquerade_tcp, udp : goto masquerade_udp, "
        "sctp : goto masquerade_sctp }");
}

TEST_CASE("what is not let in is refused or dropped before anything leads around it") {
  const std::vector<std::string> lines = LinesOf(RulesetText({}), "unserved");
  const auto place = [&](const std::string& word) { return PlaceOf(lines, word); };
  for (const char* family : {"4", "6"}) {
    INFO(family);
    CHECK(place(std::string("@limited") + family) < place("return"));
    CHECK(place(std::string("@reject") + family) < place("return"));
    CHECK(place("return") < place(std::string("@drop") + family));
    CHECK(place(std::string("@drop") + family) < lines.size());
  }
}

TEST_CASE("packets of connections that are there come first, but never one that begins one") {
  const std::string text = RulesetText({});
  for (const char* chain : {"input", "output"}) {
    INFO(chain);
    const std::vector<std::string> lines = LinesOf(text, chain);
    const size_t known = PlaceOf(lines, "ct state established");
    REQUIRE(known < lines.size());
    CHECK(absl::StartsWith(lines[known], "ct state established tcp flags & syn == 0 accept"));
    CHECK(known < PlaceOf(lines, "@served4"));
    CHECK(PlaceOf(lines, "@served6") == PlaceOf(lines, "@served4") + 1);
    CHECK(PlaceOf(lines, "@served6") < PlaceOf(lines, "jump"));
    CHECK(PlaceOf(lines, "jump") < lines.size());
  }
  const std::vector<std::string> output = LinesOf(text, "output");
  CHECK(PlaceOf(output, "oif != \"lo\" accept") < PlaceOf(output, "jump"));
}

TEST_CASE("the chains hang where IPVS needs them") {
  const std::string text = RulesetText({});
  struct Row {
    std::string chain;
    std::string hook;
  };
  const std::vector<Row> rows = {
      {"input", "type filter hook input priority 90; policy accept"},
      {"output", "type filter hook output priority -110; policy accept"},
      {"forwarded", "type filter hook output priority -400; policy accept"},
      {"delivered", "type filter hook input priority 100; policy accept"},
      {"looped", "type filter hook output priority -97; policy accept"},
      {"postrouting", "type nat hook postrouting priority srcnat; policy accept"},
  };
  for (const Row& row : rows) {
    INFO(row.chain);
    CHECK(With(LinesOf(text, row.chain), " hook ") == std::vector<std::string>{row.hook});
  }
  for (const char* chain : {"internal", "unserved", "guard", "refuse", "node_source",
                            "masquerade_tcp", "masquerade_udp", "masquerade_sctp"}) {
    INFO(chain);
    CHECK(With(LinesOf(text, chain), " hook ").empty());
  }
}

TEST_CASE("a ruleset's shape has its chains, their rules, and a name that is of the text") {
  std::set<std::string> identities;
  for (const DetectorCase& row : Detectors()) {
    INFO(row.name);
    const absl::StatusOr<RulesetShape> shape = ShapeOf(RulesetText(row.config));
    REQUIRE(shape.ok());
    CHECK(ShapeOf(RulesetText(row.config)) == shape);
    RulesetShape chains;
    for (const auto& [chain, rules] : *shape) {
      if (absl::StartsWith(chain, "ruleset_")) {
        CHECK(rules == 0);
        identities.insert(chain);
      } else {
        chains[chain] = rules;
      }
    }
    CHECK(chains.size() + 1 == shape->size());
    const int from_pods = static_cast<int>(row.from_pods.size());
    const int not_from_pods = !row.not_from_pods4.empty() + !row.not_from_pods6.empty();
    CHECK(chains == RulesetShape{{"input", 7 + from_pods},
                                 {"output", 6},
                                 {"internal", 2},
                                 {"unserved", 7},
                                 {"guard", 6},
                                 {"refuse", 2},
                                 {"forwarded", 1},
                                 {"delivered", 1},
                                 {"looped", 1},
                                 {"node_source", 3},
                                 {"masquerade_tcp", 2 + not_from_pods},
                                 {"masquerade_udp", 2 + not_from_pods},
                                 {"masquerade_sctp", 2 + not_from_pods},
                                 {"postrouting", 3}});
  }
  // Same rules, other addresses or devices: only the name differs.
  CHECK(identities.size() == Detectors().size());
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
  for (const DetectorCase& row : Detectors()) {
    INFO(row.name);
    const std::string text = RulesetText(row.config);
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      INFO(std::string(line));
      CHECK(line.size() <= 100);
    }
  }
}

}  // namespace
}  // namespace fairlead
