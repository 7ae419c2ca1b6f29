#include "proxy/cli/output.h"

#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"

namespace fairlead {
namespace {

Document MakeDocument() {
  return Document::parse(R"({
    "name": "shop/cart",
    "nothing": null,
    "none": [],
    "empty": {},
    "inside": {"weight": -1, "deep": {"large": 18446744073709551615}},
    "list": [{"a": 1, "b": ["x", "y"]}, {"a": 2, "c": {"d": true}}, "z", [1, 2]]
  })");
}

TEST_CASE("a document as YAML is in blocks, with texts in quotes") {
  CHECK(FormatDocument(MakeDocument(), Output::kYaml) == R"(name: "shop/cart"
nothing: null
none: []
empty: {}
inside:
  weight: -1
  deep:
    large: 18446744073709551615
list:
- a: 1
  b:
  - "x"
  - "y"
- a: 2
  c:
    d: true
- "z"
- - 1
  - 2
)");
}

TEST_CASE("a text that looks like something else is read back as that text") {
  for (const char* text :
       {"true", "no", "null", "~",  "80", "1e3",  "0x10",  "",   " ",          "a: b",
        "- a",  "#",  "\"",   "\\", "'",  "a\nb", "tab\t", "ä…", "2023-11-14", "\x01"}) {
    INFO(text);
    const Document document = {{"key", text}};
    const YAML::Node parsed = YAML::Load(FormatDocument(document, Output::kYaml));
    // "!" is yaml-cpp's tag of a scalar in quotes.
    CHECK(parsed["key"].Tag() == "!");
    CHECK(parsed["key"].as<std::string>() == text);
  }
}

TEST_CASE("YAML and JSON say the same") {
  const YAML::Node yaml = YAML::Load(FormatDocument(MakeDocument(), Output::kYaml));
  // JSON is YAML.
  const YAML::Node json = YAML::Load(FormatDocument(MakeDocument(), Output::kJson));
  CHECK(yaml["inside"]["deep"]["large"].as<uint64_t>() ==
        json["inside"]["deep"]["large"].as<uint64_t>());
  CHECK(YAML::Dump(yaml["list"][1]["c"]) == "d: true");
  CHECK(yaml["list"].size() == json["list"].size());
  CHECK(yaml["nothing"].IsNull());
}

TEST_CASE("elements one by one are what the whole document has") {
  const Document first = {{"a", 1}, {"b", {"x", "y"}}};
  const Document second = {{"a", "line\nbreak"}};
  const Document whole = {{"list", {first, second}}};
  CHECK("{\n  \"list\": [\n" + FormatElement(first, Output::kJson) + ",\n" +
            FormatElement(second, Output::kJson) + "\n  ]\n}\n" ==
        FormatDocument(whole, Output::kJson));
  CHECK("list:\n" + FormatElement(first, Output::kYaml) + FormatElement(second, Output::kYaml) ==
        FormatDocument(whole, Output::kYaml));
}

TEST_CASE("text that is no UTF-8 does not end the program") {
  const Document document = {{"key", "a\xff"}};
  CHECK(FormatDocument(document, Output::kJson) == "{\n  \"key\": \"a\xef\xbf\xbd\"\n}\n");
}

TEST_CASE("an output is chosen by name, wide also by its own flag") {
  struct Row {
    const char* line;
    Output output;
  };
  const Row kRows[] = {
      {"c", Output::kText},
      {"c -o text", Output::kText},
      {"c -o wide", Output::kWide},
      {"c --wide", Output::kWide},
      {"c -o json", Output::kJson},
      {"c --output yaml", Output::kYaml},
      {"c -oipvsadm", Output::kIpvsadm},
  };
  for (const Row& row : kRows) {
    INFO(row.line);
    CLI::App app;
    OutputFlags flags;
    AddOutputFlags(*app.add_subcommand("c"), {"text", "wide", "json", "yaml", "ipvsadm"}, flags);
    app.parse(row.line);
    CHECK(flags.output() == row.output);
  }
  for (const char* line : {"c -o table", "c --wide -o json", "c -o"}) {
    INFO(line);
    CLI::App app;
    OutputFlags flags;
    AddOutputFlags(*app.add_subcommand("c"), {"text", "wide", "json"}, flags);
    CHECK_THROWS_AS(app.parse(line), CLI::ParseError);
  }
}

TEST_CASE("every command's help tells its exit codes, once") {
  CLI::App app;
  app.add_subcommand("plain");
  app.add_subcommand("more")->footer("More.");
  app.add_subcommand("own")->footer("Exits with 0 where it is so.");
  CLI::App* outer = app.add_subcommand("outer");
  outer->add_subcommand("inner");
  AddExitCodes(app);
  const std::string codes =
      "Exit codes: 0, it is done; 1, it could not be done or what was asked for is not there; 2, "
      "the command line is wrong.";
  const auto footer = [](CLI::App* command) {
    // CLI11 puts a newline before it.
    const std::string text = command->get_footer();
    return text.substr(text.find_first_not_of('\n'));
  };
  CHECK(footer(app.get_subcommand("plain")) == codes);
  CHECK(footer(app.get_subcommand("more")) == "More.\n" + codes);
  CHECK(footer(app.get_subcommand("own")) == "Exits with 0 where it is so.");
  CHECK(footer(outer->get_subcommand("inner")) == codes);
}

}  // namespace
}  // namespace fairlead
